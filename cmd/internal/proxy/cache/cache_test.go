package cache_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/notifications/observer"
	"github.com/regcast/regcast/sinks"
)

const manifest = `{"schemaVersion":2}`

func digestOf(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

// A backend answers as a registry does and counts.
type backend struct {
	asked  atomic.Int64
	change func(http.Header) // of what it answers
	body   string
	status int
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.asked.Add(1)
	body := b.body
	h := w.Header()
	switch {
	case r.Method != "GET" && r.Method != "HEAD":
		w.WriteHeader(http.StatusAccepted)
		return
	case strings.HasSuffix(r.URL.Path, "/tags/list"):
		if body == "" {
			body = `{"name":"team/app","tags":["v1"]}`
		}
		h["Content-Type"] = nil
		h.Set("Link", `</v2/team/app/tags/list?last=v1>; rel="next"`)
	default:
		if body == "" {
			body = manifest
		}
		h.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		h.Set("Docker-Content-Digest", digestOf(manifest))
		h.Set("Etag", `"`+digestOf(manifest)+`"`)
	}
	h.Set("Set-Cookie", "who=me")
	h.Set("X-Cache", "upstream")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if b.change != nil {
		b.change(h)
	}
	w.WriteHeader(max(b.status, 200))
	if r.Method == "GET" {
		_, _ = io.WriteString(w, body)
	}
}

const (
	tags   = "/v2/team/app/tags/list"
	byTag  = "/v2/team/app/manifests/v1"
	authAs = "Authorization"
)

func ask(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	h.ServeHTTP(w, r)
	return w
}

// What was answered is answered again, and with what.
func TestHit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		c := cache.New(b, cache.NewMemory(time.Hour, 0), nil)
		for _, target := range []string{tags, byTag, "/v2/team/app/manifests/" + digestOf(manifest)} {
			b.asked.Store(0)
			first := ask(c, "GET", target, authAs, "Basic eDp5")
			time.Sleep(7 * time.Second)
			again := ask(c, "GET", target, authAs, "Basic eDp5")
			head := ask(c, "HEAD", target, authAs, "Basic eDp5")
			if n := b.asked.Load(); n != 1 {
				t.Fatalf("%s: the registry was asked %d times", target, n)
			}
			if first.Body.String() != again.Body.String() || again.Code != 200 || head.Body.Len() != 0 {
				t.Errorf("%s: %q, then %d %q, then %q", target, first.Body, again.Code, again.Body, head.Body)
			}
			for _, w := range []*httptest.ResponseRecorder{again, head} {
				h := w.Header()
				if h.Get("X-Cache") != "HIT" || h.Get("Age") != "7" || h.Get("Set-Cookie") != "" || h.Get("Docker-Distribution-API-Version") != "registry/2.0" ||
					h.Get("Content-Length") != strconv.Itoa(again.Body.Len()) || h.Get("Content-Type") == "" || h.Get("Link") != first.Header().Get("Link") ||
					h.Get("Docker-Content-Digest") != first.Header().Get("Docker-Content-Digest") || h.Get("Etag") != first.Header().Get("Etag") {
					t.Errorf("%s: %v", target, h)
				}
			}
			if h := first.Header(); len(h["X-Cache"]) != 1 || h.Get("X-Cache") != "MISS" || h.Get("Set-Cookie") == "" || h.Get("Age") != "" {
				t.Errorf("%s, first: %v", target, h)
			}
			time.Sleep(time.Minute)
			ask(c, "GET", target, authAs, "Basic eDp5")
			if n := b.asked.Load(); n != 2 {
				t.Errorf("%s: after a minute, the registry was asked %d times", target, n)
			}
		}
	})
}

