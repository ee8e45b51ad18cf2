package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/internal/fixtures"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// Many who begin at the same time ask once how to authenticate, and once for a token.
func TestOneProbeAndOneTokenForAll(t *testing.T) {
	for _, kind := range fixtures.EveryAuth() {
		t.Run(fixtures.AuthName(kind), func(t *testing.T) {
			var meter registrytest.Meter
			r := registrytest.Start(t, &registrytest.Options{Auth: kind, Wrap: meter.Wrap})
			c := fixtures.Client(t, r, fixtures.Alice(r), nil)
			var wait sync.WaitGroup
			for range 20 {
				wait.Go(func() {
					if _, err := c.Resolve(t.Context(), "team/app", "v1"); !errors.Is(err, registry.ErrNotFound) {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			if n := meter.Count("GET /v2/"); n != 1 {
				t.Errorf("%d probes", n)
			}
			if n := meter.Count("HEAD /v2/team/app/manifests/v1"); n != 20 {
				t.Errorf("%d requests for 20 look-ups: some were made in vain", n)
			}
			if r.Tokens != nil && len(r.Tokens.Requests()) != 1 {
				t.Errorf("tokens: %v", r.Tokens.Requests())
			}
		})
	}
}

// Who waits for another's probe does not fail because the other gave up.
func TestAnAbandonedProbeIsTakenOver(t *testing.T) {
	probes := make(chan chan struct{}, 10)
	r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Token, Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/v2/" && req.Header.Get("Authorization") == "" {
				release := make(chan struct{})
				probes <- release
				select {
				case <-release:
				case <-req.Context().Done():
				}
			}
			next.ServeHTTP(w, req)
		})
	}})
	c := fixtures.Client(t, r, fixtures.Alice(r), nil)
	first, cancel := context.WithCancel(t.Context())
	results := make(chan error, 2)
	go func() { results <- c.Ping(first) }()
	<-probes
	go func() { results <- c.Ping(t.Context()) }()
	cancel()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	close(<-probes)
	if err := <-results; err != nil {
		t.Errorf("who did not give up got %v", err)
	}
}

// The scopes of a life, as the token server sees them.
func TestScopes(t *testing.T) {
	r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Token})
	ctx := t.Context()
	for _, test := range []struct {
		name string
		call func(*registry.Client) error
		want []string // of all token requests, in order
	}{
		{"ping", func(c *registry.Client) error { return c.Ping(ctx) }, []string{""}},
		{"catalog", func(c *registry.Client) error { return fixtures.First(c.Repositories(ctx, nil)) }, []string{"registry:catalog:*"}},
		{"tags", func(c *registry.Client) error { return fixtures.First(c.Tags(ctx, "a/b", nil)) }, []string{"repository:a/b:pull"}},
		{"resolve", func(c *registry.Client) error { _, err := c.Resolve(ctx, "a/b", "v1"); return err }, []string{"repository:a/b:pull"}},
		{"mount", func(c *registry.Client) error {
			desc, _ := fixtures.Content(t, 1)
			_, err := c.MountBlob(ctx, "a/b", desc.Digest, "c/d")
			return err
		}, []string{"repository:a/b:pull,push repository:c/d:pull"}},
		{"upload, then read: one token for both", func(c *registry.Client) error {
			desc, b := fixtures.Content(t, 1)
			if err := c.PutBlob(ctx, "a/b", desc, bytes.NewReader(b)); err != nil {
				return err
			}
			_, err := c.StatBlob(ctx, "a/b", desc.Digest)
			return err
		}, []string{"repository:a/b:pull,push"}},
		{"two repositories", func(c *registry.Client) error {
			_, err := c.Resolve(ctx, "a/b", "v1")
			_, again := c.Resolve(ctx, "c/d", "v1")
			return errors.Join(err, again)
		}, []string{"repository:a/b:pull", "repository:c/d:pull"}},
		{"delete", func(c *registry.Client) error { return c.Untag(ctx, "a/b", "v1") }, []string{"repository:a/b:delete"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(r.Tokens.Requests())
			if err := test.call(fixtures.Client(t, r, fixtures.Alice(r), nil)); err != nil && !errors.Is(err, registry.ErrNotFound) {
				t.Error(err)
			}
			wantScopes(t, r, before, test.want)
		})
	}
}

