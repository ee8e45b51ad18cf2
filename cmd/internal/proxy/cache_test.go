package proxy_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/cmd/internal/proxy/proxytest"
	"github.com/regcast/regcast/notifications/observer/cache/redis/redistest"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// quietly keeps go-redis from telling of every connection that it cannot make.
type quietly struct{}

func (quietly) Printf(context.Context, string, ...any) {}

// shared returns a store of its own client on a Redis that has this long to answer, 0 for
// as long as usual.
func shared(t *testing.T, s *redistest.Server, upstream string, timeout time.Duration) cache.Store {
	t.Helper()
	opts, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opts.ContextTimeoutEnabled = true
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout = timeout, timeout, timeout
	c := redis.NewClient(opts)
	t.Cleanup(func() { c.Close() })
	store, err := cache.NewRedis(c, &cache.RedisOptions{Space: upstream, TTL: time.Minute, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// knownOnly lets alice and bob in, faster than htpasswd does, and takes its time for
// changes, before they are made and after.
func knownOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); user != "alice" && user != "bob" {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		pause := func() {
			if r.Method == "PUT" || r.Method == "DELETE" {
				<-time.After(time.Duration(rand.IntN(5)) * time.Millisecond)
			}
		}
		pause()
		next.ServeHTTP(w, r)
		pause()
	})
}

// A GET that begins after a change was acknowledged never sees what was before it,
// whoever asks whichever proxy, and be the Redis that they share killed and started.
func TestNobodySeesTheStateBefore(t *testing.T) {
	t.Run("in memory", func(t *testing.T) {
		registry := registrytest.Start(t, &registrytest.Options{Wrap: knownOnly})
		storm(t, nil, start(t, registry.URL(), func(o *proxy.Options) { o.Cache = cache.NewMemory(time.Minute, 0) }))
	})
	for _, faults := range []bool{false, true} {
		t.Run(fmt.Sprintf("two proxies with one Redis, faults %v", faults), func(t *testing.T) {
			registry := registrytest.Start(t, &registrytest.Options{Wrap: knownOnly})
			server := redistest.Start(t)
			timeout := time.Duration(0)
			if !faults {
				timeout = patience // a busy machine is none
			}
			var rigs []*rig
			for range 2 {
				rigs = append(rigs, start(t, registry.URL(), func(o *proxy.Options) { o.Cache = shared(t, server, registry.URL(), timeout) }))
			}
			if !faults {
				server = nil
			}
			storm(t, server, rigs...)
		})
	}
}

// storm writes and reads through all of the proxies and kills a Redis meanwhile, if there
// is one.
func storm(t *testing.T, server *redistest.Server, rigs ...*rig) {
	t.Helper()
	var fronts []*proxytest.Front
	for _, r := range rigs {
		f := new(proxytest.Front)
		f.Begin(t, r.url)
		fronts = append(fronts, f)
	}
	s := proxytest.Start(t, []string{basic("alice", "a"), basic("bob", "b")}, fronts...)
	if server != nil {
		for _, fault := range []func(){server.Kill, server.Restart, server.Pause, server.Resume, server.Restart} {
			<-time.After(700 * time.Millisecond)
			fault()
		}
	}
	count := func(result string) (n float64) {
		for _, r := range rigs {
			n += r.metric(t, "regcast_proxy_cache_requests_total", result)
		}
		return n
	}
	enough := func() bool { return count("hit") >= 50 && count("miss") >= 50 && s.Changes() >= 50 }
	eventually(t, "enough to prove something", enough)
	s.Stop()
	t.Logf("%d reads, %d changes, %v hits, %v misses, %v bypassed", s.Reads(), s.Changes(), count("hit"), count("miss"), count("bypass"))
	if (count("bypass") > 0) != (server != nil) {
		t.Error("bypassed without a fault, or not with one")
	}
}

