package app_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/notifications/observer/cache/redis/redistest"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A notifier is a registry that tells an app of what happens to it.
type notifier struct {
	*registrytest.Registry
	intake atomic.Pointer[string] // of the app; nil while there is none
}

// newNotifier starts a registry. Its events wait until there is an app.
func newNotifier(t *testing.T, opts registrytest.Options) *notifier {
	n := new(notifier)
	transport := newClient(t, nil).Transport
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := n.intake.Load()
		if to == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		req, err := http.NewRequest(r.Method, *to, r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header = r.Header
		resp, err := transport.RoundTrip(req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
	}))
	t.Cleanup(hook.Close)
	opts.Configure = func(c *configuration.Configuration) {
		c.Notifications.Endpoints = []configuration.Endpoint{{
			Name: "regcast", URL: hook.URL, Timeout: patience, Threshold: 10, Backoff: 10 * time.Millisecond,
		}}
	}
	n.Registry = registrytest.Start(t, &opts)
	return n
}

func (n *notifier) tell(a *app.App) {
	url := "http://" + a.IntakeAddr() + "/events"
	n.intake.Store(&url)
}

// cached is a proxy with a cache. With exclusive an answer is good for a day, unless
// something invalidates it.
func cached(name, upstream, more string) string {
	return proxy(name, upstream, "cache = { exclusive = true, "+more+" }")
}

// redisFile writes where a Redis is, and returns the settings that name the file.
func redisFile(t *testing.T, dir string, s *redistest.Server) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "redis"), []byte(s.URL()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return `kind = "redis", redis = { url_file = "redis" }`
}

// A customer pulls and pushes at one address.
type customer struct {
	t              *testing.T
	client         *http.Client
	addr           string
	user, password string
	host           string // as which addr is addressed; "" is addr
}

func newCustomer(t *testing.T, addr string) *customer {
	return &customer{t: t, client: newClient(t, nil), addr: addr}
}

// ask returns an answer's status, what X-Cache says and the body.
func (c *customer) ask(method, path string) (status int, cache, body string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.addr+"/v2/"+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Host = c.host
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	req.Header.Set("Accept", "application/vnd.docker.distribution.manifest.v2+json")
	resp, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("X-Cache"), string(b)
}

// expect is a GET that has to be answered 200 and from where; "" is from anywhere.
func (c *customer) expect(cache, path string) {
	c.t.Helper()
	if status, got, body := c.ask("GET", path); status != http.StatusOK || cache != "" && got != cache {
		c.t.Errorf("GET %s: %d, X-Cache %q, want %q: %s", path, status, got, cache, body)
	}
}

// cached waits until path is answered from the cache, which takes another request if Redis
// was too slow for one.
func (c *customer) cached(path string) {
	c.t.Helper()
	eventually(c.t, path+" is cached", func() bool { _, cache, _ := c.ask("GET", path); return cache == "HIT" })
}

// tags returns the tags of team/app as the address has them.
func (c *customer) tags() []string {
	c.t.Helper()
	status, _, body := c.ask("GET", "team/app/tags/list")
	var list struct{ Tags []string }
	if err := json.Unmarshal([]byte(body), &list); status == http.StatusOK && err != nil {
		c.t.Fatal(err)
	}
	slices.Sort(list.Tags)
	return list.Tags
}

// push pushes an image of its own as team/app.
func (c *customer) push(tag string) {
	c.t.Helper()
	image, err := random.Image(512, 1)
	if err != nil {
		c.t.Fatal(err)
	}
	ref, err := name.NewTag(c.addr + "/team/app:" + tag)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithTransport(c.client.Transport),
		remote.WithAuth(authn.FromConfig(authn.AuthConfig{Username: c.user, Password: c.password}))); err != nil {
		c.t.Fatal(err)
	}
}