// wantScopes compares what tokens were asked for, after the first requests for some.
func wantScopes(t *testing.T, r *registrytest.Registry, first int, want []string) {
	t.Helper()
	var got []string
	for _, request := range r.Tokens.Requests()[first:] {
		got = append(got, strings.Join(request.Scopes, " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("scopes %q, want %q", got, want)
	}
}

// A path that says nothing of a repository has one that the caller names.
func TestWithRepository(t *testing.T) {
	r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Token})
	transport := auth.NewTransport(nil, &auth.Options{Credentials: fixtures.Alice(r)})
	t.Cleanup(transport.CloseIdleConnections)
	ctx := registry.WithRepository(t.Context(), "team/app")
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, r.URL()+"/sessions/1", io.MultiReader(strings.NewReader("a stream")))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := r.Tokens.Requests(); len(got) != 1 || !slices.Equal(got[0].Scopes, []string{"repository:team/app:pull,push"}) {
		t.Errorf("tokens: %v", got)
	}
}

// A registry that does not take a token any more gets another, once.
func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	var refuse atomic.Int32
	var meter registrytest.Meter
	r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Token, Wrap: func(next http.Handler) http.Handler {
		return meter.Wrap(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Authorization") != "" && strings.HasPrefix(req.URL.Path, "/v2/") && refuse.Add(-1) >= 0 {
				req.Header.Set("Authorization", "Bearer expired")
			}
			next.ServeHTTP(w, req)
		}))
	}})
	c := fixtures.Client(t, r, fixtures.Alice(r), nil)
	desc, manifest := fixtures.Image(t, c, "team/app", "v1")

	refuse.Store(1)
	meter.Reset()
	if _, err := c.PutManifest(t.Context(), "team/app", "v2", desc.MediaType, manifest); err != nil {
		t.Errorf("after one refusal: %v", err)
	}
	if got, want := meter.Requests(), []string{"PUT /v2/team/app/manifests/v2", "GET /token", "PUT /v2/team/app/manifests/v2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}

	refuse.Store(2)
	meter.Reset()
	if _, err := c.PutManifest(t.Context(), "team/app", "v2", desc.MediaType, manifest); !errors.Is(err, registry.ErrUnauthorized) {
		t.Errorf("after two refusals: %v", err)
	}
	if got := meter.Requests(); len(got) != 3 {
		t.Errorf("more than one repetition: %q", got)
	}

	// A stream is not sent again, but the token is not used again either.
	blob, b := fixtures.Content(t, 100)
	u, err := c.StartUpload(t.Context(), "team/app")
	if err != nil {
		t.Fatal(err)
	}
	refuse.Store(1)
	stream := &fixtures.CountingReader{R: bytes.NewReader(b)}
	if err := u.Put(t.Context(), blob, stream); !errors.Is(err, registry.ErrUnauthorized) {
		t.Errorf("a stream that was refused: %v", err)
	}
	if stream.N > 100 {
		t.Errorf("%d bytes of a stream of 100 were read", stream.N)
	}
	if err := c.PutBlob(t.Context(), "team/app", blob, &fixtures.CountingReader{R: bytes.NewReader(b)}); err != nil {
		t.Errorf("the next stream: %v", err)
	}
}

// What may not be done is said so, without asking for the same token again and again.
func TestDenied(t *testing.T) {
	var meter registrytest.Meter
	r := registrytest.Start(t, &registrytest.Options{
		Auth: registrytest.Token, Wrap: meter.Wrap, Users: map[string]string{"bob": "b"},
		Tokens: registrytest.TokenOptions{Grant: func(user, _, _ string, actions []string) []string {
			if user == registrytest.Username {
				return actions
			}
			return slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return a != "pull" })
		}},
	})
	desc, manifest := fixtures.Image(t, fixtures.Client(t, r, fixtures.Alice(r), nil), "team/app", "v1")
	for name, credentials := range map[string]auth.Credentials{
		"bob":    auth.StaticCredential(r.Host(), auth.Credential{Username: "bob", Password: "b"}),
		"nobody": auth.Anonymous,
	} {
		c := fixtures.Client(t, r, credentials, nil)
		if _, err := c.Resolve(t.Context(), "team/app", "v1"); err != nil {
			t.Errorf("%s pulls: %v", name, err)
		}
		meter.Reset()
		_, err := c.PutManifest(t.Context(), "team/app", "v2", desc.MediaType, manifest)
		if !errors.Is(err, registry.ErrDenied) || errors.Is(err, registry.ErrUnauthorized) {
			t.Errorf("%s pushes: %v", name, err)
		}
		if got, want := meter.Requests(), []string{"GET /token", "PUT /v2/team/app/manifests/v2"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A token that was enough before, and is not any more, is replaced; what a registry asks
// for beyond what the path says is asked for, too.
func TestScopesOfAChallenge(t *testing.T) {
	for name, test := range map[string]struct {
		challenge string
		want      []string // scopes of the tokens fetched because of it
	}{
		"not enough any more": {`error="insufficient_scope",scope="repository:team/app:pull"`, []string{"repository:team/app:pull"}},
		"more than the path says": {`scope="repository:team/base:pull registry:special:read"`,
			[]string{"registry:special:read repository:team/app:pull repository:team/base:pull"}},
	} {
		t.Run(name, func(t *testing.T) {
			var f fixtures.Trap
			r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Token, Wrap: f.Wrap})
			fixtures.EmptyIndex(t, fixtures.Client(t, r, fixtures.Alice(r), nil), "team/app", "v1")
			c := fixtures.Client(t, r, fixtures.Alice(r), nil)
			resolve := func() error { _, err := c.Resolve(t.Context(), "team/app", "v1"); return err }
			if err := resolve(); err != nil {
				t.Fatal(err)
			}
			before := len(r.Tokens.Requests())
			f.Set("HEAD", "/manifests/", 1, fixtures.Status(401, "WWW-Authenticate",
				fmt.Sprintf("Bearer realm=%q,service=%q,%s", r.URL()+registrytest.TokenPath, registrytest.TokenService, test.challenge)))
			if err := resolve(); err != nil {
				t.Error(err)
			}
			wantScopes(t, r, before, test.want)
		})
	}
}

