package notifications

import (
	"iter"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

const (
	maxProxies   = 32      // walked through in the lists of proxies
	maxForwarded = 8 << 10 // bytes of a Forwarded header line that is read
)

// forwarding is what trusted proxies say about the client of a request. The zero value
// says nothing.
type forwarding struct {
	client netip.Addr
	proto  string // "http" or "https"
	host   string
}

// forwardingOf believes headers only if r's peer is trusted. It reads X-Forwarded-*
// before Forwarded: proxies that set the former often pass on the latter as their client
// sent it.
func forwardingOf(r *http.Request, trusted []netip.Prefix) forwarding {
	if len(trusted) == 0 {
		return forwarding{}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !within(peer.Addr(), trusted) {
		return forwarding{}
	}
	var (
		addrs  = r.Header.Values("X-Forwarded-For")
		protos = r.Header.Values("X-Forwarded-Proto")
		hosts  = r.Header.Values("X-Forwarded-Host")
		rfc    = r.Header.Values("Forwarded")
		f      forwarding
	)
	if len(addrs) == 0 && len(protos) == 0 && len(hosts) == 0 && len(rfc) > 0 {
		f = walkForwarded(rfc, trusted)
	} else {
		var proxies int
		f.client, proxies = walkAddrs(addrs, trusted)
		f.proto, f.host = fromRight(protos, proxies), fromRight(hosts, proxies)
	}
	if ips := r.Header.Values("X-Real-Ip"); len(ips) > 0 && len(addrs) == 0 && len(rfc) == 0 {
		f.client, _ = parseHop(ips[len(ips)-1])
	}
	f.proto = strings.ToLower(f.proto)
	if f.proto != "http" && f.proto != "https" {
		f.proto = ""
	}
	if !isHost(f.host) {
		f.host = ""
	}
	return f
}

// walkAddrs returns the client's address, if any, and how many trusted proxies the
// request came through, the peer included.
func walkAddrs(lines []string, trusted []netip.Prefix) (client netip.Addr, proxies int) {
	proxies = 1
	for hop := range itemsFromRight(lines) {
		addr, ok := parseHop(hop)
		if !ok {
			break
		}
		client = addr
		if proxies == maxProxies || !within(addr, trusted) {
			break
		}
		proxies++
	}
	return client, proxies
}

// walkForwarded is walkAddrs for Forwarded, where scheme and host stand beside the
// address of the client that used them.
func walkForwarded(lines []string, trusted []netip.Prefix) forwarding {
	var f forwarding
	proxies := 1
	for _, line := range slices.Backward(lines) {
		elements, ok := parseForwarded(line)
		if !ok {
			return f
		}
		for _, e := range slices.Backward(elements) {
			addr, ok := parseHop(e.client)
			if !ok {
				return f
			}
			f = forwarding{client: addr, proto: e.proto, host: e.host}
			if proxies == maxProxies || !within(addr, trusted) {
				return f
			}
			proxies++
		}
	}
	return f
}

// itemsFromRight yields the items of a header list that may be spread over several
// lines, the last one first.
func itemsFromRight(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(lines) {
			for {
				comma := strings.LastIndexByte(line, ',')
				if !yield(trimSpace(line[comma+1:])) {
					return
				}
				if comma < 0 {
					break
				}
				line = line[:comma]
			}
		}
	}
}

// fromRight returns the nth item from the right, or the first if there are fewer: a
// proxy that replaces the header leaves one, a proxy that appends to it one for each.
func fromRight(lines []string, n int) string {
	var item string
	for item = range itemsFromRight(lines) {
		if n--; n == 0 {
			break
		}
	}
	return item
}

// parseHop reads the address of a hop as proxies write it: an IP, an IPv6 perhaps in
// brackets, perhaps a port. Words such as "unknown" are none, nor is an IP with a zone,
// which means nothing elsewhere.
func parseHop(s string) (netip.Addr, bool) {
	host, port, bracketed := s, "", false
	if rest, ok := strings.CutPrefix(s, "["); ok {
		if host, port, bracketed = strings.Cut(rest, "]"); !bracketed {
			return netip.Addr{}, false
		}
	} else if i := strings.IndexByte(s, ':'); i >= 0 && i == strings.LastIndexByte(s, ':') {
		host, port = s[:i], s[i:]
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" || bracketed && !addr.Is6() || !isPort(port) {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// isPort tells whether s is empty or a colon and a port of RFC 7239, which may be
// obfuscated.
func isPort(s string) bool {
	if s == "" {
		return true
	}
	name := strings.TrimLeft(s[1:], "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._-")
	return s[0] == ':' && len(s) > 1 && name == ""
}

// within tells whether addr lies in one of the prefixes, in whichever of its forms.
func within(addr netip.Addr, prefixes []netip.Prefix) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Contains(addr)
	})
}

// isHost tells whether s is a host, perhaps with a port, that can stand in a URL as it
// is.
func isHost(s string) bool {
	if len(s) > 260 { // 255 of a name, and a port
		return false
	}
	if name, port, _ := strings.Cut(s, ":"); name != "" && isHostName(name) {
		return isNumber(port)
	}
	if strings.Trim(s, ".-_:[]0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
		return false
	}
	u, err := url.Parse("http://" + s)
	return err == nil && u.Host == s && u.Hostname() != ""
}

// isHostName tells whether s has nothing that a URL would have to escape.
func isHostName(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// isNumber tells whether s has digits alone, or nothing.
func isNumber(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// A forwardedElement is what one proxy says in a Forwarded header.
type forwardedElement struct{ client, proto, host string }

// parseForwarded reads one line of a Forwarded header (RFC 7239 §4) and is strict: a
// line that is not well-formed all through is not believed in any part, because a client
// could have opened a quotation that swallows what its proxy added.
func parseForwarded(line string) ([]forwardedElement, bool) {
	if len(line) > maxForwarded {
		return nil, false
	}
	var elements []forwardedElement
	var e forwardedElement
	for {
		line = trimSpace(line)
		if line != "" && line[0] != ';' && line[0] != ',' {
			name, value, rest, ok := cutPair(line)
			if !ok {
				return nil, false
			}
			e.set(name, value)
			line = trimSpace(rest)
		}
		switch {
		case line == "":
			return append(elements, e), true
		case line[0] == ',':
			elements = append(elements, e)
			e = forwardedElement{}
		case line[0] != ';':
			return nil, false
		}
		line = line[1:]
	}
}

func (e *forwardedElement) set(name, value string) {
	switch strings.ToLower(name) {
	case "for":
		e.client = value
	case "proto":
		e.proto = value
	case "host":
		e.host = value
	}
}

// cutPair takes name=value from the front of s, value being a token or a quoted string.
// A token may also hold what stands in addresses, since some proxies do not quote them.
func cutPair(s string) (name, value, rest string, ok bool) {
	name, s, ok = strings.Cut(s, "=")
	if !ok || name == "" || strings.Trim(name, tokenChars) != "" {
		return "", "", "", false
	}
	if strings.HasPrefix(s, `"`) {
		value, rest, ok = cutQuoted(s[1:])
		return name, value, rest, ok
	}
	rest = strings.TrimLeft(s, tokenChars+":[]")
	value = s[:len(s)-len(rest)]
	return name, value, rest, value != ""
}

const tokenChars = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// cutQuoted takes the rest of a quoted string, whose opening quote is gone, from s.
func cutQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

func trimSpace(s string) string { return strings.Trim(s, " \t") }
