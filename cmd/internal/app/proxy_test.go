package app_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

func proxy(name, upstream, more string) string {
	return fmt.Sprintf("\n[[proxy]]\nname = %q\nlisten = \"127.0.0.1:0\"\nupstream = %q\n%s\n", name, upstream, more)
}

// newClient returns one whose connections end with the test.
func newClient(t *testing.T, c *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// storedEvents returns the events of a, oldest first.
func storedEvents(t *testing.T, a *app.App) []admin.Event {
	t.Helper()
	events := must(operator(t, a, "").Events(t.Context(), admin.EventQuery{Limit: 1000}))(t)
	slices.Reverse(events)
	return events
}

// What passes a proxy comes to the endpoints: of two registries, each told apart from the
// other.
func TestProxy(t *testing.T) {
	r := newReceiver(t)
	one, two := registrytest.Start(t, nil), registrytest.Start(t, nil)
	a := startApp(t, load(t, t.TempDir(), proxy("one", one.URL(), "")+
		proxy("two", two.URL(), `source = { addr = "registry.example" }`)+endpoint("audit", r.URL, "")))
	transport := newClient(t, nil).Transport
	for _, proxy := range []string{"one", "two"} {
		image, err := random.Image(1024, 2)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := name.NewTag(a.ProxyAddr(proxy) + "/team/" + proxy + ":v1")
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, image, remote.WithTransport(transport)); err != nil {
			t.Fatal(err)
		}
	}
	const each = 4 // two layers, a configuration, a manifest
	r.wait(t, 2*each)

	var got []string
	instances := map[string]bool{}
	for _, e := range storedEvents(t, a) {
		if e.Format != "observer" || e.Method == "" {
			t.Errorf("event of format %q and method %q, want what an observer makes", e.Format, e.Method)
		}
		story := must(operator(t, a, "").Event(t.Context(), e.ID))(t)
		var event struct {
			Source struct{ Addr, InstanceID string }
		}
		if err := json.Unmarshal(story.Event.Raw, &event); err != nil {
			t.Fatal(err)
		}
		instances[event.Source.Addr+" "+event.Source.InstanceID] = event.Source.InstanceID != ""
		got = append(got, fmt.Sprintf("%s %s:%s at %s", e.Action, e.Repository, e.Tag, strings.Replace(event.Source.Addr, a.ProxyAddr("one"), "one", 1)))
	}
	slices.Sort(got)
	want := []string{
		"push team/one: at one", "push team/one: at one", "push team/one: at one", "push team/one:v1 at one",
		"push team/two: at registry.example", "push team/two: at registry.example", "push team/two: at registry.example", "push team/two:v1 at registry.example",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	metrics := scrape(t, a)
	for _, want := range []string{
		`regcast_observer_events_total{action="push",proxy="one"} 4`,
		`regcast_observer_events_total{action="push",proxy="two"} 4`,
		`regcast_proxy_requests_total{class="manifest",code="2xx",proxy="one"} `,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics do not say %s", want)
		}
	}
	if len(instances) != 2 || slices.Contains(slices.Collect(maps.Values(instances)), false) {
		t.Errorf("instances are %v, want one of each proxy", instances)
	}
}

// While events cannot be stored, on_unrecorded says whether changes pass.
func TestProxyUnrecorded(t *testing.T) {
	reg := registrytest.Start(t, nil)
	a := startApp(t, load(t, t.TempDir(), proxy("refuses", reg.URL(), `on_unrecorded = "refuse"`)+proxy("allows", reg.URL(), "")+
		"[engine.journal]\nretention_bytes = \"1MiB\"\non_full = \"refuse\"\n"+
		endpoint("audit", "http://127.0.0.1:1", "disabled = true")))
	client := newClient(t, nil)
	if got := startUpload(t, client, a.ProxyAddr("refuses")); got != http.StatusAccepted {
		t.Fatalf("with room for events an upload is answered %d, want 202", got)
	}
	for n := 0; send(t, a, "", notificationstest.Pushes(1000*n, 500, "team/a")...) == http.StatusAccepted; n++ {
		if n > 100 {
			t.Fatal("the journal does not fill")
		}
	}
	eventually(t, "the app is not ready", func() bool { return a.Ready() != nil })
	if got := startUpload(t, client, a.ProxyAddr("refuses")); got != http.StatusServiceUnavailable {
		t.Errorf("without room for events the start of an upload is answered %d, want 503", got)
	}
	if got := startUpload(t, client, a.ProxyAddr("allows")); got != http.StatusAccepted {
		t.Errorf("a proxy that allows it answers %d, want 202", got)
	}
	resp, err := client.Get("http://" + a.ProxyAddr("refuses") + "/v2/")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Errorf("what changes nothing is answered %s, want 200", resp.Status)
	}
}

