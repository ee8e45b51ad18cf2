package proxy

import (
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/regcast/regcast/notifications"
)

// A client is how the client of a request addressed the proxy.
type client struct {
	scheme, host string // host may be "", where the request says none of use
	path         string // before the path that the proxy sees, without a slash at its end
	asked        string // the Host header, which a trusted proxy may have changed
}

// clientOf tells how the client of r, as it came, addressed the proxy.
func (p *Proxy) clientOf(r *http.Request) client {
	if u := p.opts.PublicURL; u != nil {
		return client{u.Scheme, u.Host, strings.TrimRight(u.EscapedPath(), "/"), r.Host}
	}
	u, err := url.Parse(notifications.BaseURLOf(r, p.opts.TrustedProxies...).String())
	if err != nil {
		return client{asked: r.Host}
	}
	return client{scheme: u.Scheme, host: u.Host, asked: r.Host}
}

// forwarded tells the registry for whom the proxy asks. What the client says of itself
// is passed on if it is a trusted proxy, with what we know added; else it is replaced.
func (p *Proxy) forwarded(pr *httputil.ProxyRequest) {
	in, out := pr.In, pr.Out.Header
	peer, _ := netip.ParseAddrPort(in.RemoteAddr)
	addr := peer.Addr().Unmap().WithZone("")
	trusted := addr.IsValid() && slices.ContainsFunc(p.opts.TrustedProxies, func(prefix netip.Prefix) bool {
		return prefix.Contains(addr) || prefix.Contains(peer.Addr().WithZone(""))
	})
	for name := range out {
		if !trusted && (strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip") {
			out.Del(name)
		}
	}
	out["Via"] = append(slices.Clip(out["Via"]), version(in)+" "+p.via)

	node, chain := "unknown", []string(nil)
	if addr.IsValid() {
		node = addr.String()
		chain = []string{node}
		if addr.Is6() {
			node = `"[` + node + `]"`
		}
	}
	element := []string{"for=" + node}
	c := p.clientOf(in)
	if !p.opts.UpstreamHost && c.host != "" {
		out.Set("X-Forwarded-Proto", c.scheme)
		out.Set("X-Forwarded-Host", c.host)
		element = append(element, `host="`+c.host+`"`, "proto="+c.scheme)
	}
	var elements []string
	if trusted {
		chain = append(slices.Clone(in.Header["X-Forwarded-For"]), chain...)
		elements = in.Header["Forwarded"]
	}
	if chain != nil {
		out.Set("X-Forwarded-For", strings.Join(chain, ", "))
	}
	// A chain of Forwarded that begins behind others would name us as the first.
	if len(elements) > 0 || !trusted {
		out.Set("Forwarded", strings.Join(append(slices.Clone(elements), strings.Join(element, ";")), ", "))
	}
}

// version is that of the protocol of r, as Via has it.
func version(r *http.Request) string {
	_, v, _ := strings.Cut(r.Proto, "/")
	return v
}
