package notifications_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/api/v2"
	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications"
)

// proxies are trusted in these tests.
func proxies() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("fd00::/8"),
		netip.MustParsePrefix("::ffff:172.16.0.0/108"), // 172.16.0.0/12
	}
}

// request makes one from peer with headers given as name, value, name, value.
func request(peer string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/v2/team/app/manifests/v1", nil)
	r.RemoteAddr = peer
	r.Host = "registry.example:5000"
	r.Header.Set("User-Agent", "client/1")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestRequestOf(t *testing.T) {
	want := notifications.RequestRecord{
		ID: "id-1", Addr: "192.0.2.1:4711", Host: "registry.example:5000", Method: "GET", UserAgent: "client/1",
	}
	if diff := cmp.Diff(want, notifications.RequestOf("id-1", request("192.0.2.1:4711"))); diff != "" {
		t.Error(diff)
	}
}

func TestRequestOfAddr(t *testing.T) {
	const (
		xff = "X-Forwarded-For"
		fwd = "Forwarded"
		ip  = "X-Real-Ip"
	)
	tests := []struct {
		name    string
		peer    string
		headers []string
		want    string
	}{
		{"peer not trusted", "192.0.2.1:9", []string{xff, "198.51.100.7", fwd, "for=198.51.100.7", ip, "198.51.100.7"}, "192.0.2.1:9"},
		{"no header", "10.0.0.1:9", nil, "10.0.0.1:9"},
		{"unix socket", "@", []string{xff, "198.51.100.7"}, "@"},
		{"peer v6", "[fd00::1]:9", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"peer v6 with zone", "[fd00::1%eth0]:9", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"peer v4 in v6", "[::ffff:10.0.0.1]:9", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"prefix v4 in v6", "172.20.0.1:9", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"beside the prefix v4 in v6", "172.32.0.1:9", []string{xff, "198.51.100.7"}, "172.32.0.1:9"},

		{"one client", "10.0.0.1:9", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"what the client claims", "10.0.0.1:9", []string{xff, "6.6.6.6, 198.51.100.7"}, "198.51.100.7"},
		{"past trusted proxies", "10.0.0.1:9", []string{xff, "6.6.6.6, 198.51.100.7,10.0.0.3 , 10.0.0.2"}, "198.51.100.7"},
		{"several lines", "10.0.0.1:9", []string{xff, "6.6.6.6", xff, "198.51.100.7", xff, "10.0.0.3,10.0.0.2"}, "198.51.100.7"},
		{"all trusted", "10.0.0.1:9", []string{xff, "10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"v6", "10.0.0.1:9", []string{xff, "2001:db8::7"}, "2001:db8::7"},
		{"v6 in brackets", "10.0.0.1:9", []string{xff, "[2001:db8::7]"}, "2001:db8::7"},
		{"v6 in brackets with port", "10.0.0.1:9", []string{xff, "[2001:db8::7]:443"}, "2001:db8::7"},
		{"v4 with port", "10.0.0.1:9", []string{xff, "198.51.100.7:443"}, "198.51.100.7"},
		{"v4 in v6", "10.0.0.1:9", []string{xff, "::ffff:198.51.100.7"}, "198.51.100.7"},
		{"trusted v4 in v6", "10.0.0.1:9", []string{xff, "198.51.100.7, ::ffff:10.0.0.2"}, "198.51.100.7"},
		{"garbage", "10.0.0.1:9", []string{xff, "198.51.100.7, <script>"}, "10.0.0.1:9"},
		{"garbage behind a proxy", "10.0.0.1:9", []string{xff, "198.51.100.7, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"empty", "10.0.0.1:9", []string{xff, ""}, "10.0.0.1:9"},
		{"empty item", "10.0.0.1:9", []string{xff, "198.51.100.7,"}, "10.0.0.1:9"},
		{"v6 with zone", "10.0.0.1:9", []string{xff, "fe80::1%<b>"}, "10.0.0.1:9"},
		{"v4 in brackets", "10.0.0.1:9", []string{xff, "[198.51.100.7]"}, "10.0.0.1:9"},
		{"bracket left open", "10.0.0.1:9", []string{xff, "[2001:db8::7"}, "10.0.0.1:9"},
		{"port left out", "10.0.0.1:9", []string{xff, "198.51.100.7:"}, "10.0.0.1:9"},
		{"port that is none", "10.0.0.1:9", []string{xff, "[2001:db8::7]:4 3"}, "10.0.0.1:9"},
		{"leading zeros", "10.0.0.1:9", []string{xff, "198.051.100.007"}, "10.0.0.1:9"},
		{"many proxies", "10.0.0.1:9", []string{xff, "198.51.100.7" + strings.Repeat(",10.0.0.2", 31)}, "198.51.100.7"},
		{"more proxies than anyone has", "10.0.0.1:9", []string{xff, "198.51.100.7" + strings.Repeat(",10.0.0.2", 32)}, "10.0.0.2"},

		{"real ip", "10.0.0.1:9", []string{ip, "198.51.100.7"}, "198.51.100.7"},
		{"real ip v6", "10.0.0.1:9", []string{ip, "[2001:db8::7]:9"}, "2001:db8::7"},
		{"real ip, the last", "10.0.0.1:9", []string{ip, "6.6.6.6", ip, "198.51.100.7"}, "198.51.100.7"},
		{"real ip garbage", "10.0.0.1:9", []string{ip, "me"}, "10.0.0.1:9"},
		{"real ip beside a list", "10.0.0.1:9", []string{ip, "6.6.6.6", xff, "198.51.100.7"}, "198.51.100.7"},
		{"real ip beside a garbled list", "10.0.0.1:9", []string{ip, "6.6.6.6", xff, "?"}, "10.0.0.1:9"},
		{"real ip beside Forwarded", "10.0.0.1:9", []string{ip, "6.6.6.6", fwd, "for=_hidden"}, "10.0.0.1:9"},

		{"Forwarded", "10.0.0.1:9", []string{fwd, "for=198.51.100.7"}, "198.51.100.7"},
		{"Forwarded with all", "10.0.0.1:9", []string{fwd, `For="[2001:db8::7]:4711" ; Proto=https;by=10.0.0.1;host="a\"b"`}, "2001:db8::7"},
		{"Forwarded past proxies", "10.0.0.1:9", []string{fwd, "for=6.6.6.6, for=198.51.100.7;proto=http", fwd, "for=10.0.0.3,for=10.0.0.2"}, "198.51.100.7"},
		{"Forwarded, port not quoted", "10.0.0.1:9", []string{fwd, "for=198.51.100.7:80"}, "198.51.100.7"},
		{"Forwarded, port obfuscated", "10.0.0.1:9", []string{fwd, `for="198.51.100.7:_p"`}, "198.51.100.7"},
		{"Forwarded all trusted", "10.0.0.1:9", []string{fwd, "for=10.0.0.3, for=10.0.0.2"}, "10.0.0.3"},
		{"Forwarded unknown", "10.0.0.1:9", []string{fwd, "for=198.51.100.7, for=unknown"}, "10.0.0.1:9"},
		{"Forwarded obfuscated", "10.0.0.1:9", []string{fwd, "for=198.51.100.7, for=_SEVKISEK, for=10.0.0.2"}, "10.0.0.2"},
		{"Forwarded without for", "10.0.0.1:9", []string{fwd, "for=6.6.6.6, proto=https"}, "10.0.0.1:9"},
		{"Forwarded comma in quotes", "10.0.0.1:9", []string{fwd, `for="6.6.6.6, for=7.7.7.7", for=198.51.100.7`}, "198.51.100.7"},
		{"Forwarded quotation left open", "10.0.0.1:9", []string{fwd, `for=6.6.6.6, for=", for=198.51.100.7`}, "10.0.0.1:9"},
		{"Forwarded escape left open", "10.0.0.1:9", []string{fwd, `for="198.51.100.7\`}, "10.0.0.1:9"},
		{"Forwarded with something behind a quotation", "10.0.0.1:9", []string{fwd, `for="198.51.100.7"x`}, "10.0.0.1:9"},
		{"Forwarded without value", "10.0.0.1:9", []string{fwd, "for="}, "10.0.0.1:9"},
		{"Forwarded without name", "10.0.0.1:9", []string{fwd, "=198.51.100.7"}, "10.0.0.1:9"},
		{"Forwarded not pairs", "10.0.0.1:9", []string{fwd, "198.51.100.7"}, "10.0.0.1:9"},
		{"Forwarded empty", "10.0.0.1:9", []string{fwd, ""}, "10.0.0.1:9"},
		{"Forwarded too long", "10.0.0.1:9", []string{fwd, strings.Repeat("for=10.0.0.2,", 1000) + "for=198.51.100.7"}, "10.0.0.1:9"},
		{"Forwarded garbled on the line before", "10.0.0.1:9", []string{fwd, `for="`, fwd, "for=198.51.100.7"}, "198.51.100.7"},
		{"Forwarded beside X-Forwarded-For", "10.0.0.1:9", []string{fwd, "for=6.6.6.6", xff, "198.51.100.7"}, "198.51.100.7"},
		{"Forwarded beside X-Forwarded-Proto", "10.0.0.1:9", []string{fwd, "for=6.6.6.6", "X-Forwarded-Proto", "https"}, "10.0.0.1:9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := notifications.RequestOf("", request(tt.peer, tt.headers...), proxies()...).Addr; got != tt.want {
				t.Errorf("addr = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBaseURLOf(t *testing.T) {
	const (
		proto = "X-Forwarded-Proto"
		host  = "X-Forwarded-Host"
		xff   = "X-Forwarded-For"
		fwd   = "Forwarded"
	)
	tests := []struct {
		name    string
		peer    string
		headers []string
		want    string
	}{
		{"as asked", "192.0.2.1:9", nil, "http://registry.example:5000/"},
		{"peer not trusted", "192.0.2.1:9", []string{proto, "https", host, "evil.example", fwd, "for=1.1.1.1;host=evil.example"}, "http://registry.example:5000/"},
		{"trusted", "10.0.0.1:9", []string{proto, "HTTPS", host, "public.example"}, "https://public.example/"},
		{"host alone", "10.0.0.1:9", []string{host, "public.example:8443"}, "http://public.example:8443/"},
		{"v6 host", "10.0.0.1:9", []string{host, "[2001:db8::1]:5000"}, "http://[2001:db8::1]:5000/"},
		{"lists grown by one proxy", "10.0.0.1:9", []string{xff, "6.6.6.6, 198.51.100.7", proto, "http, https", host, "evil.example, public.example"}, "https://public.example/"},
		{"lists grown by two proxies", "10.0.0.1:9", []string{xff, "198.51.100.7, 10.0.0.2", proto, "https, http", host, "public.example, inner.example"}, "https://public.example/"},
		{"two proxies, one replaces", "10.0.0.1:9", []string{xff, "198.51.100.7, 10.0.0.2", proto, "https", host, "public.example"}, "https://public.example/"},
		{"scheme that is none", "10.0.0.1:9", []string{proto, "javascript"}, "http://registry.example:5000/"},
		{"host that is none", "10.0.0.1:9", []string{host, "evil.example/path?"}, "http://registry.example:5000/"},
		{"host too long", "10.0.0.1:9", []string{host, strings.Repeat("a", 261)}, "http://registry.example:5000/"},
		{"host with user", "10.0.0.1:9", []string{host, "user@evil.example"}, "http://registry.example:5000/"},
		{"host with line break", "10.0.0.1:9", []string{host, "evil.example\r\nX: y"}, "http://registry.example:5000/"},
		{"Forwarded", "10.0.0.1:9", []string{fwd, `for=198.51.100.7;proto=https;host="public.example:8443"`}, "https://public.example:8443/"},
		{"Forwarded, claimed by the client", "10.0.0.1:9", []string{fwd, "for=6.6.6.6;host=evil.example, for=198.51.100.7;proto=https"}, "https://registry.example:5000/"},
		{"X-Forwarded before Forwarded", "10.0.0.1:9", []string{fwd, "for=198.51.100.7;host=evil.example", host, "public.example"}, "http://public.example/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := notifications.BaseURLOf(request(tt.peer, tt.headers...), proxies()...).String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}

	t.Run("TLS and path", func(t *testing.T) {
		r := request("192.0.2.1:9")
		r.TLS = new(tls.ConnectionState)
		r.URL.Path = "/docker hub/v2/team/app/manifests/v1"
		if got, want := notifications.BaseURLOf(r).String(), "https://registry.example:5000/docker%20hub/"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("no host", func(t *testing.T) {
		for _, host := range []string{"", "a b", "evil.example/x", ":5000", "a:port", "[::1"} {
			r := request("192.0.2.1:9")
			r.Host = host
			b := notifications.BaseURLOf(r)
			if _, err := b.BlobURL(canonical(t)); err == nil || b.String() != "" {
				t.Errorf("host %q: base url %q; want none, and an error of what it builds", host, b)
			}
		}
	})
}

func canonical(t testing.TB) reference.Canonical {
	t.Helper()
	ref, err := reference.WithDigest(named(t, "team/app"), digest.FromString("x"))
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// The URLs are those that distribution's own builder makes.
func TestBaseURLBuildsWhatDistributionBuilds(t *testing.T) {
	for _, root := range []string{"https://registry.example", "http://registry.example:5000/", "https://registry.example/a/b/", "http://[2001:db8::1]:5000", "https://registry.example/with%20space/"} {
		theirs, err := v2.NewURLBuilderFromString(root, false)
		if err != nil {
			t.Fatal(err)
		}
		ours := baseURL(t, root)
		ref := canonical(t)
		for name, urls := range map[string][2]func() (string, error){
			"manifest": {func() (string, error) { return theirs.BuildManifestURL(ref) }, func() (string, error) { return ours.ManifestURL(ref) }},
			"blob":     {func() (string, error) { return theirs.BuildBlobURL(ref) }, func() (string, error) { return ours.BlobURL(ref) }},
		} {
			want, err := urls[0]()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := urls[1](); err != nil || got != want {
				t.Errorf("%s at %s: %q, %v; want %q", name, root, got, err, want)
			}
		}
	}
}

func TestParseBaseURL(t *testing.T) {
	if got, want := baseURL(t, "https://registry.example/prefix").String(), "https://registry.example/prefix/"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, s := range []string{"", "registry.example", "/v2/", "ftp://registry.example", "https://", "https://u:secret@registry.example", "https://h?q", "https://h/?", "https://h#f", "https://u:secret@h:port", "://"} {
		b, err := notifications.ParseBaseURL(s)
		if err == nil {
			t.Errorf("%q: got %q, want an error", s, b)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error tells the password: %v", s, err)
		}
	}
}

// Whatever clients put into headers, the address that a trusted proxy adds wins, and what
// comes out is an IP or the peer.
func FuzzRequestOf(f *testing.F) {
	f.Add("10.0.0.1:9", "198.51.100.7, 10.0.0.2", `for="[2001:db8::7]:1";proto=https, for=_x`, "203.0.113.5", "host.example")
	f.Add("192.0.2.1:9", `"`, `for="`, "[::1]:2", "a@b")
	f.Add("[fd00::1%e]:9", "fe80::1%eth0", `a="\"`, "::ffff:1.2.3.4", "[::1]:99999")
	f.Add("", "", "", "", "registry.example:5000")
	f.Add("", "", "", "", "registry:")
	f.Add("", "", "", "", "::1")
	f.Add("", "", "", "", ":80")
	const hostBytes = ".-_:[]0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	f.Fuzz(func(t *testing.T, peer, xff, forwarded, realIP, host string) {
		const client = "203.0.113.9"
		trusted := proxies()
		record := func(headers ...string) string {
			r := request(peer, headers...)
			notifications.BaseURLOf(r, trusted...)
			return notifications.RequestOf("", r, trusted...).Addr
		}
		for _, headers := range [][]string{
			{"X-Forwarded-For", xff}, {"Forwarded", forwarded}, {"X-Real-Ip", realIP},
			{"X-Forwarded-For", xff, "Forwarded", forwarded, "X-Real-Ip", realIP, "X-Forwarded-Host", host, "X-Forwarded-Proto", host},
		} {
			addr := record(headers...)
			if ip, err := netip.ParseAddr(addr); addr != peer && (err != nil || ip.Zone() != "" || ip.Is4In6()) {
				t.Errorf("%q from %q: addr %q is neither an IP nor the peer", headers, peer, addr)
			}
		}

		peer = "10.0.0.1:9"
		if addr := record("X-Forwarded-For", xff+", "+client, "X-Real-Ip", realIP, "Forwarded", forwarded); addr != client {
			t.Errorf("X-Forwarded-For %q and the client: %q", xff, addr)
		}
		if addr := record("Forwarded", forwarded+", for="+client, "X-Real-Ip", realIP); addr != client && addr != peer {
			t.Errorf("Forwarded %q and the client: %q", forwarded, addr)
		}
		r := request("192.0.2.1:9")
		r.Host = host
		u, err := url.Parse("http://" + host)
		sound := err == nil && u.Host == host && u.Hostname() != "" && len(host) <= 260 && strings.Trim(host, hostBytes) == ""
		if got := notifications.BaseURLOf(r).String(); sound && got != "http://"+host+"/" || !sound && got != "" {
			t.Errorf("Host %q: base url %q", host, got)
		}
		r = request(peer, "X-Forwarded-Host", host)
		if base := notifications.BaseURLOf(r, trusted...); base.String() != "" {
			if _, err := notifications.ParseBaseURL(base.String()); err != nil {
				t.Errorf("X-Forwarded-Host %q: %v", host, err)
			}
		}
	})
}

func ExampleRequestOf() {
	r, _ := http.NewRequest(http.MethodPut, "https://registry.example/v2/team/app/manifests/v1", nil)
	r.RemoteAddr = "10.0.0.1:51234"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")

	fmt.Println(notifications.RequestOf("request-1", r).Addr)
	fmt.Println(notifications.RequestOf("request-1", r, netip.MustParsePrefix("10.0.0.0/8")).Addr)
	// Output:
	// 10.0.0.1:51234
	// 203.0.113.9
}

func ExampleParseBaseURL() {
	base, err := notifications.ParseBaseURL("https://registry.example/docker")
	if err != nil {
		fmt.Println(err)
		return
	}
	repo, _ := reference.WithName("team/app")
	ref, _ := reference.WithDigest(repo, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	fmt.Println(base.ManifestURL(ref))
	// Output: https://registry.example/docker/v2/team/app/manifests/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 <nil>
}

func ExampleBaseURLOf() {
	r, _ := http.NewRequest(http.MethodGet, "/docker/v2/team/app/manifests/v1", nil)
	r.Host = "registry:5000"
	r.RemoteAddr = "10.0.0.1:51234"
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("X-Forwarded-Host", "registry.example")

	fmt.Println(notifications.BaseURLOf(r))
	fmt.Println(notifications.BaseURLOf(r, netip.MustParsePrefix("10.0.0.0/8")))
	// Output:
	// http://registry:5000/docker/
	// https://registry.example/docker/
}