func startUpload(t *testing.T, client *http.Client, addr string) (status int) {
	t.Helper()
	resp, err := client.Post("http://"+addr+"/v2/team/app/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// An upload is a blob on its way: all but its end.
type upload struct {
	done chan error
	end  func() // sends the rest
}

// beginUpload sends the first half of content through a proxy, and waits until it has come
// to the registry.
func beginUpload(t *testing.T, client *http.Client, addr string, content []byte, halfway <-chan struct{}) upload {
	t.Helper()
	resp, err := client.Post("http://"+addr+"/v2/team/app/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	at, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	if at.Host != addr {
		t.Fatalf("the upload goes on at %s, past the proxy", at.Host)
	}
	q := at.Query()
	q.Set("digest", digest.FromBytes(content).String())
	at.RawQuery = q.Encode()
	body, rest := io.Pipe()
	req, err := http.NewRequest(http.MethodPut, at.String(), body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(content))
	u := upload{done: make(chan error, 1), end: func() { _, _ = rest.Write(content[len(content)/2:]); _ = rest.Close() }}
	go func() {
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				err = errors.New(resp.Status)
			}
		}
		_ = body.Close()
		u.done <- err
	}()
	_, _ = rest.Write(content[:len(content)/2])
	await(t, halfway)
	return u
}

// halfway is a registry's Wrap that tells when an upload has begun to come.
func halfway(reached chan<- struct{}) func(http.Handler) http.Handler {
	return func(registry http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/uploads/") {
				close(reached)
			}
			registry.ServeHTTP(w, r)
		})
	}
}

// Shutdown waits for an upload that is under way, and its event is stored.
func TestShutdownDuringUpload(t *testing.T) {
	r, reached := newReceiver(t), make(chan struct{})
	reg := registrytest.Start(t, &registrytest.Options{Wrap: halfway(reached)})
	dir := t.TempDir()
	text := proxy("main", reg.URL(), "") + endpoint("audit", r.URL, "")
	cfg := load(t, dir, text)
	cfg.DrainTimeout = patience
	a := startApp(t, cfg)
	u := beginUpload(t, newClient(t, nil), a.ProxyAddr("main"), bytes.Repeat([]byte("blob"), 1<<16), reached)
	stopped := make(chan struct{})
	go func() { defer close(stopped); shutdown(t, a) }()
	eventually(t, "the app is not ready", func() bool { return a.Ready() != nil })
	select {
	case <-stopped:
		t.Fatal("the app has stopped with an upload under way")
	case err := <-u.done:
		t.Fatal("the upload has ended:", err)
	case <-time.After(100 * time.Millisecond):
	}
	u.end()
	if err := <-u.done; err != nil {
		t.Error("the upload that was under way:", err)
	}
	await(t, stopped)
	startApp(t, load(t, dir, text))
	r.wait(t, 1)
}

// Uploads that take longer than the drain timeout are cut, and that is no error.
func TestShutdownCutsUploads(t *testing.T) {
	reached := make(chan struct{})
	reg := registrytest.Start(t, &registrytest.Options{Wrap: halfway(reached)})
	cfg := load(t, t.TempDir(), proxy("main", reg.URL(), "")+endpoint("console", "console:", ""))
	cfg.DrainTimeout = 50 * time.Millisecond
	a := startApp(t, cfg)
	u := beginUpload(t, newClient(t, nil), a.ProxyAddr("main"), bytes.Repeat([]byte("blob"), 1<<16), reached)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	u.end() // a client looks at its connection again once it has something to send
	if err := <-u.done; err == nil {
		t.Error("the upload is said to have come to its end")
	}
}

func TestProxyTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	newPair(t, cert, key, 1)
	reg := registrytest.Start(t, nil)
	a := startApp(t, load(t, dir, proxy("main", reg.URL(), `tls = { cert_file = "cert.pem", key_file = "key.pem" }`)))
	for serial := int64(1); serial <= 2; serial++ {
		newPair(t, cert, key, serial) // the second time it is renewed
		resp, err := newClient(t, &tls.Config{InsecureSkipVerify: true}).Get("https://" + a.ProxyAddr("main") + "/v2/")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
			t.Errorf("answered %s by %s, want 200 by HTTP/2", resp.Status, resp.Proto)
		}
		if got := resp.TLS.PeerCertificates[0].SerialNumber.Int64(); got != serial {
			t.Errorf("certificate %d, want %d", got, serial)
		}
	}
}