// Each of a pair of requests has an answer of its own, or not.
func TestWhatIsOneQuestion(t *testing.T) {
	const alice, bob = "Basic YWxpY2U6cA==", "Basic Ym9iOnA="
	type request struct {
		method, target string
		header         []string
	}
	as := func(who, target string, more ...string) request {
		return request{"GET", target, append([]string{authAs, who}, more...)}
	}
	by := func(method, target string, header ...string) request { return request{method, target, header} }
	glob, err := sinks.ParseGlob("team/**")
	if err != nil {
		t.Fatal(err)
	}
	identity, anonymous, public := cache.Options{}, cache.Options{Anonymous: true}, cache.Options{Anonymous: true, Public: []sinks.Glob{glob}}
	for _, test := range []struct {
		name          string
		opts          cache.Options
		first, second request
		hit           bool
	}{
		{"the same", identity, as(alice, byTag), as(alice, byTag), true},
		{"another", identity, as(alice, byTag), as(bob, byTag), false},
		{"another in name only", identity, as(alice, byTag), as("basic YWxpY2U6cA==", byTag), false},
		{"nobody", identity, by("GET", byTag), by("GET", byTag), false},
		{"nobody, shared", anonymous, by("GET", byTag), by("GET", byTag), true},
		{"nobody after somebody", anonymous, as(alice, byTag), by("GET", byTag), false},
		{"somebody after nobody", anonymous, by("GET", byTag), as(alice, byTag), false},
		{"somebody by another header", anonymous, by("GET", byTag, "X-Jfrog-Art-Api", "secret"), by("GET", byTag), false},
		{"somebody by another header, again", anonymous, by("GET", byTag, "X-Jfrog-Art-Api", "secret"), by("GET", byTag, "X-Jfrog-Art-Api", "secret"), false},
		{"somebody by another header, too", identity, as(alice, byTag, "X-Jfrog-Art-Api", "secret"), as(alice, byTag), false},
		{"a user that a proxy in front tells", anonymous, by("GET", byTag, "X-Forwarded-User", "alice"), by("GET", byTag, "X-Forwarded-User", "bob"), false},
		{"a user that a proxy in front tells, and nobody", anonymous, by("GET", byTag, "X-Forwarded-User", "alice"), by("GET", byTag), false},
		{"a user that a proxy in front tells, too", identity, as(alice, byTag, "X-Forwarded-User", "alice"), as(alice, byTag, "X-Forwarded-User", "bob"), false},
		{"groups that a proxy in front tells", identity, as(alice, byTag, "X-Forwarded-Groups", "a"), as(alice, byTag, "X-Forwarded-Groups", "b"), false},
		{"a token that a proxy in front tells", identity, as(alice, byTag, "X-Forwarded-Access-Token", "a"), as(alice, byTag, "X-Forwarded-Access-Token", "b"), false},
		{"a certificate that a proxy in front tells", identity, as(alice, byTag, "X-Forwarded-Client-Cert", "a"), as(alice, byTag, "X-Forwarded-Client-Cert", "b"), false},
		{"from another address", identity, as(alice, byTag, "X-Forwarded-For", "10.0.0.1"), as(alice, byTag, "X-Forwarded-For", "10.0.0.2"), true},
		{"nobody, from another address", anonymous, by("GET", byTag, "X-Forwarded-For", "10.0.0.1"), by("GET", byTag, "X-Forwarded-Server", "b"), true},
		{"somebody by a cookie", identity, as(alice, byTag, "Cookie", "a=b"), as(alice, byTag, "Cookie", "a=b"), false},
		{"public", public, as(alice, byTag), by("GET", byTag), true},
		{"public, of nobody", public, by("GET", byTag), as(bob, byTag), true},
		{"public here, in another registry", public, as(alice, byTag+"?ns=private.example"), by("GET", byTag+"?ns=private.example"), false},
		{"public here, in another registry, the other way to spell it", public, as(alice, byTag+"?n=1&n%73=private.example"), by("GET", byTag+"?n=1&ns=private.example"), false},
		{"not public", public, as(alice, "/v2/other/manifests/v1"), as(bob, "/v2/other/manifests/v1"), false},
		{"another agent", identity, as(alice, byTag, "User-Agent", "a"), as(alice, byTag, "User-Agent", "b"), true},
		{"another tag", identity, as(alice, byTag), as(alice, "/v2/team/app/manifests/v2"), false},
		{"another repository", identity, as(alice, byTag), as(alice, "/v2/team/other/manifests/v1"), false},
		{"another host", identity, as(alice, "http://a.example"+byTag), as(alice, "http://b.example"+byTag), false},
		{"another type", identity, as(alice, byTag, "Accept", "a/b"), as(alice, byTag, "Accept", "a/c"), false},
		{"types in another order", identity, as(alice, byTag, "Accept", "a/b, a/c"), as(alice, byTag, "Accept", "a/c, a/b"), false},
		{"types spelled in another way", identity, as(alice, byTag, "Accept", "a/b", "Accept", "A/c"), as(alice, byTag, "Accept", "a/b,, a/c"), true},
		{"another page", identity, as(alice, tags+"?n=1"), as(alice, tags+"?n=2"), false},
		{"a page spelled in another way", identity, as(alice, tags+"?n=1&last=a"), as(alice, tags+"?last=%61&n=1"), true},
		{"another name space", identity, as(alice, byTag+"?ns=a"), as(alice, byTag+"?ns=b"), false},
		{"a query that is read in two ways", identity, as(alice, tags+"?n=1&n=2"), as(alice, tags+"?n=1&n=2"), false},
		{"a query that is none", identity, as(alice, tags+"?n=1;2"), as(alice, tags+"?n=1;2"), false},
		{"an escaped path", identity, as(alice, "/v2/team%2Fapp/tags/list"), as(alice, "/v2/team%2Fapp/tags/list"), false},
		{"a range", identity, as(alice, byTag, "Range", "bytes=0-1"), as(alice, byTag, "Range", "bytes=0-1"), false},
		{"a fresh one is wanted", identity, as(alice, byTag), as(alice, byTag, "Cache-Control", "no-cache"), false},
		{"a fresh one is kept", identity, as(alice, byTag, "Pragma", "no-cache"), as(alice, byTag), true},
		{"none may be kept", identity, as(alice, byTag, "Cache-Control", "no-store"), as(alice, byTag), false},
		{"HEAD after GET", anonymous, by("GET", byTag), by("HEAD", byTag), true},
		{"HEAD after HEAD", anonymous, by("HEAD", byTag), by("HEAD", byTag), true},
		{"GET after HEAD", anonymous, by("HEAD", byTag), by("GET", byTag), false},
		{"HEAD of a blob", anonymous, by("HEAD", "/v2/a/blobs/"+digestOf(manifest)), by("HEAD", "/v2/a/blobs/"+digestOf(manifest)), true},
		{"a blob", anonymous, by("GET", "/v2/a/blobs/"+digestOf(manifest)), by("GET", "/v2/a/blobs/"+digestOf(manifest)), false},
		{"HEAD of a blob after GET", anonymous, by("GET", "/v2/a/blobs/"+digestOf(manifest)), by("HEAD", "/v2/a/blobs/"+digestOf(manifest)), false},
		{"the base", anonymous, by("GET", "/v2/"), by("GET", "/v2/"), false},
		{"the catalog", anonymous, by("GET", "/v2/_catalog"), by("GET", "/v2/_catalog"), false},
	} {
		b := &backend{}
		c := cache.New(b, cache.NewMemory(time.Minute, 0), &test.opts)
		ask(c, test.first.method, test.first.target, test.first.header...)
		w := ask(c, test.second.method, test.second.target, test.second.header...)
		if hit := b.asked.Load() == 1; hit != test.hit || hit != (w.Header().Get("X-Cache") == "HIT") {
			t.Errorf("%s: asked %d times, X-Cache %q", test.name, b.asked.Load(), w.Header()["X-Cache"])
		}
	}
}