// A cached answer is one of the registry's: it makes an event. What somebody else may not
// read, the cache does not give away.
func TestTheCacheGivesNothingAway(t *testing.T) {
	registry := registrytest.Start(t, &registrytest.Options{
		Auth: registrytest.Token, Users: map[string]string{"bob": "b"},
		Tokens: registrytest.TokenOptions{Grant: func(user, _, name string, actions []string) []string {
			if user == registrytest.Username || user == "bob" && name == "bobs" {
				return actions
			}
			return nil
		}},
	})
	r := start(t, registry.URL(), func(o *proxy.Options) { o.Cache = cache.NewMemory(time.Minute, 0) })
	c := client(t)
	token := func(user, password string) string {
		resp, body := do(t, c, "GET", registry.URL()+registrytest.TokenPath+"?service="+registrytest.TokenService+"&scope=repository:team/app:pull,push", nil,
			"Authorization", basic(user, password))
		var answer struct{ Token string }
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatalf("%s %s", resp.Status, body)
		}
		return "Bearer " + answer.Token
	}
	alice, bob := token(registrytest.Username, registrytest.Password), token("bob", "b")
	resp, _ := do(t, c, "POST", r.url+"/v2/team/app/blobs/uploads/", nil, "Authorization", alice)
	loc, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	do(t, c, "PUT", loc.String()+"&digest="+digestOf([]byte("{}")), []byte("{}"), "Authorization", alice)
	m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},"layers":[]}`,
		manifestType, digestOf([]byte("{}")))
	url := r.url + "/v2/team/app/manifests/v1"
	if resp, body := do(t, c, "PUT", url, []byte(m), "Authorization", alice, "Content-Type", manifestType); resp.StatusCode != 201 {
		t.Fatalf("%s %s", resp.Status, body)
	}
	before := len(r.events.Events())
	for i, want := range []string{"MISS", "HIT", "HIT"} {
		resp, body := do(t, c, "GET", url, nil, "Authorization", alice, "Accept", manifestType)
		if resp.StatusCode != 200 || string(body) != m || resp.Header.Get("X-Cache") != want {
			t.Errorf("alice: %s %v %s", resp.Status, resp.Header, body)
		}
		eventually(t, "an event of a pull", func() bool { return len(r.events.Events()) == before+i+1 })
		e := r.events.Events()[before+i]
		if e.Action != "pull" || e.Tag != "v1" || e.Digest.String() != digestOf([]byte(m)) || e.Actor != registrytest.Username {
			t.Errorf("%+v", e)
		}
	}
	for name, who := range map[string]string{"bob": bob, "nobody": "", "a forged token": alice + "x"} {
		header := []string{"Accept", manifestType}
		if who != "" {
			header = append(header, "Authorization", who)
		}
		if resp, body := do(t, c, "GET", url, nil, header...); resp.StatusCode != 401 || strings.Contains(string(body), "schemaVersion") {
			t.Errorf("%s: %s %s", name, resp.Status, body)
		}
	}
	if n := len(r.events.Events()); n != before+3 {
		t.Errorf("%d events of nothing", n-before-3)
	}
}

// Proxies with one store give each other no answers with addresses that they would have
// rewritten otherwise, or that the registry has given as another of its hosts.
func TestProxiesThatDifferShareNothing(t *testing.T) {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<http://"+r.Host+`/v2/a/tags/list?last=v1>; rel="next"`)
		_, _ = io.WriteString(w, `{"name":"a","tags":["v1"]}`)
	}))
	t.Cleanup(registry.Close)
	host := strings.TrimPrefix(registry.URL, "http://")
	store := cache.NewMemory(time.Minute, 0)
	shares := func(o *proxy.Options) { o.Cache, o.CacheOptions.Anonymous = store, true }
	for _, test := range []struct {
		name   string
		change func(*proxy.Options)
		link   string
		hits   float64
	}{
		{"the first", func(*proxy.Options) {}, "http://registry.example/v2/", 0},
		{"the same", func(*proxy.Options) {}, "http://registry.example/v2/", 1},
		{"relative", func(o *proxy.Options) { o.Location = proxy.Relative }, "/v2/", 0},
		{"another host", func(o *proxy.Options) { o.Location, o.UpstreamHost = proxy.AsIs, true }, "http://" + host + "/v2/", 0},
	} {
		r := start(t, registry.URL, func(o *proxy.Options) { shares(o); test.change(o) })
		req, err := http.NewRequest("GET", r.server.URL+"/v2/a/tags/list", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "registry.example"
		resp, err := client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got, want := resp.Header.Get("Link"), "<"+test.link+`a/tags/list?last=v1>; rel="next"`; got != want {
			t.Errorf("%s: %s, want %s", test.name, got, want)
		}
		if hits := r.metric(t, "regcast_proxy_cache_requests_total", "tags", "hit"); hits != test.hits {
			t.Errorf("%s: %v hits, want %v", test.name, hits, test.hits)
		}
	}
}

// With a cache the traffic is the same, but for what a cache says of itself.
func TestScriptedTrafficIsTheSameWithACache(t *testing.T) {
	registry := registrytest.Start(t, nil)
	direct := &side{host: registry.Host()}
	proxied := &side{host: start(t, registry.URL(), func(o *proxy.Options) {
		o.Cache, o.CacheOptions.Anonymous = cache.NewMemory(time.Minute, 0), true
	}).host}
	for _, st := range slices.Concat(push("team/app", blobText), push("team/app", "{}"), []step{
		{name: "manifest", method: "PUT", target: "/v2/team/app/manifests/v1", body: manifestOf("{}", blobText), header: []string{"Content-Type", manifestType}},
	}) {
		direct.take(t, st)
	}
	dgst := digestOf([]byte(manifestOf("{}", blobText)))
	accepting := []string{"Accept", manifestType}
	for _, st := range []step{
		{name: "tags", method: "GET", target: "/v2/team/app/tags/list"},
		{name: "a page of them", method: "GET", target: "/v2/team/app/tags/list?n=1"},
		{name: "manifest", method: "GET", target: "/v2/team/app/manifests/v1", header: accepting},
		{name: "manifest, head", method: "HEAD", target: "/v2/team/app/manifests/v1", header: accepting},
		{name: "manifest by digest", method: "GET", target: "/v2/team/app/manifests/" + dgst, header: accepting},
		{name: "blob, head", method: "HEAD", target: "/v2/team/app/blobs/" + digestOf([]byte(blobText))},
		{name: "manifest of another type", method: "GET", target: "/v2/team/app/manifests/v1"},
		{name: "no such tag", method: "GET", target: "/v2/team/app/manifests/v2", header: accepting},
	} {
		want := direct.take(t, st)
		for range 2 {
			got := strings.Split(proxied.take(t, st), "\n")
			got = slices.DeleteFunc(got, func(line string) bool {
				return strings.HasPrefix(line, "X-Cache: ") || strings.HasPrefix(line, "Age: ")
			})
			if got := strings.Join(got, "\n"); got != want {
				t.Errorf("%s: got\n%s\nwant\n%s", st.name, got, want)
			}
		}
	}
}
