package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

func (d *decoder) proxies(list []Proxy) {
	names := map[string]int{}
	for i := range list {
		at := index("proxy", i)
		d.name(at, list[i].Name, names, i)
		d.proxy(at, &list[i])
	}
	d.loops(list)
}

// loops checks that no proxy gets its own requests back by way of others.
func (d *decoder) loops(list []Proxy) {
	next := make([]int, len(list)) // whose listen a proxy's upstream is, -1 for none
	for i := range list {
		next[i] = slices.IndexFunc(list, func(p Proxy) bool { return asks(&list[i], p.Listen) })
	}
	for i := range list {
		via := next[i]
		for steps := 0; via >= 0 && next[via] != i && steps < len(list); steps++ {
			via = next[via]
		}
		d.require(join(index("proxy", i), "upstream"), via < 0 || via == i || next[via] != i,
			"leads back to this proxy, by %s", index("proxy", max(via, 0)))
	}
}

// asks says whether the upstream of p is for certain the server that listens on listen.
func asks(p *Proxy, listen string) bool {
	u, err := url.Parse(p.Upstream)
	return err == nil && u.Host != "" && reaches(net.JoinHostPort(u.Hostname(), portOf(u)), listen)
}

// proxy checks the form of a proxy; what globs and certificates have to be like, those
// know who use them.
func (d *decoder) proxy(at string, p *Proxy) {
	if p.Listen == "" {
		d.report(join(at, "listen"), `is missing: where clients reach the registry, such as "127.0.0.1:5000"`)
	} else {
		d.address(join(at, "listen"), p.Listen)
	}
	d.upstream(at, p)
	if p.PublicURL != "" {
		d.baseURL(join(at, "public_url"), p.PublicURL)
	}
	d.oneOf(join(at, "parity"), p.Parity, ParitySane, ParityStrict)
	d.oneOf(join(at, "head"), p.Head, HeadEmit, HeadDrop)
	d.oneOf(join(at, "on_unrecorded"), p.OnUnrecorded, UnrecordedAllow, UnrecordedRefuse)
	d.require(join(at, "record_wait"), p.RecordWait >= time.Millisecond && p.RecordWait <= 10*time.Second, "must be from 1ms to 10s")
	for i, vendor := range p.VendorRoutes {
		d.oneOf(index(join(at, "vendor_routes"), i), vendor, VendorGitLab, VendorHarbor)
	}
	d.oneOf(join(at, "actor_tokens"), p.ActorTokens, TokensNone, TokensHash)
	d.require(join(at, "actor_audience"), p.ActorAudience == "" || p.ActorKeysFile != "", "is for actor_keys_file, which is missing")
	d.oneOf(join(at, "upstream_host"), p.UpstreamHost, HostClient, HostUpstream)
	for i, name := range p.UpstreamNames {
		u, err := url.Parse("//" + name)
		d.require(index(join(at, "upstream_names"), i), err == nil && u.Host == name && u.Hostname() != "",
			`%q is no host: write it as "registry.internal" or "registry.internal:5000"`, name)
	}
	d.oneOf(join(at, "location"), p.Location, LocationAbsolute, LocationRelative, LocationAsIs)
	d.serverTLS(join(at, "tls"), p.TLS)
	d.pair(join(at, "upstream_tls"), p.UpstreamTLS.CertFile, p.UpstreamTLS.KeyFile)
	d.require(join(at, "upstream_tls"), !strings.HasPrefix(p.Upstream, "http:") || p.UpstreamTLS == (UpstreamTLS{}), "is for an upstream with https")

	timeouts := join(at, "timeouts")
	d.require(join(timeouts, "metadata"), p.Timeouts.Metadata >= time.Millisecond && p.Timeouts.Metadata <= time.Hour, "must be from 1ms to 1h")
	d.require(join(timeouts, "commit"), p.Timeouts.Commit >= time.Millisecond && p.Timeouts.Commit <= 24*time.Hour, "must be from 1ms to 24h")
	d.require(join(timeouts, "idle"), p.Timeouts.Idle >= time.Millisecond && p.Timeouts.Idle <= 24*time.Hour, "must be from 1ms to 24h")
	d.cache(join(at, "cache"), &p.Cache)
}

// upstream checks where a proxy sends requests: not to itself.
func (d *decoder) upstream(at string, p *Proxy) {
	path := join(at, "upstream")
	if p.Upstream == "" {
		d.report(path, `is missing: the registry's URL, such as "https://registry.internal:5000"`)
		return
	}
	d.baseURL(path, p.Upstream)
	d.require(path, !asks(p, p.Listen), "is where the proxy itself listens")
}

// baseURL checks a URL to which paths are added.
func (d *decoder) baseURL(path, raw string) {
	if err := checkURL(raw, "http", "https"); err != nil {
		d.report(path, "%s", err)
		return
	}
	u, err := url.Parse(raw)
	if err != nil {
		return // checkURL has parsed it
	}
	d.require(path, u.User == nil, "holds a user name or password: those who push and pull show their own")
	d.require(path, u.RawQuery == "" && !u.ForceQuery && u.Fragment == "", "ends in a ? or # part, to which no path can be added")
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}

func (d *decoder) cache(at string, c *Cache) {
	if c.Exclusive && !d.given[join(at, "ttl")] {
		c.TTL = cacheTTLExclusive
	}
	d.oneOf(join(at, "kind"), c.Kind, CacheNone, CacheMemory, CacheRedis)
	d.require(join(at, "ttl"), c.TTL >= time.Second && c.TTL <= 30*24*time.Hour, "must be from 1s to 720h")
	redis := join(at, "redis")
	d.require(join(redis, "url_file"), c.Kind != CacheRedis || c.Redis.URLFile != "", `is missing: a file with the URL, such as "redis://:password@host:6379/0"`)
	d.require(join(redis, "prefix"), c.Redis.Prefix != "", "is empty: other keys of that Redis could be overwritten")
}

// listeners checks that no two servers take the same address.
func (d *decoder) listeners() {
	type listener struct{ path, of, addr string }
	all := []listener{
		{"intake.listen", "the intake", d.config.Intake.Listen},
		{"admin.listen", "the admin server", d.config.Admin.Listen},
	}
	for i, p := range d.config.Proxies {
		at := index("proxy", i)
		all = append(all, listener{join(at, "listen"), at, p.Listen})
	}
	for i, l := range all {
		for _, other := range all[:i] {
			if same(l.addr, other.addr) {
				d.report(l.path, "is the address of %s as well; give each its own", other.of)
			}
		}
	}
}

// same says whether two addresses cannot both be listened on: one port, and one host or
// every host. Port 0 is any that is free.
func same(a, b string) bool {
	if port(a) != port(b) || port(a) <= 0 {
		return false
	}
	x, y := hostOf(a), hostOf(b)
	return x == y || x == "" || y == ""
}

// reaches says whether addr is for certain that of the server which listens on listen. Of a
// name nobody knows, short of asking, whose it is.
func reaches(addr, listen string) bool {
	if !same(addr, listen) {
		return false
	}
	host := hostOf(addr)
	ip, err := netip.ParseAddr(host)
	return host == hostOf(listen) || host == "" || err == nil && ip.IsLoopback()
}

// hostOf is the host of an address as it is compared, "" for every host.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	host = strings.ToLower(host)
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() {
			return ""
		}
		return ip.Unmap().String()
	}
	if host == "localhost" {
		return "127.0.0.1"
	}
	return host
}
