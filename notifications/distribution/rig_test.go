package distribution_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // registers itself
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // registers itself
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/distribution"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// patience bounds what a test waits for; it is never waited out by a test that passes.
const patience = time.Minute

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// A webhook takes what distribution's own notifications send.
type webhook struct {
	*httptest.Server
	mu     sync.Mutex
	events []*notifications.Event
}

func startWebhook(t *testing.T) *webhook {
	w := &webhook{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		decoded := notifications.Decode(body, nil)
		if len(decoded.Bad) > 0 {
			t.Errorf("%+v", decoded.Bad)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, decoded.Events...)
	}))
	t.Cleanup(w.Close)
	return w
}

// until returns what came before the event of the request with that user agent.
func (w *webhook) until(t *testing.T, userAgent string) []*notifications.Event {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		w.mu.Lock()
		events := slices.Clone(w.events)
		w.mu.Unlock()
		for i, e := range events {
			if d, err := e.Details(); err == nil && d.Request.UserAgent == userAgent {
				return events[:i]
			}
		}
	}
	t.Fatalf("distribution has not told of the request by %s", userAgent)
	return nil
}

// uniqueName returns a name that no other test registers, and the next run of the same
// one does not either.
var uniqueName = func() func(t testing.TB) string {
	var mu sync.Mutex
	n := 0
	return func(t testing.TB) string {
		mu.Lock()
		defer mu.Unlock()
		n++
		return fmt.Sprintf("%s-%d", t.Name(), n)
	}
}()

// A registry is distribution, configured by YAML as a person would, with our middleware
// and its own notifications.
type registry struct {
	*httptest.Server
	config *configuration.Configuration
	events *distribution.Middleware
	own    *webhook
	end    string
}

// A setup is how a registry differs from the least.
type setup struct {
	yaml   string                      // more configuration
	within string                      // a repository middleware that ours is around
	change func(*distribution.Options) // after OptionsOf
	end    string                      // a path to pull at the end, where nothing can be pushed
}

func startRegistry(t *testing.T, dst notifications.Sink, s setup) *registry {
	t.Helper()
	r := &registry{own: startWebhook(t), end: s.end}
	middleware := uniqueName(t)
	if s.within != "" {
		s.within = fmt.Sprintf("- name: %q", s.within)
	}
	config, err := configuration.Parse(strings.NewReader(fmt.Sprintf(`
version: 0.1
log: {accesslog: {disabled: true}}
storage:
  inmemory: {}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: false}}
middleware:
  repository:
    %s
    - name: %q
  registry:
    - name: %q
notifications:
  events: {includereferences: true}
  endpoints:
    - {name: own, url: %q, timeout: 1m, threshold: 10, backoff: 10ms}
%s`, s.within, middleware, middleware, r.own.URL, s.yaml)))
	if err != nil {
		t.Fatal(err)
	}
	opts, err := distribution.OptionsOf(config)
	if err != nil {
		t.Fatal(err)
	}
	opts.Wait = patience // an event is there when its request is answered
	if s.change != nil {
		s.change(opts)
	}
	if r.events, err = distribution.Register(middleware, dst, opts); err != nil {
		t.Fatal(err)
	}
	r.config = config
	//lint:ignore SA1029 the key is distribution's
	ctx := context.WithValue(context.Background(), "instance.id", "instance of "+t.Name())
	app := handlers.NewApp(ctx, config)
	r.Server = httptest.NewServer(app)
	t.Cleanup(func() {
		r.Close()
		if err := app.Shutdown(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.events.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// host is the registry's host:port.
func (r *registry) host() string { return r.Listener.Addr().String() }

func (r *registry) tag(t *testing.T, s string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(r.host() + "/" + s)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

func (r *registry) digest(t *testing.T, s string) name.Digest {
	t.Helper()
	d, err := name.NewDigest(r.host() + "/" + s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// do makes a request and checks the status of the answer, of which it returns the
// header.
func (r *registry) do(t *testing.T, status int, method, path string, body string, header ...string) http.Header {
	t.Helper()
	// Where the registry says it is, there may be nobody.
	path = r.URL + strings.TrimSuffix(r.config.HTTP.Prefix, "/") + path[strings.Index(path, "/v2/"):]
	req, err := http.NewRequest(method, path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", basic(alice))
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("%s %s: %s, want %d\n%s", method, path, resp.Status, status, answer)
	}
	return resp.Header
}

// push pushes a blob and returns its digest.
func (r *registry) push(t *testing.T, repo, content string, header ...string) string {
	t.Helper()
	upload := r.do(t, http.StatusAccepted, "POST", "/v2/"+repo+"/blobs/uploads/", "", header...).Get("Location")
	dgst := digest.FromString(content).String()
	r.do(t, http.StatusCreated, "PUT", upload+"&digest="+dgst, content, header...)
	return dgst
}

// settle makes a request for an end, and returns what distribution told of before it, and
// the sink was told.
func (r *registry) settle(t *testing.T, rec *notificationstest.Recorder) (own, ours []*notifications.Event) {
	t.Helper()
	const end = "the end/1"
	if r.end != "" {
		r.do(t, http.StatusOK, "GET", r.end, "", "User-Agent", end)
	} else {
		r.push(t, "the/end", "", "User-Agent", end)
	}
	own = r.own.until(t, end)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := rec.Wait(ctx, len(own)+1); err != nil {
		t.Errorf("distribution told of %d events, the sink of %d", len(own), rec.Len()-1)
	}
	for _, e := range rec.Events() {
		if d, err := e.Details(); err != nil || d.Request.UserAgent != end {
			ours = append(ours, e)
		}
	}
	return own, ours
}

// same compares two multisets of events, but for their ids, when they happened and what
// only ours say.
func same(t *testing.T, own, ours []*notifications.Event) {
	t.Helper()
	if len(own) == 0 {
		t.Error("distribution told of nothing")
	}
	if diff := cmp.Diff(canonical(t, own), canonical(t, ours)); diff != "" {
		t.Errorf("-distribution +ours:\n%s", diff)
	}
}

func canonical(t *testing.T, events []*notifications.Event) []string {
	t.Helper()
	lines := make([]string, len(events))
	for i, e := range events {
		var members map[string]any
		if err := json.Unmarshal(e.AppendJSON(nil), &members); err != nil {
			t.Fatal(err)
		}
		delete(members, "id")
		delete(members, "timestamp")
		delete(members, "regcast")
		line, err := json.MarshalIndent(members, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = string(line)
	}
	slices.Sort(lines)
	return lines
}

// shorts are events in the words of a test, in order.
func shorts(events []*notifications.Event) []string {
	words := make([]string, len(events))
	for i, e := range events {
		d, _ := e.Details()
		word := e.Action + " " + e.Kind().String() + " " + e.Repository
		if e.Tag != "" {
			word += ":" + e.Tag
		}
		if d.Target.FromRepository != "" {
			word += " from " + d.Target.FromRepository
		}
		words[i] = word + " by " + e.Method
	}
	return words
}

// alice is a user and her password.
const alice = "alice:secret"

func basic(credentials string) string {
	r := &http.Request{Header: make(http.Header)}
	user, password, _ := strings.Cut(credentials, ":")
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// options are of a client that is alice where somebody asks.
func options(extra ...remote.Option) []remote.Option {
	user, password, _ := strings.Cut(alice, ":")
	return append([]remote.Option{remote.WithAuth(&authn.Basic{Username: user, Password: password})}, extra...)
}
