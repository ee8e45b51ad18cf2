package config_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/config"
)

// proxy is a [[proxy]] with what it needs at least, and more.
func proxy(name, listen, more string) string {
	return "[[proxy]]\nname = \"" + name + "\"\nlisten = \"" + listen + "\"\nupstream = \"https://registry.internal\"\n" + more + "\n"
}

func TestDefaultsOfAProxy(t *testing.T) {
	c := parse(t, proxy("main", "127.0.0.1:5000", "")+proxy("other", ":5001", `
source = { addr = "registry.example" }
references = false
trusted_proxies = ["10.0.0.0/8"]
upstream_names = ["registry:5000", "[::1]:5000"]
timeouts = { idle = "1m" }
cache = { kind = "memory", share = { public = ["library/**", "base/*"] } }`))
	want := config.Proxy{
		Name: "main", Listen: "127.0.0.1:5000", Upstream: "https://registry.internal",
		Parity: config.ParitySane, Head: config.HeadEmit, References: true, OnUnrecorded: config.UnrecordedAllow,
		RecordWait: 50 * time.Millisecond, DeletesTags: true, ActorTokens: config.TokensNone,
		UpstreamHost: config.HostClient, UpstreamHTTP2: true, Location: config.LocationAbsolute,
		Timeouts: config.ProxyTimeouts{Metadata: 30 * time.Second, Commit: 15 * time.Minute, Idle: 15 * time.Minute},
		Cache: config.Cache{
			Kind: config.CacheNone, TTL: time.Minute,
			Share: config.Share{Level: config.ShareIdentity}, Redis: config.Redis{Prefix: "regcast:"},
		},
	}
	if diff := cmp.Diff(want, c.Proxies[0]); diff != "" {
		t.Errorf("the least that a proxy needs (-want +got):\n%s", diff)
	}
	want.Name, want.Listen, want.Source.Addr, want.References = "other", ":5001", "registry.example", false
	want.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	want.UpstreamNames = []string{"registry:5000", "[::1]:5000"}
	want.Timeouts.Idle = time.Minute
	want.Cache.Kind = config.CacheMemory
	want.Cache.Share = config.Share{Level: config.SharePublic, Public: []string{"library/**", "base/*"}}
	if diff := cmp.Diff(want, c.Proxies[1], cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("what is given does not stand beside the defaults (-want +got):\n%s", diff)
	}
}

// Who writes all that a registry stores need not forget it so soon, unless the file says
// when.
func TestCacheTTL(t *testing.T) {
	for cache, want := range map[string]time.Duration{
		"{}":                                time.Minute,
		`{ ttl = "5s" }`:                    5 * time.Second,
		"{ exclusive = true }":              24 * time.Hour,
		`{ exclusive = true, ttl = "60s" }`: time.Minute,
	} {
		c := parse(t, proxy("main", "127.0.0.1:5000", "cache = "+cache))
		if got := c.Proxies[0].Cache.TTL; got != want {
			t.Errorf("cache = %s: the TTL is %v, want %v", cache, got, want)
		}
	}
}

func TestShare(t *testing.T) {
	for share, want := range map[string]config.Share{
		`"identity"`:                  {Level: config.ShareIdentity},
		`"anonymous"`:                 {Level: config.ShareAnonymous},
		`{ public = ["library/**"] }`: {Level: config.SharePublic, Public: []string{"library/**"}},
	} {
		c := parse(t, proxy("main", "127.0.0.1:5000", "cache = { share = "+share+" }"))
		if diff := cmp.Diff(want, c.Proxies[0].Cache.Share); diff != "" {
			t.Errorf("share = %s (-want +got):\n%s", share, diff)
		}
	}
	for _, share := range []string{`""`, `"public"`, `{}`, `{ public = "library/**" }`, `{ public = [1] }`, `["library/**"]`, `true`} {
		if _, err := config.Parse([]byte(proxy("main", "127.0.0.1:5000", "cache = { share = "+share+" }")), ""); err == nil {
			t.Errorf("share = %s is taken", share)
		}
	}
}

func TestProxyWarnings(t *testing.T) {
	const endpoint = "[[endpoint]]\nname = \"a\"\nurl = \"console:\"\n"
	for text, want := range map[string]string{
		proxy("a", "127.0.0.1:5000", ""):                                                         "",
		proxy("a", "[::1]:5000", ""):                                                             "",
		proxy("a", "localhost:5000", ""):                                                         "",
		proxy("a", ":5000", ""):                                                                  "proxy[0].listen: passes the credentials of clients without TLS",
		proxy("a", "0.0.0.0:5000", ""):                                                           "without TLS",
		proxy("a", ":5000", `tls = { cert_file = "c", key_file = "k" }`):                         "",
		proxy("a", ":5000", `public_url = "https://registry.example"`):                           "",
		proxy("a", ":5000", `public_url = "http://registry.example:5000"`):                       "without TLS",
		proxy("a", "127.0.0.1:5000", `upstream_tls = { ca_file = "ca" }`):                        "",
		proxy("a", "127.0.0.1:5000", `cache = { kind = "redis", redis = { url_file = "url" } }`): "",
		proxy("a", "127.0.0.1:5000", `cache = { redis = { url_file = "url" } }`):                 "proxy[0].cache.redis: has no effect",
		proxy("a", "127.0.0.1:5000", `cache = { ttl = "5s" }`):                                   `proxy[0].cache: has no effect while kind is "none"`,
		proxy("a", "127.0.0.1:5000", `cache = { exclusive = true }`):                             `proxy[0].cache: has no effect while kind is "none"`,
		proxy("a", "127.0.0.1:5000", `cache = { share = "anonymous" }`):                          `proxy[0].cache: has no effect while kind is "none"`,
		proxy("a", "127.0.0.1:5000", `cache = { kind = "none", ttl = "60s" }`):                   "",
		strings.Replace(proxy("a", "127.0.0.1:5000", ""), `internal"`, `internal/v2/"`, 1):       "proxy[0].upstream: ends in /v2",
	} {
		got := parse(t, text+endpoint).Warnings()
		if want == "" && len(got) == 0 {
			continue
		}
		if want == "" || len(got) != 1 || !strings.Contains(got[0].String(), want) {
			t.Errorf("%s\nwarns %v, want %q", text, got, want)
		}
	}
}