// What is not whole, not what it should be, or not for all times is not kept.
func TestWhatIsNotKept(t *testing.T) {
	set := func(name, value string) func(http.Header) {
		return func(h http.Header) { h.Set(name, value) }
	}
	for _, test := range []struct {
		name    string
		backend *backend
		target  string
		reason  string
	}{
		{"404", &backend{status: 404}, byTag, ""},
		{"401", &backend{status: 401}, byTag, ""},
		{"500", &backend{status: 500}, byTag, ""},
		{"302", &backend{status: 302}, byTag, ""},
		{"206", &backend{status: 206}, byTag, ""},
		{"a wrong digest", &backend{change: set("Docker-Content-Digest", digestOf("other"))}, byTag, "unverified"},
		{"a malformed digest", &backend{change: set("Docker-Content-Digest", "sha256:x")}, byTag, "unverified"},
		{"no digest", &backend{change: func(h http.Header) { h.Del("Docker-Content-Digest") }}, byTag, "unverified"},
		{"another body", &backend{body: "{}"}, byTag, "unverified"},
		{"another digest than asked for", &backend{}, "/v2/team/app/manifests/" + digestOf("other"), "unverified"},
		{"a wrong length", &backend{change: set("Content-Length", "3")}, byTag, "unverified"},
		{"no type", &backend{change: func(h http.Header) { h["Content-Type"] = nil }}, byTag, "unverified"},
		{"no list of tags", &backend{body: "<html>"}, tags, "unverified"},
		{"an error that looks like success", &backend{body: `{"errors":[{"code":"UNKNOWN"}]}`}, tags, "unverified"},
		{"nothing", &backend{body: "null"}, tags, "unverified"},
		{"half a list of tags", &backend{body: `{"tags":["v1"`}, tags, "unverified"},
		{"a large list of tags", &backend{body: `{"tags":["` + strings.Repeat("x", 4<<20) + `"]}`}, tags, "size"},
		{"Cache-Control", &backend{change: set("Cache-Control", "max-age=3, No-Store")}, byTag, "forbidden"},
		{"Vary", &backend{change: set("Vary", "Accept, X-Tenant")}, byTag, "forbidden"},
		{"packed", &backend{change: set("Content-Encoding", "gzip")}, byTag, "forbidden"},
	} {
		metrics := prometheus.NewPedanticRegistry()
		c := cache.New(test.backend, cache.NewMemory(time.Minute, 0), &cache.Options{Anonymous: true, Registerer: metrics})
		first, second := ask(c, "GET", test.target), ask(c, "GET", test.target)
		if n := test.backend.asked.Load(); n != 2 {
			t.Errorf("%s: the registry was asked %d times", test.name, n)
		}
		if first.Code != second.Code || first.Body.String() != second.Body.String() || first.Code != max(test.backend.status, 200) || first.Body.Len() == 0 {
			t.Errorf("%s: %d %d, %d and %d bytes", test.name, first.Code, second.Code, first.Body.Len(), second.Body.Len())
		}
		if got := sum(t, metrics, "regcast_proxy_cache_unkept_total", test.reason); test.reason != "" && got != 2 {
			t.Errorf("%s: counted %v", test.name, got)
		}
	}
}