// A client of a proxy that has our credential cannot have scopes of its choice asked for.
func TestScopesCannotBeInjected(t *testing.T) {
	r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Token})
	transport := auth.NewTransport(nil, &auth.Options{Credentials: fixtures.Alice(r)})
	t.Cleanup(transport.CloseIdleConnections)
	for _, from := range []string{"b:pull+repository:c", "b:*", "b%20c", "../b", ""} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL()+"/v2/a/blobs/uploads/?mount=sha256:x&from="+from, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for _, request := range r.Tokens.Requests() {
		if !slices.Equal(request.Scopes, []string{"repository:a:pull,push"}) && !slices.Equal(request.Scopes, []string{"repository:b:pull", "repository:a:pull,push"}) {
			t.Errorf("%q", request.Scopes)
		}
	}
}

func TestWrongCredentials(t *testing.T) {
	for _, kind := range []registrytest.Auth{registrytest.Htpasswd, registrytest.Token} {
		var meter registrytest.Meter
		r := registrytest.Start(t, &registrytest.Options{Auth: kind, Wrap: meter.Wrap})
		c := fixtures.Client(t, r, auth.StaticCredential(r.URL(), auth.Credential{Username: registrytest.Username, Password: "swordfish"}), nil)
		err := c.Ping(t.Context())
		if !errors.Is(err, registry.ErrUnauthorized) {
			t.Errorf("%s: %v", kind, err)
		}
		if strings.Contains(fmt.Sprint(err), "swordfish") {
			t.Errorf("%s: a secret in %v", kind, err)
		}
		if got := meter.Requests(); len(got) != 2 {
			t.Errorf("%s: %q: a wrong password was repeated", kind, got)
		}
	}
}