// What is answered from the cache makes its pull event all the same.
func TestCache(t *testing.T) {
	reg := registrytest.Start(t, nil)
	a := startApp(t, load(t, t.TempDir(), cached("main", reg.URL(), `kind = "memory", share = "anonymous"`)))
	newCustomer(t, reg.Host()).push("v1")
	c := newCustomer(t, a.ProxyAddr("main"))
	c.expect("MISS", "team/app/manifests/v1")
	c.expect("HIT", "team/app/manifests/v1")
	c.expect("MISS", "team/app/tags/list")
	c.expect("HIT", "team/app/tags/list")
	eventually(t, "both pulls are stored", func() bool { return len(storedEvents(t, a)) >= 2 })
	events := storedEvents(t, a)
	if len(events) != 2 || events[0].Action != "pull" || events[0].Digest == "" || events[0].Digest != events[1].Digest || events[0].Tag != events[1].Tag {
		t.Errorf("events are %+v, want two like pulls", events)
	}
	c.expect("HIT", "team/app/manifests/v1") // of which those have said that it was changed
	metrics := scrape(t, a)
	for _, want := range []string{
		`regcast_proxy_cache_requests_total{class="manifest",proxy="main",result="hit"} 2`,
		`regcast_proxy_cache_invalidations_total{proxy="main",scope="repository"} 0`,
		`regcast_proxy_cache_invalidations_total{proxy="main",scope="everything"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics do not say %s", want)
		}
	}
}

// soon is within what time a change around a proxy has to be seen through it.
const soon = time.Second

// What is pushed to and deleted from the registry itself is seen through its proxies within
// a second, by what the registry says of it. On a busy machine one of the changes may take
// longer, but not all of them.
func TestCacheHearsOfChangesAround(t *testing.T) {
	for _, kind := range []string{"memory", "redis"} {
		t.Run(kind, func(t *testing.T) {
			dir, settings := t.TempDir(), `kind = "memory"`
			if kind == "redis" {
				settings = redisFile(t, dir, redistest.Start(t))
			}
			settings += `, share = "anonymous"`
			reg := newNotifier(t, registrytest.Options{})
			a := startApp(t, load(t, dir, cached("one", reg.URL(), settings)+cached("two", reg.URL(), settings)+proxy("plain", reg.URL(), "")))
			reg.tell(a)
			around := newCustomer(t, reg.Host())
			quickest := patience
			through := []*customer{newCustomer(t, a.ProxyAddr("one")), newCustomer(t, a.ProxyAddr("two"))}
			visible := func(what string, want ...string) {
				t.Helper()
				start := time.Now()
				for _, c := range through {
					eventually(t, what+" is seen", func() bool { return slices.Equal(c.tags(), want) })
				}
				quickest = min(quickest, time.Since(start))
			}
			around.push("v1")
			visible("a push", "v1")
			for _, c := range through {
				c.cached("team/app/tags/list") // all events have come
			}
			around.push("v2")
			visible("a second push", "v1", "v2")
			if status, _, body := around.ask("DELETE", "team/app/manifests/v1"); status != http.StatusAccepted {
				t.Fatalf("a delete: %d %s", status, body)
			}
			visible("a delete", "v2")
			if quickest > soon {
				t.Errorf("the change that was seen first was seen after %v", quickest)
			}
		})
	}
}

// Two apps that share a Redis see each other's changes at once, and share answers to those
// who address both alike.
func TestCacheIsShared(t *testing.T) {
	reg, server := registrytest.Start(t, nil), redistest.Start(t)
	var customers []*customer
	var apps []*app.App
	for _, name := range []string{"one", "two"} {
		dir := t.TempDir()
		a := startApp(t, load(t, dir, cached(name, reg.URL(), `share = "anonymous", `+redisFile(t, dir, server))))
		c := newCustomer(t, a.ProxyAddr(name))
		c.host = "registry.example"
		customers, apps = append(customers, c), append(apps, a)
	}
	one, two := customers[0], customers[1]
	one.push("v0")
	var want []string
	for i := range 10 {
		tag := fmt.Sprintf("v%d", i)
		want = append(want, tag)
		one.push(tag)
		if got := two.tags(); !slices.Equal(got, want) {
			if !redisWasSlow(t, apps...) {
				t.Fatalf("after a push of %s through the other, tags are %v", tag, got)
			}
			eventually(t, "Redis is told of a push of "+tag, func() bool { return slices.Equal(two.tags(), want) })
		}
		one, two = two, one
	}
	// The events of the last push are about; they have the repository forgotten once more.
	eventually(t, "what one has asked for is there for the other", func() bool {
		one.expect("", "team/app/manifests/v3")
		_, cache, _ := two.ask("GET", "team/app/manifests/v3")
		return cache == "HIT"
	})
	if metrics := scrape(t, apps[0]); !strings.Contains(metrics, `regcast_descriptor_cache_requests_total{proxy="one"} `) {
		t.Error("there are no metrics of the shared descriptors")
	}
}

// redisWasSlow tells whether a Redis did not answer one of apps in time. What it could not
// be told of then, others are not told of before it is told again.
func redisWasSlow(t *testing.T, apps ...*app.App) bool {
	t.Helper()
	failed := regexp.MustCompile(`(?m)^regcast_proxy_cache_errors_total\{.*\} [1-9]`)
	return slices.ContainsFunc(apps, func(a *app.App) bool { return failed.MatchString(scrape(t, a)) })
}

// While Redis is away requests go on, and what changes meanwhile is known when it is back:
// empty, or with all that it had.
func TestCacheOutlivesRedis(t *testing.T) {
	for what, fault := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"paused": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(what, func(t *testing.T) {
			reg, server, dir := registrytest.Start(t, nil), redistest.Start(t), t.TempDir()
			a := startApp(t, load(t, dir, cached("main", reg.URL(), `share = "anonymous", `+redisFile(t, dir, server))))
			c := newCustomer(t, a.ProxyAddr("main"))
			c.push("v1")
			c.cached("team/app/tags/list")
			fault.begin(server)
			c.expect("", "team/app/tags/list")
			c.push("v2")
			if got := c.tags(); !slices.Equal(got, []string{"v1", "v2"}) {
				t.Errorf("without Redis tags are %v", got)
			}
			fault.end(server)
			eventually(t, "tags are cached again", func() bool {
				if got := c.tags(); !slices.Equal(got, []string{"v1", "v2"}) {
					t.Fatalf("with Redis back tags are %v", got)
				}
				_, cache, _ := c.ask("GET", "team/app/tags/list")
				return cache == "HIT"
			})
		})
	}
}

// The log says why Redis cannot be asked, and not that somebody has waited in vain.
func TestCacheSaysWhatIsWrong(t *testing.T) {
	reg, server, dir := registrytest.Start(t, nil), redistest.Start(t), t.TempDir()
	var log logbook
	a := startLoggedApp(t, load(t, dir, cached("main", reg.URL(), `share = "anonymous", `+redisFile(t, dir, server))), &log)
	c := newCustomer(t, a.ProxyAddr("main"))
	c.push("v1")
	eventually(t, "the log says that nobody listens", func() bool { // at once, but on a machine that is too busy for an answer in time
		server.Restart()
		c.cached("team/app/tags/list")
		server.Kill()
		c.expect("", "team/app/tags/list")
		return strings.Contains(log.String(), "connection refused")
	})
}

// Who has a Redis far away says in its URL how long it may take.
func TestCacheWaitsAsLongAsTheURLSays(t *testing.T) {
	reg, server, dir := registrytest.Start(t, nil), redistest.Start(t), t.TempDir()
	settings := redisFile(t, dir, server)
	if err := os.WriteFile(filepath.Join(dir, "redis"), []byte(server.URL()+"?read_timeout="+patience.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCustomer(t, startApp(t, load(t, dir, cached("main", reg.URL(), `share = "anonymous", `+settings))).ProxyAddr("main"))
	c.push("v1")
	c.cached("team/app/tags/list")
	server.Pause()
	answered := make(chan string)
	go func() {
		defer close(answered) // also without an answer
		_, cache, _ := c.ask("GET", "team/app/tags/list")
		answered <- cache
	}()
	<-time.After(2 * cache.DefaultTimeout)
	server.Resume()
	if cache := <-answered; cache != "HIT" {
		t.Errorf("a slow Redis was not waited for: %s", cache)
	}
}

// A logbook is a log that is read while it is written.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A Redis that is away does not keep an app from starting; with one that is there, nothing
// is taken from before the start, as nobody knows what has happened since.
func TestCacheAtStart(t *testing.T) {
	reg, server, dir := registrytest.Start(t, nil), redistest.Start(t), t.TempDir()
	text := cached("main", reg.URL(), `share = "anonymous", `+redisFile(t, dir, server))
	visit := func(a *app.App) *customer {
		c := newCustomer(t, a.ProxyAddr("main"))
		c.host = "registry.example"
		return c
	}
	newCustomer(t, reg.Host()).push("v1")
	a := startApp(t, load(t, dir, text))
	visit(a).cached("team/app/tags/list")
	shutdown(t, a)
	newCustomer(t, reg.Host()).push("v2")
	a = startApp(t, load(t, dir, text))
	if got := visit(a).tags(); !slices.Equal(got, []string{"v1", "v2"}) {
		t.Errorf("after a restart tags are %v", got)
	}
	shutdown(t, a)
	server.Kill()
	a = startApp(t, load(t, dir, text))
	c := visit(a)
	c.expect("", "team/app/tags/list")
	server.Restart()
	c.cached("team/app/tags/list")
}

// Without exclusive an answer is good for the time to live: a change around the proxy that
// nobody tells of is seen after that. With it, it is good for a day.
func TestCacheExclusive(t *testing.T) {
	reg := registrytest.Start(t, nil)
	a := startApp(t, load(t, t.TempDir(),
		proxy("open", reg.URL(), `cache = { kind = "memory", ttl = "1s", share = "anonymous" }`)+
			cached("exclusive", reg.URL(), `kind = "memory", share = "anonymous"`)))
	around := newCustomer(t, reg.Host())
	around.push("v1")
	open, exclusive := newCustomer(t, a.ProxyAddr("open")), newCustomer(t, a.ProxyAddr("exclusive"))
	for _, c := range []*customer{open, exclusive} {
		c.expect("MISS", "team/app/tags/list")
	}
	around.push("v2")
	eventually(t, "the time to live is over", func() bool { return len(open.tags()) == 2 })
	exclusive.expect("HIT", "team/app/tags/list")
	if got := exclusive.tags(); !slices.Equal(got, []string{"v1"}) {
		t.Errorf("an exclusive proxy has asked again: %v", got)
	}
}

// What one is answered another gets only as far as share says.
func TestCacheShare(t *testing.T) {
	secured := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Htpasswd, Users: map[string]string{"bob": "b"}})
	open := registrytest.Start(t, nil)
	a := startApp(t, load(t, t.TempDir(),
		cached("identity", secured.URL(), `kind = "memory"`)+
			cached("anonymous", secured.URL(), `kind = "memory", share = "anonymous"`)+
			cached("public", secured.URL(), `kind = "memory", share = { public = ["team/*"] }`)+
			cached("other", secured.URL(), `kind = "memory", share = { public = ["library/**"] }`)+
			cached("open", open.URL(), `kind = "memory"`)+
			cached("everybody", open.URL(), `kind = "memory", share = "anonymous"`)))
	alice := newCustomer(t, secured.Host())
	alice.user, alice.password = registrytest.Username, registrytest.Password
	alice.push("v1")
	newCustomer(t, open.Host()).push("v1")
	type person struct{ user, password string }
	known, other, nobody, forged := person{registrytest.Username, registrytest.Password}, person{"bob", "b"}, person{}, person{registrytest.Username, "guessed"}
	for _, c := range []struct {
		proxy string
		who   person
		want  string
	}{
		{"identity", known, "200 MISS"}, {"identity", known, "200 HIT"}, {"identity", other, "200 MISS"}, {"identity", other, "200 HIT"}, {"identity", nobody, "401"}, {"identity", forged, "401"},
		{"anonymous", known, "200 MISS"}, {"anonymous", other, "200 MISS"}, {"anonymous", nobody, "401"}, {"anonymous", forged, "401"},
		{"public", known, "200 MISS"}, {"public", other, "200 HIT"}, {"public", nobody, "200 HIT"},
		{"other", known, "200 MISS"}, {"other", other, "200 MISS"}, {"other", nobody, "401"},
		{"open", nobody, "200"}, {"open", nobody, "200"},
		{"everybody", nobody, "200 MISS"}, {"everybody", nobody, "200 HIT"},
	} {
		visitor := newCustomer(t, a.ProxyAddr(c.proxy))
		visitor.user, visitor.password = c.who.user, c.who.password
		status, cache, _ := visitor.ask("GET", "team/app/manifests/v1")
		if status != http.StatusOK {
			cache = "" // MISS, or nothing
		}
		if got := strings.TrimSpace(fmt.Sprint(status, " ", cache)); got != c.want {
			t.Errorf("%s, %q: %s, want %s", c.proxy, c.who.user, got, c.want)
		}
	}
}

// Two proxies that show the registry different certificates share a Redis, and no answers.
func TestCacheOfTwoCertificates(t *testing.T) {
	reg := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := fmt.Sprintf(`{"name":"team/app","tags":["seen-by-%v"]}`, r.TLS.PeerCertificates[0].SerialNumber)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = io.WriteString(w, body)
	}))
	reg.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	reg.StartTLS()
	t.Cleanup(reg.Close)
	server, dir := redistest.Start(t), t.TempDir()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: reg.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), authority, 0o600); err != nil {
		t.Fatal(err)
	}
	text := ""
	for i, name := range []string{"one", "two"} {
		newPair(t, filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem"), int64(i+1))
		text += proxy(name, reg.URL, fmt.Sprintf("upstream_tls = { ca_file = \"ca.pem\", cert_file = \"%s.pem\", key_file = \"%s-key.pem\" }\ncache = { share = \"anonymous\", %s }",
			name, name, redisFile(t, dir, server)))
	}
	a := startApp(t, load(t, dir, text))
	for i, name := range []string{"one", "two", "one", "two"} {
		c := newCustomer(t, a.ProxyAddr(name))
		c.host = "registry.example"
		if want := []string{fmt.Sprint("seen-by-", 1+i%2)}; !slices.Equal(c.tags(), want) {
			t.Errorf("through %s tags are %v, want %v", name, c.tags(), want)
		}
		c.cached("team/app/tags/list")
	}
}

// What is wrong with the file that says where a Redis is has its line, and shows nothing of
// what is in the file.
func TestCheckCache(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"redis://:secret@redis.internal:6379/0":  "",
		"rediss://user:secret@redis.internal\n":  "",
		"":                                       "no secret in it",
		"http://:secret@redis.internal":          "holds no URL such as",
		"redis://:se#secret@redis.internal/0":    "holds no URL such as",
		"redis://:secret@redis.internal/secret":  "holds no URL such as",
		"redis://:secret@redis.internal?secret=": "holds no URL such as",
	} {
		file := filepath.Join(dir, "redis")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		problems := app.Check(load(t, dir, proxy("main", "https://registry.internal", `cache = { kind = "redis", redis = { url_file = "redis" } }`)))
		if want == "" && len(problems) == 0 {
			continue
		}
		if want == "" || len(problems) != 1 || !strings.Contains(problems[0].String(), want) || problems[0].Path != "proxy[0].cache.redis.url_file" || problems[0].Line == 0 {
			t.Errorf("%q gives %v, want %q", content, problems, want)
		}
		if text := fmt.Sprintf("%+v", problems); strings.Contains(strings.ReplaceAll(text, "no secret in it", ""), "secret") {
			t.Errorf("%q is told of: %s", content, text)
		}
	}
}

// Clients that people use push, pull and delete through proxies with a cache.
func TestCacheClients(t *testing.T) {
	for program, lines := range map[string][]string{
		"crane": {
			"auth login HOST -u alice -p secret",
			"push image.tar HOST/crane/app:v1 --insecure",
			"digest HOST/crane/app:v1 --insecure",
			"pull HOST/crane/app:v1 out.tar --insecure",
			"tag HOST/crane/app:v1 v2 --insecure",
			"ls HOST/crane/app --insecure = v1 v2",
			"copy HOST/crane/app:v1 HOST/crane/fork:v1 --insecure",
			"mutate HOST/crane/app:v1 --label a=b -t HOST/crane/app:v2 --insecure",
			"delete HOST/crane/app:v2 --insecure",
			"ls HOST/crane/app --insecure = v1",
		},
		"oras": {
			"login --plain-http -u alice -p secret HOST",
			"push --plain-http --disable-path-validation HOST/oras/app:v1 image.tar",
			"tag --plain-http HOST/oras/app:v1 v2",
			"repo tags --plain-http HOST/oras/app = v1 v2",
			"pull --plain-http HOST/oras/app:v2 -o out",
			"push --plain-http --annotation a=b HOST/oras/app:v3 image.tar",
			"manifest delete --plain-http --force HOST/oras/app:v3",
			"repo tags --plain-http HOST/oras/app = v1 v2",
		},
		"regctl": {
			"registry set --tls disabled HOST",
			"registry login -u alice -p secret HOST",
			"image import HOST/regctl/app:v1 image.tar",
			"image copy HOST/regctl/app:v1 HOST/regctl/app:v2",
			"tag ls HOST/regctl/app = v1 v2",
			"image export HOST/regctl/app:v2 out.tar",
			"tag delete HOST/regctl/app:v2",
			"tag ls HOST/regctl/app = v1",
		},
		"skopeo": {
			"copy --dest-creds alice:secret --dest-tls-verify=false docker-archive:image.tar docker://HOST/skopeo/app:v1",
			"inspect --creds alice:secret --tls-verify=false --format {{.Digest}} docker://HOST/skopeo/app:v1",
			"copy --src-creds alice:secret --dest-creds alice:secret --src-tls-verify=false --dest-tls-verify=false docker://HOST/skopeo/app:v1 docker://HOST/skopeo/app:v2",
			"inspect --creds alice:secret --tls-verify=false --format {{.RepoTags}} docker://HOST/skopeo/app:v1 = [v1 v2]",
			"copy --src-creds alice:secret --src-tls-verify=false docker://HOST/skopeo/app:v2 docker-archive:again.tar",
			"delete --creds alice:secret --tls-verify=false docker://HOST/skopeo/app:v2",
		},
	} {
		for _, kind := range []string{"memory", "redis"} {
			t.Run(program+","+kind, func(t *testing.T) {
				path, err := exec.LookPath(program)
				if err != nil {
					if os.Getenv("CI") == "true" {
						t.Fatalf("needs %s", program)
					}
					t.Skipf("needs %s", program)
				}
				if testing.Short() {
					t.Skip("takes seconds")
				}
				dir, settings := t.TempDir(), `kind = "memory"`
				if kind == "redis" {
					settings = redisFile(t, dir, redistest.Start(t))
				}
				settings += `, share = "anonymous"`
				reg := newNotifier(t, registrytest.Options{})
				a := startApp(t, load(t, dir, cached("main", reg.URL(), settings)))
				reg.tell(a)
				writeArchive(t, filepath.Join(dir, "image.tar"))
				for _, line := range lines {
					line, want, _ := strings.Cut(line, " = ")
					out := runClient(t, path, dir, strings.ReplaceAll(line, "HOST", a.ProxyAddr("main")))
					if got := strings.Join(strings.Fields(out), " "); want != "" && got != want {
						t.Errorf("%s: %q, want %q", line, got, want)
					}
				}
			})
		}
	}
}

func writeArchive(t *testing.T, file string) {
	t.Helper()
	image, err := random.Image(10_000, 3)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag("image:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(file, ref, image); err != nil {
		t.Fatal(err)
	}
}

// runClient runs a program at home in dir, and returns what it prints.
func runClient(t *testing.T, program, dir, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, strings.Fields(line)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "DOCKER_CONFIG="+dir, "XDG_RUNTIME_DIR="+dir)
	out, err := cmd.Output()
	if err != nil {
		var said []byte
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			said = exit.Stderr
		}
		t.Fatalf("%s %s: %v\n%s", program, line, err, said)
	}
	return string(out)
}