// distribution has null for no tags.
func TestEmptyListsOfTags(t *testing.T) {
	for _, body := range []string{`{"name":"team/app","tags":null}`, `{"name":"team/app","tags":[]}`} {
		b := &backend{body: body}
		c := cache.New(b, cache.NewMemory(time.Minute, 0), &cache.Options{Anonymous: true})
		for range 2 {
			ask(c, "GET", tags)
		}
		if n := b.asked.Load(); n != 1 {
			t.Errorf("%s: asked %d times", body, n)
		}
	}
}

func sum(t *testing.T, g prometheus.Gatherer, name, value string) (n float64) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if f.GetName() == name && l.GetValue() == value {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

func TestIfNoneMatch(t *testing.T) {
	b := &backend{}
	c := cache.New(b, cache.NewMemory(time.Minute, 0), &cache.Options{Anonymous: true})
	ask(c, "GET", byTag)
	for tag, want := range map[string]int{
		`"` + digestOf(manifest) + `"`: 304, digestOf(manifest): 304, `"x", W/"` + digestOf(manifest) + `"`: 304, "*": 304, `"x"`: 200, "": 200,
	} {
		w := ask(c, "GET", byTag, "If-None-Match", tag)
		if w.Code != want || (w.Body.Len() == 0) != (want == 304) || b.asked.Load() != 1 {
			t.Errorf("%s: %d %q", tag, w.Code, w.Body)
		}
	}
}

// A token that has expired is for the registry to refuse.
func TestTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		c := cache.New(b, cache.NewMemory(time.Hour, 0), &cache.Options{TTL: time.Hour})
		token := "Bearer e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, time.Now().Add(30*time.Second).Unix())) + ".c2ln"
		ask(c, "GET", byTag, authAs, token)
		time.Sleep(29 * time.Second)
		ask(c, "GET", byTag, authAs, token)
		if n := b.asked.Load(); n != 1 {
			t.Errorf("asked %d times while the token was good", n)
		}
		time.Sleep(time.Second)
		ask(c, "GET", byTag, authAs, token)
		if n := b.asked.Load(); n != 2 {
			t.Errorf("asked %d times after that", n)
		}
	})
}

