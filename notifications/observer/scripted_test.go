package observer_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/observer"
)

// The content of the tests.
const (
	blobContent   = "a blob of 22 bytes, ok"
	configContent = `{"architecture":"amd64","os":"linux"}`
	ociManifest   = v1.MediaTypeImageManifest
	ociIndex      = v1.MediaTypeImageIndex
	dockerV1      = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	octets        = "application/octet-stream"
)

var (
	blob     = digest.FromString(blobContent)
	config   = digest.FromString(configContent)
	other    = digest.FromString("something else")
	blob512  = digest.SHA512.FromString(blobContent)
	empty    = digest.FromString("")
	image    = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`, ociManifest, v1.MediaTypeImageConfig, config, len(configContent), v1.MediaTypeImageLayer, blob, len(blobContent))
	manifest = digest.FromString(image)
	list     = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"platform":{"architecture":"amd64","os":"linux"}}]}`, ociIndex, ociManifest, manifest, len(image))
	index    = digest.FromString(list)
)

// brief writes down an event in short: action, method, target and what else is not as
// usual.
func brief(t testing.TB, e *notifications.Event) string {
	t.Helper()
	d, err := e.Details()
	if err != nil {
		t.Fatal(err)
	}
	names := map[digest.Digest]string{
		blob: "blob", config: "config", other: "other", blob512: "blob512", empty: "empty", manifest: "image", index: "list",
	}
	name := func(d digest.Digest) string {
		if n := names[d]; n != "" {
			return n
		}
		return d.String()
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s %s", e.Action, e.Method, e.Repository)
	if e.Tag != "" {
		s.WriteString(":" + e.Tag)
	}
	if e.Digest != "" {
		s.WriteString("@" + name(e.Digest))
	}
	if d.Target.MediaType != "" && d.Target.MediaType != octets {
		s.WriteString(" " + strings.TrimPrefix(d.Target.MediaType, "application/vnd.oci.image."))
	}
	switch {
	case d.Remark.SizeUnknown && d.Target.Size == 0:
		s.WriteString(" ?")
	case e.Action != notifications.ActionDelete, d.Remark.SizeUnknown:
		fmt.Fprintf(&s, " %d", d.Target.Size)
	}
	for i, r := range d.Target.References {
		s.WriteString([]string{" refs=", ","}[min(i, 1)] + name(r.Digest))
	}
	if d.Target.FromRepository != "" {
		s.WriteString(" from=" + d.Target.FromRepository)
	}
	if e.Actor != "" {
		s.WriteString(" by " + e.Actor)
	}
	if e.Origin != "" {
		s.WriteString(" " + e.Origin)
	}
	if d.Remark.Kind != "" {
		s.WriteString(" kind=" + d.Remark.Kind)
	}
	if d.Remark.Subject != "" {
		s.WriteString(" subject=" + name(d.Remark.Subject))
	}
	if d.Remark.Redirected {
		s.WriteString(" redirected")
	}
	if d.Remark.Aborted {
		fmt.Fprintf(&s, " aborted after %d", d.Remark.Sent)
	}
	if d.Remark.ActorVerified {
		s.WriteString(" verified")
	}
	return s.String()
}

func briefs(t testing.TB, events []*notifications.Event) []string {
	t.Helper()
	var all []string
	for _, e := range events {
		all = append(all, brief(t, e))
	}
	return all
}

// A watched registry is a handler behind an Observer, on a socket.
type watched struct {
	*observer.Observer
	address  string // http://…
	client   *http.Client
	close    func() // waits for the requests under way
	metrics  *prometheus.Registry
	requests sync.WaitGroup
	events   notificationstest.Recorder
}

// observe puts an Observer before registry.
func (w *watched) observe(registry http.Handler, opts *observer.Options) http.Handler {
	o := observer.Options{}
	if opts != nil {
		o = *opts
	}
	w.metrics = prometheus.NewRegistry()
	o.Registerer = w.metrics
	w.Observer = observer.New(registry, &w.events, notifications.SourceRecord{Addr: "registry.example:5000", InstanceID: "i1"}, &o)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		defer w.requests.Done()
		w.Observer.ServeHTTP(rw, r)
	})
}

func watch(t testing.TB, registry http.Handler, opts *observer.Options) *watched {
	t.Helper()
	w := &watched{}
	server := httptest.NewServer(w.observe(registry, opts))
	w.address, w.client, w.close = server.URL, server.Client(), server.Close
	w.client.Transport.(*http.Transport).DisableCompression = true
	t.Cleanup(w.end)
	return w
}

// end waits for the requests under way and what they have reported.
func (w *watched) end() {
	w.close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = w.Observer.Shutdown(ctx)
}

// settled returns the events of all requests that were answered.
func (w *watched) settled(t testing.TB) []*notifications.Event {
	t.Helper()
	w.requests.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	events, err := w.events.Wait(ctx, int(metric(t, w.metrics, "regcast_observer_events_total")))
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// metric adds up what is measured by a name, whatever its labels.
func metric(t testing.TB, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			found = true
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	if !found {
		t.Fatalf("no metric %s", name)
	}
	return sum
}

// An exchange is a request and the answer that the registry is to give.
type exchange struct {
	method, path string
	body         string
	header       []string // name, value, …
	status       int
	answer       []string // name, value, …
	content      string
}

// do sends a request as it is written, whatever it is.
func (w *watched) do(t testing.TB, method, path, body string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(method, w.address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	before, query, _ := strings.Cut(path, "?")
	r.URL.Opaque, r.URL.RawQuery = "//"+r.URL.Host+before, query
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := w.client.Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// scripted answers as the exchanges say, in their order.
func scripted(t testing.TB, exchanges []exchange) http.Handler {
	n := 0
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchanges[n]
		n++
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != x.body {
			t.Errorf("%s %s came with body %q, %v", x.method, x.path, body, err)
		}
		for i := 0; i < len(x.answer); i += 2 {
			w.Header().Add(x.answer[i], x.answer[i+1])
		}
		if x.status != 0 {
			w.WriteHeader(x.status)
		}
		if r.Method != http.MethodHead && x.content != "" {
			if _, err := io.WriteString(w, x.content); err != nil {
				t.Errorf("%s %s: %v", x.method, x.path, err)
			}
		}
	})
}

// A row is a conversation with a registry, and the events it is to make.
type row struct {
	name      string
	opts      observer.Options
	exchanges []exchange
	want      []string
}

func (tc row) run(t *testing.T) *watched {
	opts := tc.opts
	opts.IncludeReferences = true
	w := watch(t, scripted(t, tc.exchanges), &opts)
	for _, x := range tc.exchanges {
		resp := w.do(t, x.method, x.path, x.body, x.header...)
		if want := max(x.status, 200); resp.StatusCode != want {
			t.Errorf("%s %s: status %d, want %d", x.method, x.path, resp.StatusCode, want)
		}
	}
	w.end()
	if diff := cmp.Diff(tc.want, briefs(t, w.events.Events())); diff != "" {
		t.Errorf("events, -want +got:\n%s", diff)
	}
	for _, e := range w.events.Events() {
		if e.Provenance.Format != observer.Format {
			t.Errorf("provenance %+v", e.Provenance)
		}
	}
	return w
}

func runRows(t *testing.T, rows []row) {
	for _, tc := range rows {
		t.Run(tc.name, func(t *testing.T) { t.Parallel(); tc.run(t) })
	}
}

// header joins names and values.
func header(pairs ...[]string) []string { return slices.Concat(pairs...) }