func TestProxiesNeedRestart(t *testing.T) {
	base := proxy("a", "127.0.0.1:5000", "") + proxy("b", "127.0.0.1:5001", "")
	running := parse(t, base)
	for text, want := range map[string][]string{
		base:                             nil,
		proxy("a", "127.0.0.1:5000", ""): {"proxy"},
		proxy("a", "127.0.0.1:5000", "") + proxy("b", "127.0.0.1:5002", `cache = { share = "anonymous" }`): {"proxy[1].listen", "proxy[1].cache.share"},
		proxy("a", "127.0.0.1:5000", `tls = { cert_file = "c", key_file = "k" }`) + proxy("b", "127.0.0.1:5001", `vendor_routes = ["harbor"]`): {
			"proxy[0].tls.cert_file", "proxy[0].tls.key_file", "proxy[1].vendor_routes",
		},
	} {
		if diff := cmp.Diff(want, config.NeedRestart(running, parse(t, text))); diff != "" {
			t.Errorf("%s\n(-want +got):\n%s", text, diff)
		}
	}
}

func TestProxyOfItself(t *testing.T) {
	for _, c := range []struct {
		listen, upstream string
		itself           bool
	}{
		{"127.0.0.1:5000", "http://127.0.0.1:5000", true},
		{"127.0.0.1:5000", "http://localhost:5000", true},
		{"127.0.0.1:5000", "http://[::1]:5000", false},
		{"127.0.0.1:5000", "http://127.0.0.1:5001", false},
		{"127.0.0.1:5000", "http://registry.internal:5000", false},
		{":5000", "http://127.0.0.1:5000", true},
		{":5000", "http://0.0.0.0:5000", true},
		{":5000", "http://registry.internal:5000", false},
		{":5000", "http://10.0.0.1:5000", false},
		{":80", "http://localhost", true},
		{":443", "https://localhost", true},
		{":80", "https://localhost", false},
		{"registry.example:443", "https://Registry.Example/v2", true},
	} {
		text := "[[proxy]]\nname = \"a\"\nlisten = \"" + c.listen + "\"\nupstream = \"" + c.upstream + "\"\n"
		_, err := config.Parse([]byte(text), "")
		if itself := err != nil; itself != c.itself {
			t.Errorf("listen = %q, upstream = %q: %v", c.listen, c.upstream, err)
		}
	}
}

// A request must not come back to a proxy that it passed.
func TestProxiesInACircle(t *testing.T) {
	at := func(listen, upstream string) string {
		return "[[proxy]]\nname = \"p" + listen + "\"\nlisten = \"127.0.0.1:" + listen + "\"\nupstream = \"http://localhost:" + upstream + "\"\n"
	}
	for text, want := range map[string]string{
		at("1", "2") + at("2", "3") + at("3", "4"): "",
		at("1", "2") + at("2", "1"): "proxy[0].upstream: leads back to this proxy, by proxy[1]\n" +
			"proxy[1].upstream: leads back to this proxy, by proxy[0]",
		at("1", "2") + at("2", "3") + at("3", "1"): "proxy[0].upstream: leads back to this proxy, by proxy[2]\n" +
			"proxy[1].upstream: leads back to this proxy, by proxy[0]\n" +
			"proxy[2].upstream: leads back to this proxy, by proxy[1]",
		at("1", "2") + at("2", "3") + at("3", "2"): "proxy[1].upstream: leads back to this proxy, by proxy[2]\n" +
			"proxy[2].upstream: leads back to this proxy, by proxy[1]",
		at("1", "2") + at("2", "2"): "proxy[1].upstream: is where the proxy itself listens",
	} {
		got := ""
		if _, err := config.Parse([]byte(text), ""); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\ngot\n%s\nwant\n%s", text, got, want)
		}
	}
}

// The files that a proxy names are looked at as all others are.
func TestProxyFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "key.pem", "", 0o644)
	write(t, dir, "issuer.pem", "", 0o644) // which is no secret
	file := write(t, dir, "regcast.toml", proxy("main", "127.0.0.1:5000", `
tls = { cert_file = "cert.pem", key_file = "key.pem" }
upstream_tls = { ca_file = "ca.pem" }
cache = { kind = "redis", redis = { url_file = "redis" } }
actor_keys_file = "issuer.pem"`), 0o600)
	_, err := config.Load(file)
	want := strings.Join([]string{
		file + ":6: proxy[0].tls.cert_file: there is no file " + dir + "/cert.pem",
		file + ":7: proxy[0].upstream_tls.ca_file: there is no file " + dir + "/ca.pem",
		file + ":8: proxy[0].cache.redis.url_file: there is no file " + dir + "/redis",
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	data, err := config.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(data, file)
	if err != nil {
		t.Fatal(err)
	}
	if _, warnings := c.CheckFiles(); len(warnings) != 1 || warnings[0].Path != "proxy[0].tls.key_file" {
		t.Errorf("warns %v, want one of the key that everybody can read", warnings)
	}
}