// Credentials that change are asked for anew when the old ones are refused.
func TestCredentialsThatChange(t *testing.T) {
	r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Htpasswd})
	asked := 0
	c := fixtures.Client(t, r, func(context.Context, string) (auth.Credential, error) {
		if asked++; asked == 1 {
			return auth.Credential{Username: registrytest.Username, Password: "old"}, nil
		}
		return auth.Credential{Username: registrytest.Username, Password: registrytest.Password}, nil
	}, nil)
	for range 3 {
		if err := c.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

func TestRefreshTokens(t *testing.T) {
	for _, test := range []struct {
		name  string
		oauth bool
		want  []string
	}{
		{"by POST", true, []string{"POST alice"}},
		{"by GET where there is no POST", false, []string{"GET alice"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Token, Tokens: registrytest.TokenOptions{OAuth: test.oauth}})
			c := fixtures.Client(t, r, auth.StaticCredential(r.URL(), auth.Credential{
				Username: registrytest.Username, RefreshToken: r.Tokens.RefreshToken(registrytest.Username),
			}), nil)
			if err := c.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			var got []string
			for _, request := range r.Tokens.Requests() {
				got = append(got, request.Method+" "+request.User)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// Tokens are fetched again shortly before they expire, and never used after.
func TestTokensExpire(t *testing.T) {
	var meter registrytest.Meter
	server := fakeTokenRegistry(t, &meter, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"access_token":"t","expires_in":60,"issued_at":%q}`, time.Now().Add(-54*time.Second).UTC().Format(time.RFC3339))
	})
	c, err := registry.NewClient(server.URL, &registry.ClientOptions{Transport: auth.NewTransport(nil, nil)})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if meter.Count("GET /token") > 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a token of a second is used after a minute")
		}
	}
	if tokens, pings := meter.Count("GET /token"), meter.Count("GET /v2/"); tokens != 2 || pings < 3 {
		t.Errorf("%d tokens for %d requests", tokens, pings)
	}
}

// fakeTokenRegistry wants the token "t" and lets answer issue it.
func fakeTokenRegistry(t testing.TB, meter *registrytest.Meter, answer http.HandlerFunc) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/token", answer)
	mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer t" {
			return
		}
		w.Header().Add("WWW-Authenticate", `Basic realm="for others"`)
		w.Header().Add("WWW-Authenticate", `bearer service=x , realm=../token?own=1`) // relative, and not quoted
		w.WriteHeader(http.StatusUnauthorized)
	})
	server := httptest.NewServer(meter.Wrap(mux))
	t.Cleanup(server.Close)
	return server
}

func TestTokenAnswers(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		ok     bool
	}{
		{"token", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"token":"t"}`) }, true},
		{"access_token", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"access_token":"t"}`) }, true},
		{"the realm's own query is kept", func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("own") == "1" && r.FormValue("service") == "x" {
				fmt.Fprint(w, `{"token":"t"}`)
			}
		}, true},
		{"none", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{}`) }, false},
		{"not JSON", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `<html>`) }, false},
		{"without end", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"token":"t","junk":"`)
			if n, _ := io.Copy(w, io.LimitReader(endless{}, 256<<20)); n == 256<<20 {
				t.Error("256 MiB were read for a token")
			}
		}, false},
		{"a redirect, which could take the password along", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				fmt.Fprint(w, `{"token":"t"}`)
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, false},
		{"an error", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := fakeTokenRegistry(t, &registrytest.Meter{}, test.answer)
			c, err := registry.NewClient(server.URL, &registry.ClientOptions{Transport: auth.NewTransport(nil, nil)})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Ping(t.Context()); (err == nil) != test.ok {
				t.Error(err)
			}
		})
	}
}

// A token server at an internal address that is not the registry's is not asked, unless
// its host is allowed.
func TestInternalTokenServers(t *testing.T) {
	asked := 0
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			asked++
			fmt.Fprint(w, `{"token":"t"}`)
		case r.Header.Get("Authorization") != "Bearer t":
			_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://localhost:%s/token"`, port))
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	for _, test := range []struct {
		allowed []string
		want    error
		asked   int
	}{
		{nil, registry.ErrRefused, 0},
		{[]string{"localhost"}, nil, 1},
	} {
		transport := auth.NewTransport(nil, &auth.Options{
			TokenHosts: test.allowed,
			LookupHost: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			},
		})
		c, err := registry.NewClient(server.URL, &registry.ClientOptions{Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		asked = 0
		if err := c.Ping(t.Context()); !errors.Is(err, test.want) || asked != test.asked {
			t.Errorf("%q allowed: %v, asked %d times", test.allowed, err, asked)
		}
		c.CloseIdleConnections()
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// WWW-Authenticate on anything but 401 says nothing: zot sends it with 200, too.
func TestChallengesWithoutNeed(t *testing.T) {
	var authorized atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			authorized.Add(1)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		_ = json.NewEncoder(w).Encode(map[string][]string{"tags": {"v1"}})
	}))
	t.Cleanup(server.Close)
	c, err := registry.NewClient(server.URL, &registry.ClientOptions{Transport: auth.NewTransport(nil, &auth.Options{
		Credentials: auth.StaticCredential(server.URL, auth.Credential{Username: "u", Password: "p"}),
	})})
	if err != nil {
		t.Fatal(err)
	}
	if got := fixtures.Collect(t, c.Tags(t.Context(), "a", nil)); !slices.Equal(got, []string{"v1"}) {
		t.Errorf("tags %q", got)
	}
	if authorized.Load() != 0 {
		t.Error("a password was sent that nobody wanted")
	}
}

// A credential that a token server refuses is asked for again, as one that the registry
// itself refuses is: the next request finds one that was healed meanwhile.
func TestACredentialThatATokenServerRefusesIsAskedForAgain(t *testing.T) {
	r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Token})
	c := auth.Credential{Username: registrytest.Username, Password: "wrong"}
	client := fixtures.Client(t, r, func(context.Context, string) (auth.Credential, error) { return c, nil }, nil)
	if _, err := client.Resolve(t.Context(), "team/app", "1.0"); !errors.Is(err, registry.ErrUnauthorized) {
		t.Fatalf("with a wrong password: %v", err)
	}
	c.Password = registrytest.Password
	if _, err := client.Resolve(t.Context(), "team/app", "1.0"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("with the right one: %v", err)
	}
}