// Who shows credentials has them checked by the registry every minute, however long answers
// are good for: they may be revoked.
func TestCredentialsAreRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, credentials := range []string{"Basic eDp5", "Bearer opaque"} {
			b := &backend{}
			c := cache.New(b, cache.NewMemory(24*time.Hour, 0), &cache.Options{TTL: 24 * time.Hour, Anonymous: true})
			ask(c, "GET", byTag, authAs, credentials)
			ask(c, "GET", byTag)
			b.status = 401
			time.Sleep(59 * time.Second)
			if w := ask(c, "GET", byTag, authAs, credentials); w.Code != 200 {
				t.Errorf("%s: %d before a minute is over", credentials, w.Code)
			}
			time.Sleep(time.Second)
			if w := ask(c, "GET", byTag, authAs, credentials); w.Code != 401 {
				t.Errorf("%s: %d after a minute", credentials, w.Code)
			}
			if w := ask(c, "GET", byTag); w.Code != 200 {
				t.Errorf("%s: %d for who shows none", credentials, w.Code)
			}
		}
	})
}

// A change that has no answer may have been made.
func TestAChangeWithoutAnAnswer(t *testing.T) {
	b := &backend{}
	c := cache.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			panic(http.ErrAbortHandler)
		}
		b.ServeHTTP(w, r)
	}), cache.NewMemory(time.Minute, 0), &cache.Options{Anonymous: true})
	func() {
		defer func() { _ = recover() }()
		ask(c, "PUT", byTag)
	}()
	for range 2 {
		ask(c, "GET", byTag)
	}
	if n := b.asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// Changes, and what they drop.
func TestChanges(t *testing.T) {
	for _, test := range []struct {
		method, target string
		drops          bool
	}{
		{"PUT", "/v2/team/app/manifests/other", true},
		{"DELETE", byTag, true},
		{"DELETE", "/v2/team/app/blobs/" + digestOf("x"), true},
		{"PUT", "/v2/team/other/manifests/v1", false},
		{"POST", "/v2/team/app/blobs/uploads/", false},
		{"PUT", "/v2/team/app/blobs/uploads/1", false},
		{"DELETE", "/v2/team/app/tags/reference/v1", true},
		{"DELETE", "/v2/team/app", false},
	} {
		b := &backend{}
		c := cache.New(b, cache.NewMemory(time.Minute, 0), &cache.Options{
			Anonymous: true, Extra: []func(*http.Request) (observer.Deletion, bool){observer.GitLabRoutes},
		})
		ask(c, "GET", tags)
		if w := ask(c, test.method, test.target); w.Code != http.StatusAccepted || w.Header().Get("X-Cache") != "" {
			t.Errorf("%s %s: %d %v", test.method, test.target, w.Code, w.Header())
		}
		ask(c, "GET", tags)
		if dropped := b.asked.Load() == 3; dropped != test.drops {
			t.Errorf("%s %s: asked %d times", test.method, test.target, b.asked.Load())
		}
	}
	b := &backend{}
	c := cache.New(b, cache.NewMemory(time.Minute, 0), &cache.Options{Anonymous: true})
	ask(c, "GET", tags)
	c.Invalidate(t.Context(), "")
	ask(c, "GET", tags)
	if b.asked.Load() != 1 {
		t.Error("what has no name drops everything")
	}
	c.Invalidate(t.Context(), "team/app")
	ask(c, "GET", tags)
	if b.asked.Load() != 2 {
		t.Error("an event from elsewhere drops nothing")
	}
	c.InvalidateAll(t.Context())
	ask(c, "GET", tags)
	if b.asked.Load() != 3 {
		t.Error("everything drops nothing")
	}
}