// Check finds what only those can know who use the values.
func TestCheckProxy(t *testing.T) {
	dir := t.TempDir()
	newPair(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), 1)
	newPair(t, filepath.Join(dir, "other.pem"), filepath.Join(dir, "other-key.pem"), 2)
	for more, want := range map[string]string{
		"": "",
		`upstream_tls = { ca_file = "cert.pem", cert_file = "cert.pem", key_file = "key.pem" }`: "",
		`upstream_tls = { ca_file = "key.pem" }`:                                                "proxy[0].upstream_tls.ca_file: no certificate in ",
		`upstream_tls = { cert_file = "cert.pem", key_file = "other-key.pem" }`:                 "proxy[0].upstream_tls.cert_file: reading ",
		`tls = { cert_file = "cert.pem", key_file = "other-key.pem" }`:                          "proxy[0].tls: ",
		`cache = { share = { public = ["library/**", "a***b"] } }`:                              `proxy[0].cache.share.public[1]: "a***b": `,
		`cache = { kind = "memory" }`:                                                           "",
		`actor_keys_file = "cert.pem"`:                                                          "",
		`actor_keys_file = "key.pem"`:                                                           "proxy[0].actor_keys_file: ",
	} {
		problems := app.Check(load(t, dir, proxy("main", "https://registry.internal", more)))
		if want == "" && len(problems) == 0 {
			continue
		}
		if want == "" || len(problems) != 1 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%s\ngives %v, want %q", more, problems, want)
		}
	}
}

// A reload does not change proxies.
func TestReloadRefusesProxies(t *testing.T) {
	reg := registrytest.Start(t, nil)
	dir := t.TempDir()
	a := startApp(t, load(t, dir, proxy("main", reg.URL(), "")))
	err := reload(t, a, dir, proxy("main", reg.URL(), `on_unrecorded = "refuse"`))
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || len(problems) != 1 || problems[0].Path != "proxy[0].on_unrecorded" || problems[0].Line == 0 {
		t.Errorf("a reload with another proxy gives %v", err)
	}
}

// A registry's own routes make events only where the configuration says that it has them.
func TestVendorRoutes(t *testing.T) {
	reg := registrytest.Start(t, &registrytest.Options{Wrap: func(registry http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("DELETE /v2/team/app/tags/reference/{tag}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
		mux.Handle("/", registry)
		return mux
	}})
	a := startApp(t, load(t, t.TempDir(), proxy("gitlab", reg.URL(), `vendor_routes = ["gitlab"]`)+proxy("plain", reg.URL(), "")))
	client := newClient(t, nil)
	for _, name := range []string{"plain", "gitlab"} {
		req, err := http.NewRequest(http.MethodDelete, "http://"+a.ProxyAddr(name)+"/v2/team/app/tags/reference/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusAccepted {
			t.Errorf("%s: answered %s, want 202", name, resp.Status)
		}
	}
	eventually(t, "an event is stored", func() bool { return len(storedEvents(t, a)) > 0 })
	for _, e := range storedEvents(t, a) {
		if got := e.Action + " " + e.Repository + ":" + e.Tag; got != "delete team/app:gitlab" {
			t.Errorf("event %q, want the delete that is GitLab's", got)
		}
	}
}

// What the file says of events is how the proxy makes them.
func TestProxyEventsAsConfigured(t *testing.T) {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Content-Digest", digest.FromString("m").String())
	}))
	defer registry.Close()
	for more, want := range map[string]string{
		"": "pull HEAD by , pull GET by ",
		"head = \"drop\"\nactor_tokens = \"hash\"": "pull GET by token:2a36681b",
	} {
		r := newReceiver(t)
		a := startApp(t, load(t, t.TempDir(), proxy("main", registry.URL, more)+endpoint("audit", r.URL, "")))
		client := newClient(t, nil)
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			r, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.ProxyAddr("main")+"/v2/team/app/manifests/v1", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer ghp_abcdef")
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		r.wait(t, strings.Count(want, "pull")) // which is made once the client has its answer
		var got []string
		for _, e := range storedEvents(t, a) {
			got = append(got, fmt.Sprintf("%s %s by %s", e.Action, e.Method, e.Actor))
		}
		if joined := strings.Join(got, ", "); joined != want {
			t.Errorf("%s\nstores %q, want %q", more, joined, want)
		}
	}
}
