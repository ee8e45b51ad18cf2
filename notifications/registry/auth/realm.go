package auth

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/internal/answer"
)

// realm is the URL of a registry's token server; relative to the registry's base if it
// is not absolute.
func (t *Transport) realm(server *url.URL, realm string) (*url.URL, error) {
	base := url.URL{Scheme: server.Scheme, Host: server.Host, Path: "/v2/"}
	u, err := base.Parse(realm)
	if err != nil {
		return nil, fmt.Errorf("%w: %s names a token server that is no URL", registry.ErrRefused, server.Host)
	}
	u.User, u.Fragment = nil, ""
	return u, nil
}

// checkRealm refuses a token server that a registry should not be able to send our
// credentials, or just our requests, to: who answers for the registry chooses it. An
// internal host that is not the registry's own has to be allowed by name. A name may
// point elsewhere between this look-up and the connection, and behind an egress proxy it is
// not looked up; what stands against that is a base transport with rules of its own, or the
// proxy's.
func (t *Transport) checkRealm(ctx context.Context, server, realm *url.URL) error {
	refuse := func(why string) error {
		return fmt.Errorf("%w: %s has the token server %s, %s", registry.ErrRefused, server.Host, answer.Shown(realm), why)
	}
	if realm.Scheme != "https" && (realm.Scheme != "http" || server.Scheme == "https") {
		return refuse("which is not https")
	}
	host := strings.ToLower(realm.Hostname())
	if host == "" {
		return refuse("which has no host")
	}
	if host == strings.ToLower(server.Hostname()) || slices.ContainsFunc(t.opts.TokenHosts, func(allowed string) bool {
		return strings.EqualFold(allowed, host) || strings.EqualFold(allowed, realm.Host)
	}) {
		return nil
	}
	addresses := []netip.Addr{}
	if literal, err := netip.ParseAddr(host); err == nil {
		addresses = append(addresses, literal)
	} else if oddAddress(host) {
		return refuse("which is an odd way to spell an address")
	} else if t.proxied(realm) {
		return nil
	} else if addresses, err = t.opts.LookupHost(ctx, host); err != nil {
		return fmt.Errorf("looking up the token server %s: %w", host, err)
	}
	for _, a := range addresses {
		if internal(a) {
			return refuse("which is at the internal address " + a.String() + " and is not among the hosts allowed for that")
		}
	}
	return nil
}

// oddAddress tells whether some take a name, in lower case, for an IPv4 address, such as 2852039166 or
// 0xa9.0xfe.43518: no name of a host ends in a number
// (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func oddAddress(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// proxied tells whether a server is asked by way of an egress proxy.
func (t *Transport) proxied(server *url.URL) bool {
	if t.opts.Proxy == nil {
		return false
	}
	by, err := t.opts.Proxy(&http.Request{Method: http.MethodGet, URL: server, Host: server.Host, Header: make(http.Header)})
	return err == nil && by != nil
}

// internal tells whether an address is one that the rest of the world does not reach.
func internal(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() ||
		slices.ContainsFunc(special(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// special lists more of them: of RFC 6890, and what translates to any other.
func special() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("100.64.0.0/10"), // shared by carriers, RFC 6598
		netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), // benchmarks, RFC 2544
		netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("64:ff9b::/96"),   // IPv4 behind NAT64, RFC 6052
		netip.MustParsePrefix("64:ff9b:1::/48"), // the same, RFC 8215
		netip.MustParsePrefix("2002::/16"),      // 6to4
		netip.MustParsePrefix("fec0::/10"),      // site-local, once
	}
}