// An answer that was on its way when a change came is not kept.
func TestAnAnswerOlderThanAChange(t *testing.T) {
	for _, order := range []string{"before it", "during it"} {
		asked, release := make(chan struct{}), make(chan struct{})
		changing, change := make(chan struct{}), make(chan struct{})
		b := &backend{}
		hold := atomic.Bool{}
		hold.Store(true)
		c := cache.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "DELETE" {
				close(changing)
				<-change
			} else if hold.Swap(false) {
				close(asked)
				<-release
			}
			b.ServeHTTP(w, r)
		}), cache.NewMemory(time.Minute, 0), &cache.Options{Anonymous: true})
		var wait sync.WaitGroup
		read := func() { ask(c, "GET", byTag) }
		write := func() { ask(c, "DELETE", byTag) }
		if order == "before it" {
			wait.Go(read)
			<-asked
			wait.Go(write)
			<-changing
		} else {
			wait.Go(write)
			<-changing
			wait.Go(read)
			<-asked
		}
		close(change)
		for b.asked.Load() == 0 {
			<-time.After(time.Millisecond)
		}
		<-time.After(10 * time.Millisecond) // the change is acknowledged
		close(release)
		wait.Wait()
		before := b.asked.Load()
		ask(c, "GET", byTag)
		if b.asked.Load() != before+1 {
			t.Errorf("begun %s: the old answer was kept", order)
		}
	}
}

// Once a change is on its way, nothing from before it is given; and who asks after it was
// acknowledged does not wait for an answer to who asked before.
func TestAroundAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changing, reading := make(chan struct{}), make(chan struct{})
		var slow atomic.Bool
		b := &backend{}
		c := cache.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "DELETE" {
				<-changing
			} else if slow.Swap(false) {
				<-reading
			}
			b.ServeHTTP(w, r)
		}), cache.NewMemory(time.Minute, 0), &cache.Options{Anonymous: true})
		ask(c, "GET", byTag)
		var wait sync.WaitGroup
		wait.Go(func() { ask(c, "DELETE", byTag) })
		synctest.Wait()
		if w := ask(c, "GET", byTag); w.Header().Get("X-Cache") != "MISS" {
			t.Errorf("while a change is on its way: %v", w.Header())
		}

		slow.Store(true)
		wait.Go(func() { ask(c, "GET", tags) })
		synctest.Wait()
		close(changing)
		synctest.Wait()
		done := make(chan string, 1)
		wait.Go(func() { done <- ask(c, "GET", tags).Header().Get("X-Cache") })
		synctest.Wait()
		select {
		case got := <-done:
			if got != "MISS" {
				t.Errorf("after a change: %s", got)
			}
		default:
			t.Error("who asks after a change waits for who asked before")
		}
		close(reading)
		wait.Wait()
	})
}

// A store that hangs or fails makes nobody wait for long, and nothing stale is given once
// it works again.
func TestAStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &failing{Store: cache.NewMemory(time.Hour, 0)}
		b := &backend{}
		metrics := prometheus.NewPedanticRegistry()
		c := cache.New(b, s, &cache.Options{Anonymous: true, TTL: time.Hour, Registerer: metrics})
		get := func(want string) {
			t.Helper()
			if w := ask(c, "GET", byTag); w.Code != 200 || w.Body.String() != manifest || w.Header().Get("X-Cache") != want && want != "" {
				t.Errorf("%d %q %v, want %s", w.Code, w.Body, w.Header(), want)
			}
		}
		get("MISS")
		get("HIT")
		s.err = errors.New("away")
		if w := ask(c, "DELETE", byTag); w.Code != 202 {
			t.Errorf("a change: %d", w.Code)
		}
		before := s.calls
		for range 10 {
			get("upstream")
		}
		if s.calls != before {
			t.Errorf("it was asked %d times while it was known to be away", s.calls-before)
		}
		time.Sleep(2 * time.Second)
		get("upstream") // tried again, away still
		s.err = nil
		get("upstream")
		time.Sleep(2 * time.Second)
		asked := b.asked.Load()
		get("MISS") // what it kept is from before the change
		if b.asked.Load() != asked+1 {
			t.Error("the registry was not asked")
		}
		get("HIT")
		if n := sum(t, metrics, "regcast_proxy_cache_errors_total", "bump"); n < 2 {
			t.Errorf("counted %v errors", n)
		}
		if n := sum(t, metrics, "regcast_proxy_cache_requests_total", "bypass"); n != 12 {
			t.Errorf("counted %v requests that bypassed it", n)
		}

		// A change with an outcome that nobody knows may be made any time.
		c2 := cache.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "PUT" {
				w.WriteHeader(http.StatusGatewayTimeout)
				return
			}
			b.ServeHTTP(w, r)
		}), s, &cache.Options{Anonymous: true, TTL: time.Hour})
		ask(c2, "PUT", byTag)
		for _, want := range []string{"upstream", "upstream", "MISS", "HIT"} {
			if w := ask(c2, "GET", byTag); w.Header().Get("X-Cache") != want {
				t.Errorf("after a change that may still be made: %v, want %s", w.Header(), want)
			}
			if want == "upstream" {
				time.Sleep(31 * time.Second)
			}
		}
	})
}

