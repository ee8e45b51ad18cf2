package endpoints

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// A guard decides which addresses may be connected to. It is asked when a connection is
// dialled, after names were resolved, so that no name and no answer of a name server gets
// around it. Link-local addresses and those where clouds keep the credentials of their
// machines are refused whatever the lists say, then what is in deny, then, if allow is
// not empty, what is not in it.
type guard struct{ allow, deny []netip.Prefix }

// A blockedError says which address is refused and why.
type blockedError struct{ address, why string }

func (e *blockedError) Error() string { return e.address + " is " + e.why }

// metadata are addresses, beside the link-local ones, at which clouds answer questions of
// their machines.
var metadata = [...]netip.Addr{
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("192.0.0.192"),     // Oracle
	netip.MustParseAddr("fd00:ec2::254"),   // Amazon
	netip.MustParseAddr("fd20:ce::254"),    // Google
	netip.MustParseAddr("fd00:42::42"),     // Scaleway
}

// control is [net.Dialer.Control].
func (g *guard) control(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address to dial: %w", err)
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return fmt.Errorf("address to dial: %w", err)
	}
	return g.check(addr)
}

// checkHost checks a host that is spelled as an address. A proxy is told the host and not
// what it is resolved to, so this is all that can be checked of what lies behind one.
func (g *guard) checkHost(host string) error {
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		return g.check(addr)
	case endsInNumber(host):
		return &blockedError{host, "an odd way to spell an address"}
	default:
		return nil // a name
	}
}

// endsInNumber tells whether some take a host for an IPv4 address that is not one for
// others, such as 2852039166 or 0xa9fe.43518 (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(strings.ToLower(last), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && isDigits(last)
}

// check returns nil or a *blockedError.
func (g *guard) check(addr netip.Addr) error {
	plain := addr.WithZone("").Unmap()
	for _, a := range [...]netip.Addr{plain, embedded(plain)} {
		if a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() {
			return &blockedError{plain.String(), "a link-local address"}
		}
		if slices.Contains(metadata[:], a) {
			return &blockedError{plain.String(), "an address of cloud metadata"}
		}
	}
	if contains(g.deny, plain) || contains(g.deny, embedded(plain)) {
		return &blockedError{plain.String(), "in deny_cidrs"}
	}
	if len(g.allow) > 0 && !contains(g.allow, plain) {
		return &blockedError{plain.String(), "not in allow_cidrs"}
	}
	return nil
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// The ways to write an IPv4 address as an IPv6 one that a network may translate back, and
// where in it the IPv4 address is.
var embeddings = [...]struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},  // RFC 8215, with a prefix of 96 bits
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4, RFC 3056
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // RFC 2765
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible, RFC 4291
}

// embedded returns the IPv4 address inside addr; the zero Addr if there is none.
func embedded(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return netip.Addr{}
	}
	for _, e := range embeddings {
		if e.prefix.Contains(addr) {
			b := addr.As16()
			return netip.AddrFrom4([4]byte(b[e.at : e.at+4]))
		}
	}
	return netip.Addr{}
}
