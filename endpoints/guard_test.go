package endpoints

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(all ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range all {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func TestGuard(t *testing.T) {
	const all4, all6 = "0.0.0.0/0", "::/0"
	for _, c := range []struct {
		allow, deny []netip.Prefix
		addr        string
		want        string // a part of the refusal; "": none
	}{
		// Without lists: whatever a configuration file may mean.
		{nil, nil, "127.0.0.1", ""},
		{nil, nil, "::1", ""},
		{nil, nil, "10.1.2.3", ""},
		{nil, nil, "172.16.0.1", ""},
		{nil, nil, "192.168.0.1", ""},
		{nil, nil, "100.64.0.1", ""}, // CGNAT is a private network, too
		{nil, nil, "fd12::1", ""},
		{nil, nil, "203.0.113.7", ""},
		{nil, nil, "2001:db8::1", ""},
		{nil, nil, "64:ff9b::cb00:7107", ""},

		{nil, nil, "169.254.169.254", "link-local"},
		{nil, nil, "169.254.0.1", "link-local"},
		{nil, nil, "fe80::1", "link-local"},
		{nil, nil, "fe80::1%eth0", "link-local"},
		{nil, nil, "ff02::1", "link-local"},
		{nil, nil, "224.0.0.1", "link-local"},
		{nil, nil, "::ffff:169.254.169.254", "link-local"},
		{nil, nil, "::ffff:169.254.169.254%eth0", "link-local"},
		{nil, nil, "::169.254.169.254", "link-local"},
		{nil, nil, "::ffff:0:a9fe:a9fe", "link-local"},
		{nil, nil, "64:ff9b::a9fe:a9fe", "link-local"},
		{nil, nil, "64:ff9b:1::a9fe:a9fe", "link-local"},
		{nil, nil, "2002:a9fe:a9fe::1", "link-local"},
		{nil, nil, "100.100.100.200", "metadata"},
		{nil, nil, "::ffff:100.100.100.200", "metadata"},
		{nil, nil, "168.63.129.16", "metadata"},
		{nil, nil, "192.0.0.192", "metadata"},
		{nil, nil, "fd00:ec2::254", "metadata"},
		{nil, nil, "fd20:ce::254", "metadata"},

		// What is always refused cannot be allowed.
		{prefixes(all4, all6), nil, "169.254.169.254", "link-local"},
		{prefixes("169.254.169.254/32"), nil, "::ffff:169.254.169.254", "link-local"},
		{prefixes("fd00:ec2::254/128"), nil, "fd00:ec2::254", "metadata"},

		// An allow list is all there is.
		{prefixes("10.0.0.0/8"), nil, "10.1.2.3", ""},
		{prefixes("10.0.0.0/8"), nil, "::ffff:10.1.2.3", ""},
		{prefixes("10.0.0.0/8"), nil, "127.0.0.1", "not in allow_cidrs"},
		{prefixes("10.0.0.0/8"), nil, "2001:db8::1", "not in allow_cidrs"},
		{prefixes("10.0.0.0/8"), nil, "64:ff9b::a01:203", "not in allow_cidrs"},
		{prefixes("10.0.0.0/8", "2001:db8::/32"), nil, "2001:db8::1", ""},

		// A deny list wins over it.
		{nil, prefixes("100.64.0.0/10"), "100.64.0.1", "in deny_cidrs"},
		{nil, prefixes("100.64.0.0/10"), "::ffff:100.127.255.255", "in deny_cidrs"},
		{nil, prefixes("100.64.0.0/10"), "64:ff9b::6440:1", "in deny_cidrs"},
		{nil, prefixes("100.64.0.0/10"), "2002:6440:1::1", "in deny_cidrs"},
		{nil, prefixes("100.64.0.0/10"), "100.128.0.1", ""},
		{nil, prefixes("127.0.0.0/8", "::1/128"), "::1", "in deny_cidrs"},
		{prefixes("10.0.0.0/8"), prefixes("10.1.0.0/16"), "10.1.2.3", "in deny_cidrs"},
		{prefixes("10.1.2.3/32"), prefixes("10.0.0.0/8"), "10.1.2.3", "in deny_cidrs"},
		{prefixes("10.0.0.0/8"), prefixes("10.1.0.0/16"), "10.2.0.1", ""},
	} {
		g := guard{allow: c.allow, deny: c.deny}
		err := g.check(netip.MustParseAddr(c.addr))
		var blocked *blockedError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s, allow %v, deny %v: %v", c.addr, c.allow, c.deny, err)
		case c.want != "" && (!errors.As(err, &blocked) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s, allow %v, deny %v: %v, want %q", c.addr, c.allow, c.deny, err, c.want)
		}
	}
}

func TestGuardOfHosts(t *testing.T) {
	var g guard
	for host, fine := range map[string]bool{
		"receiver.example": true, "receiver.example.": true, "localhost": true, "r2d2": true, "10.example": true, "0xcafe.example": true,
		"127.0.0.1": true, "::1": true, "1.2.3.4.example": true, "x0x1": true,
		"169.254.169.254": false, "169.254.169.254.": false, "2852039166": false, "0xa9fea9fe": false, "0XA9FEA9FE": false,
		"169.254.43518": false, "0251.0376.0251.0376": false, "0xa9.0xfe.0xa9.0xfe": false, "example.1": false, "0x": false,
	} {
		if err := g.checkHost(host); (err == nil) != fine {
			t.Errorf("%s: %v", host, err)
		}
	}
}
