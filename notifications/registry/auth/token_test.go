package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/internal/answer"
)

func TestExpiry(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		name    string
		seconds float64
		issued  time.Time
		want    time.Duration // from now
	}{
		{"nothing said", 0, time.Time{}, 55 * time.Second},
		{"less than a minute", 10, now, 55 * time.Second},
		{"negative", -300, now, 55 * time.Second},
		{"five minutes", 300, time.Time{}, 295 * time.Second},
		{"issued a minute ago", 300, now.Add(-time.Minute), 235 * time.Second},
		{"issued in the future: another clock", 300, now.Add(time.Hour), 295 * time.Second},
		{"issued so long ago that it is over: another clock", 300, now.Add(-time.Hour), 295 * time.Second},
		{"for years", 1e12, now, 24*time.Hour - 5*time.Second},
	} {
		if got := expiry(test.seconds, test.issued, now).Sub(now); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func scopes(entries string) scopeSet {
	s := make(scopeSet)
	s.addAll(entries)
	return s
}

func TestScopeSets(t *testing.T) {
	s := scopes("repository:host:5000/a:push,pull repository:b:pull repository:b:pull,delete bad registry:catalog:*")
	want := []string{"registry:catalog:*", "repository:b:delete,pull", "repository:host:5000/a:pull,push"}
	if got := s.entries(); !slices.Equal(got, want) {
		t.Errorf("entries %q, want %q", got, want)
	}
	for _, test := range []struct {
		has, want string
		covers    bool
	}{
		{"", "", true},
		{"repository:a:pull", "", true},
		{"repository:a:pull,push", "repository:a:pull", true},
		{"repository:a:*", "repository:a:pull,delete", true},
		{"repository:a:pull", "repository:a:pull,push", false},
		{"repository:a:pull", "repository:b:pull", false},
		{"repository:a:pull repository:b:pull", "repository:a:pull repository:b:pull", true},
	} {
		if got := scopes(test.has).covers(scopes(test.want)); got != test.covers {
			t.Errorf("%q covers %q: %v", test.has, test.want, got)
		}
	}
}

// What was read of a scope is written so that it is read again.
func FuzzScopes(f *testing.F) {
	f.Add("repository:a/b:pull,push registry:catalog:*")
	f.Add("repository:host:5000/a:pull,,pull :x x: ::")
	f.Fuzz(func(t *testing.T, parameter string) {
		s := scopes(parameter)
		again := scopes(strings.Join(s.entries(), " "))
		if !s.covers(again) || !again.covers(s) || !slices.Equal(s.entries(), again.entries()) {
			t.Errorf("%q: %q, then %q", parameter, s.entries(), again.entries())
		}
	})
}

func TestTokenCache(t *testing.T) {
	now := time.Now()
	held := func(value, s string, lifetime time.Duration) token {
		return token{value, scopes(s), now.Add(lifetime)}
	}
	key, other := tokenKey{origin: "a"}, tokenKey{origin: "b"}

	c := newTokenCache(3)
	c.put(key, held("pull", "repository:a:pull", time.Minute), now)
	c.put(key, held("both", "repository:a:pull,push", time.Minute), now)
	if c.size != 1 {
		t.Errorf("%d tokens, where one does for all", c.size)
	}
	if got, found := c.get(key, scopes("repository:a:pull"), now); !found || got.value != "both" {
		t.Errorf("a superset: %v %v", got, found)
	}
	if _, found := c.get(other, scopes("repository:a:pull"), now); found {
		t.Error("a token for another registry")
	}
	if _, found := c.get(key, scopes("repository:a:delete"), now); found {
		t.Error("a token that allows too little")
	}
	if _, found := c.get(key, scopes("repository:a:pull"), now.Add(time.Minute)); found {
		t.Error("a token that has expired")
	}
	c.put(key, held("first out", "repository:b:pull", time.Second), now)
	c.put(other, held("x", "repository:c:pull", time.Hour), now)
	c.put(other, held("y", "repository:d:pull", time.Hour), now)
	if _, found := c.get(key, scopes("repository:b:pull"), now); found || c.size != 3 {
		t.Errorf("%d tokens; the one that expires first is there: %v", c.size, found)
	}
	c.drop(other, token{value: "x"})
	if _, found := c.get(other, scopes("repository:c:pull"), now); found || c.size != 2 {
		t.Errorf("a token that was dropped: %v, %d left", found, c.size)
	}
	for i := range 100 {
		c.put(tokenKey{origin: fmt.Sprint(i)}, held("z", "repository:a:pull", time.Hour), now)
	}
	if c.size != 3 || len(c.held) > 3 {
		t.Errorf("%d tokens of 3", c.size)
	}
}

func TestRealmGuard(t *testing.T) {
	transport := NewTransport(nil, &Options{
		TokenHosts: []string{"auth.internal", "10.1.1.1:8443"},
		LookupHost: func(_ context.Context, host string) ([]netip.Addr, error) {
			switch host {
			case "public.example":
				return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
			case "rebound.example":
				return []netip.Addr{netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("169.254.169.254")}, nil
			}
			return nil, errors.New("no such host")
		},
		Proxy: func(req *http.Request) (*url.URL, error) {
			if req.URL.Host == "behind.proxy.example" || req.URL.RawQuery == "by=proxy" {
				return &url.URL{Scheme: "http", Host: "proxy.example"}, nil
			}
			return nil, nil
		},
	})
	for _, test := range []struct {
		registry, realm string
		want            string // the URL, or "" if it is refused
	}{
		{"https://r.example", "https://public.example/token?x=y", "https://public.example/token?x=y"},
		{"http://r.example", "http://public.example/token", "http://public.example/token"},
		{"http://r.example", "https://public.example/token", "https://public.example/token"},
		{"https://r.example", "http://public.example/token", ""},
		{"https://r.example", "http://r.example/token", ""},
		{"https://r.example", "ftp://public.example/token", ""},
		{"https://r.example", "file:///etc/passwd", ""},
		{"https://r.example", "https:///token", ""},
		{"https://r.example", "https://%zz", ""},
		{"https://r.example:5000", "/auth/token", "https://r.example:5000/auth/token"},
		{"https://r.example:5000", "token", "https://r.example:5000/v2/token"},
		{"https://r.example", "https://bob:secret@public.example/token#f", "https://public.example/token"},
		{"http://127.0.0.1:5000", "http://127.0.0.1:5001/token", "http://127.0.0.1:5001/token"},
		{"https://R.internal", "https://r.INTERNAL:1/token", "https://r.INTERNAL:1/token"},
		{"https://r.example", "https://127.0.0.1/token", ""},
		{"https://r.example", "https://10.0.0.1/token", ""},
		{"https://r.example", "https://192.168.1.1/token", ""},
		{"https://r.example", "https://169.254.169.254/latest", ""},
		{"https://r.example", "https://100.64.0.1/token", ""},
		{"https://r.example", "https://0.0.0.0/token", ""},
		{"https://r.example", "https://255.255.255.255/token", ""},
		{"https://r.example", "https://[::1]/token", ""},
		{"https://r.example", "https://[::ffff:10.0.0.1]/token", ""},
		{"https://r.example", "https://[fd00::1]/token", ""},
		{"https://r.example", "https://[fe80::1]/token", ""},
		{"https://r.example", "https://[64:ff9b::a00:1]/token", ""},
		{"https://r.example", "https://2852039166/token", ""},
		{"https://r.example", "https://0x7f.1/token", ""},
		{"https://r.example", "https://behind.proxy.example/token", "https://behind.proxy.example/token"},
		{"https://r.example", "https://10.0.0.2/token?by=proxy", ""},
		{"https://r.example", "https://0x7f.2/token?by=proxy", ""},
		{"https://r.example", "https://rebound.example/token", ""},
		{"https://r.example", "https://unknown.example/token", ""},
		{"https://r.example", "https://auth.internal:444/token", "https://auth.internal:444/token"},
		{"https://r.example", "https://10.1.1.1:8443/token", "https://10.1.1.1:8443/token"},
		{"https://r.example", "https://10.1.1.1:9443/token", ""},
	} {
		server, err := url.Parse(test.registry + "/v2/")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		realm, err := transport.realm(server, test.realm)
		if err == nil {
			if err = transport.checkRealm(t.Context(), server, realm); err == nil {
				got = realm.String()
			}
		}
		if got != test.want {
			t.Errorf("%s has %q: %q (%v), want %q", test.registry, test.realm, got, err, test.want)
		}
		if err != nil && !errors.Is(err, registry.ErrRefused) && !strings.Contains(err.Error(), "no such host") {
			t.Errorf("%s has %q: %v is not registry.ErrRefused", test.registry, test.realm, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("a secret in %v", err)
		}
	}
}

func TestChooseChallenge(t *testing.T) {
	for _, test := range []struct {
		fields []string
		want   string
	}{
		{[]string{`Basic realm=x, Bearer realm=y`}, "bearer"},
		{[]string{`Digest realm=x`, `Basic realm=x`}, "basic"},
		{[]string{`Bearer error="insufficient_scope"`, `Basic realm=x`}, "basic"},
		{[]string{`Bearer service="x"`}, ""},
		{[]string{`Negotiate`}, ""},
	} {
		got := ""
		if c := chooseChallenge(answer.Challenges(http.Header{"Www-Authenticate": test.fields})); c != nil {
			got = c.Scheme
		}
		if got != test.want {
			t.Errorf("%q: %q, want %q", test.fields, got, test.want)
		}
	}
}