// A store that could not be told that everything has changed, or of more changes than are
// remembered, is told when it works again, and believed no sooner.
func TestAStoreThatMissesEverything(t *testing.T) {
	for what, change := range map[string]func(*cache.Cache){
		"everything": func(c *cache.Cache) { c.InvalidateAll(t.Context()) },
		"too many": func(c *cache.Cache) {
			for i := range 10_000 {
				c.Invalidate(t.Context(), fmt.Sprint("other/", i))
			}
			c.Invalidate(t.Context(), strings.Split(byTag, "/manifests/")[0][len("/v2/"):])
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &failing{Store: cache.NewMemory(time.Hour, 0)}
				c := cache.New(&backend{}, s, &cache.Options{Anonymous: true, TTL: time.Hour})
				ask(c, "GET", byTag)
				s.err = errors.New("away")
				change(c)
				s.err = nil
				time.Sleep(2 * time.Second) // it is left alone for a while
				var got []string
				for range 1000 { // requests are what it is told by, of some at a time
					w := ask(c, "GET", byTag)
					got = append(got, w.Header().Get("X-Cache"))
				}
				first := slices.IndexFunc(got, func(from string) bool { return from != "upstream" })
				if first < 0 || got[first] != "MISS" || got[len(got)-1] != "HIT" {
					t.Errorf("answers are from %q at first, and %q at last, want MISS and then HIT", got[max(first, 0)], got[len(got)-1])
				}
			})
		})
	}
}

// failing is a store that fails if it is told to.
type failing struct {
	cache.Store
	err   error
	calls int
}

func (f *failing) Get(ctx context.Context, repository string, keys ...string) (cache.Generation, []byte, error) {
	f.calls++
	if f.err != nil {
		return "", nil, f.err
	}
	return f.Store.Get(ctx, repository, keys...)
}

func (f *failing) Bump(ctx context.Context, repository string) error {
	f.calls++
	if f.err != nil {
		return f.err
	}
	return f.Store.Bump(ctx, repository)
}

// Of many clients with one question one asks.
func TestStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := &backend{}
		c := cache.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-release
			b.ServeHTTP(w, r)
		}), cache.NewMemory(time.Minute, 0), &cache.Options{Anonymous: true})
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				if w := ask(c, "GET", byTag); w.Body.String() != manifest {
					t.Errorf("%d %q", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		close(release)
		wait.Wait()
		if n := b.asked.Load(); n != 1 {
			t.Errorf("the registry was asked %d times", n)
		}
		b.status = 404
		release = make(chan struct{})
		for range 50 {
			wait.Go(func() {
				if w := ask(c, "GET", tags); w.Code != 404 {
					t.Errorf("%d %q", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		close(release)
		wait.Wait()
	})
}

// What the client of a broken answer sees, and that nobody waits for it.
func TestAnAnswerThatBreaksOff(t *testing.T) {
	b := 0
	c := cache.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b++
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "short")
		panic(http.ErrAbortHandler)
	}), cache.NewMemory(time.Minute, 0), &cache.Options{Anonymous: true})
	for range 2 {
		w := httptest.NewRecorder()
		func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler {
					t.Errorf("panic %v", p)
				}
			}()
			c.ServeHTTP(w, httptest.NewRequest("GET", byTag, nil))
		}()
		if w.Body.String() != "short" {
			t.Errorf("%d %q", w.Code, w.Body)
		}
	}
	if b != 2 {
		t.Errorf("asked %d times", b)
	}
}

func ExampleNew() {
	registry := &backend{}
	c := cache.New(registry, cache.NewMemory(time.Minute, 0), &cache.Options{Anonymous: true})
	for range 3 {
		w := ask(c, "GET", "/v2/team/app/tags/list")
		fmt.Println(w.Header().Get("X-Cache"), w.Body)
	}
	// Output:
	// MISS {"name":"team/app","tags":["v1"]}
	// HIT {"name":"team/app","tags":["v1"]}
	// HIT {"name":"team/app","tags":["v1"]}
}
