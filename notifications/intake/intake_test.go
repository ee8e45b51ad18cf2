package intake_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/intake"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is an engine that keeps everything, or answers with err.
type store struct {
	mu     sync.Mutex
	events []*notifications.Event
	bad    []notifications.Quarantined
	err    func(events []*notifications.Event) error
}

func (s *store) Record(_ context.Context, events []*notifications.Event, bad []notifications.Quarantined) (notifications.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		if err := s.err(events); err != nil {
			return notifications.Receipt{}, err
		}
	}
	s.events = append(s.events, events...)
	s.bad = append(s.bad, bad...)
	return notifications.Receipt{Accepted: len(events), Quarantined: len(bad)}, nil
}

// A rig is a handler over a store, behind a real socket.
type rig struct {
	*store
	handler *intake.Handler
	server  *httptest.Server
	url     string
	metrics *prometheus.Registry
}

func newRig(t testing.TB, opts intake.Options) *rig {
	t.Helper()
	r := &rig{store: new(store), metrics: prometheus.NewRegistry()}
	opts.Registerer = r.metrics
	r.handler = intake.NewHandler(r.store, &opts)
	r.server = httptest.NewUnstartedServer(r.handler)
	r.server.Config = intake.NewServer(r.handler)
	r.server.Start()
	t.Cleanup(r.server.Close)
	r.url = r.server.URL + intake.Path
	return r
}

// post sends body and returns the status and the body of the answer.
func (r *rig) post(t testing.TB, contentType string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.url, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return r.do(t, req)
}

func (r *rig) do(t testing.TB, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := r.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}

// metric reads the sum of a metric over the label value, "" for all of its label sets.
func (r *rig) metric(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				found = true
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	if !found {
		t.Fatalf("no metric %s{%s}", name, label)
	}
	return sum
}

func answer(accepted, duplicates, quarantined int) string {
	return fmt.Sprintf(`{"accepted":%d,"duplicates":%d,"quarantined":%d}`+"\n", accepted, duplicates, quarantined)
}

func envelope(events ...*notifications.Event) string {
	return string(notifications.IndentEnvelope(nil, notifications.AppendEnvelope(nil, events)))
}

var push = notificationstest.Push("team/app", "v1", 1)

func TestAccepted(t *testing.T) {
	bare := string(push.AppendJSON(nil))
	tests := map[string]struct{ contentType, body, want string }{
		"an envelope of v3":        {notifications.MediaTypeV2, envelope(push), answer(1, 0, 0)},
		"an envelope of v2.8":      {notifications.MediaTypeV1, string(notifications.AppendEnvelopeV1(nil, []*notifications.Event{push})), answer(1, 0, 0)},
		"plain JSON":               {"application/json", envelope(push), answer(1, 0, 0)},
		"a parameter":              {"application/json; charset=utf-8", envelope(push), answer(1, 0, 0)},
		"no content type":          {"", envelope(push), answer(1, 0, 0)},
		"a bare event":             {notifications.MediaTypeV2, bare, answer(1, 0, 0)},
		"several events":           {notifications.MediaTypeV2, envelope(notificationstest.Pushes(0, 250, "a", "b")...), answer(250, 0, 0)},
		"a sound one beside a bad": {"application/json", `{"events":[` + bare + `,{"action":"push"}]}`, answer(1, 0, 1)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, intake.Options{})
			resp, got := r.post(t, test.contentType, strings.NewReader(test.body))
			if resp.StatusCode != http.StatusAccepted || got != test.want {
				t.Errorf("got %s %s, want 202 %s", resp.Status, got, test.want)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("the answer is %s", ct)
			}
			for _, e := range r.events {
				if e.Provenance != (notifications.Provenance{Format: "distribution", Sender: "127.0.0.1"}) {
					t.Errorf("the event came by %+v", e.Provenance)
				}
			}
			if got := r.metric(t, "regcast_intake_events_total", "distribution"); int(got) != len(r.events) {
				t.Errorf("counted %v events, want %d", got, len(r.events))
			}
			if age := float64(time.Now().Unix()) - r.metric(t, "regcast_intake_last_event_timestamp_seconds", "distribution"); age > 60 {
				t.Errorf("the last event is %v s old", age)
			}
			if got := r.metric(t, "regcast_intake_ack_seconds", ""); got != 1 {
				t.Errorf("observed %v acknowledgements, want 1", got)
			}
		})
	}
}

// A registry whose URL ends in a slash must not be told 404: it would keep its events and
// send them again for ever.
func TestTrailingSlash(t *testing.T) {
	r := newRig(t, intake.Options{})
	r.url += "/"
	if resp, got := r.post(t, notifications.MediaTypeV2, strings.NewReader(envelope(push))); got != answer(1, 0, 0) {
		t.Errorf("got %s %s", resp.Status, got)
	}
}

func TestQuarantined(t *testing.T) {
	tests := map[string]struct {
		contentType, encoding, body string
		want                        notifications.Reason
	}{
		"nothing":             {"application/json", "", "", notifications.ReasonSyntax},
		"garbage":             {"application/json", "", "\x00\xff\x17{{{", notifications.ReasonSyntax},
		"cut off":             {"application/json", "", envelope(push)[:100], notifications.ReasonSyntax},
		"not UTF-8":           {"application/json", "", strings.Replace(envelope(push), "team/app", "te\xffam", 1), notifications.ReasonSyntax},
		"deeply nested":       {"application/json", "", strings.Repeat(`{"events":[`, 200_000), notifications.ReasonSyntax},
		"an array":            {"application/json", "", "[]", notifications.ReasonSyntax},
		"no event":            {"application/json", "", `{"events":[]}`, notifications.ReasonNoEvents},
		"no repository":       {"application/json", "", `{"events":[{"action":"push"}]}`, notifications.ReasonIncomplete},
		"a bad name":          {"application/json", "", strings.ReplaceAll(envelope(push), "team/app", "TEAM//app"), notifications.ReasonName},
		"a bad digest":        {"application/json", "", strings.Replace(envelope(push), `"digest": "sha256:`, `"digest": "sha256-`, 1), notifications.ReasonDigest},
		"a form, as of curl":  {"application/x-www-form-urlencoded", "", envelope(push), notifications.ReasonContentType},
		"CloudEvents":         {"application/cloudevents+json", "", "{}", notifications.ReasonContentType},
		"a broken media type": {"application/", "", envelope(push), notifications.ReasonContentType},
		"compressed":          {"application/json", "gzip", "\x1f\x8b", notifications.ReasonContentType},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, intake.Options{})
			req, err := http.NewRequest(http.MethodPost, r.url, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", test.contentType)
			if test.encoding != "" {
				req.Header.Set("Content-Encoding", test.encoding)
			}
			resp, got := r.do(t, req)
			if resp.StatusCode != http.StatusAccepted || got != answer(0, 0, 1) {
				t.Errorf("got %s %s, want 202 %s", resp.Status, got, answer(0, 0, 1))
			}
			if len(r.bad) != 1 || r.bad[0].Reason != test.want {
				t.Fatalf("quarantined %+v, want one for %s", r.bad, test.want)
			}
			q := r.bad[0]
			if q.Detail == "" || q.Provenance.Format != "distribution" || q.Provenance.Sender != "127.0.0.1" {
				t.Errorf("quarantined without saying why or whose: %+v", q)
			}
			if got := r.metric(t, "regcast_intake_quarantined_total", string(test.want)); got != 1 {
				t.Errorf("counted %v, want 1", got)
			}
			if got := r.metric(t, "regcast_intake_quarantined_total", ""); got != 1 {
				t.Errorf("counted %v over all reasons, want 1", got)
			}
		})
	}
}

func TestRepeats(t *testing.T) {
	engine := sinks.NewMemory(nil)
	defer engine.Shutdown(t.Context())
	reg := prometheus.NewRegistry()
	server := httptest.NewServer(intake.NewHandler(engine, &intake.Options{Registerer: reg}))
	defer server.Close()
	r := &rig{server: server, url: server.URL + intake.Path, metrics: reg}
	for _, want := range []string{answer(1, 0, 0), answer(0, 1, 0)} {
		if resp, got := r.post(t, "", strings.NewReader(envelope(push))); resp.StatusCode != http.StatusAccepted || got != want {
			t.Errorf("got %s %s, want %s", resp.Status, got, want)
		}
	}
	if got := r.metric(t, "regcast_intake_duplicates_total", ""); got != 1 {
		t.Errorf("counted %v duplicates, want 1", got)
	}
	if got := r.metric(t, "regcast_intake_events_total", ""); got != 1 {
		t.Errorf("counted %v events, want 1", got)
	}
}

// GitLab's registry sends a bearer token as actor.user.
func TestRedacted(t *testing.T) {
	body := strings.Replace(envelope(push), `"actor": {`, `"actor": { "user": "eyJhbGciOi.secret.token",`, 1)
	tests := map[string]struct {
		contentType, body string
		permanent         bool
	}{
		"stored":                {"application/json", body, false},
		"unreadable":            {"application/json", body[:len(body)-3], false},
		"of another type":       {"text/plain", body, false},
		"too large":             {"application/json", body + strings.Repeat(" ", 100_000), false},
		"refused by the engine": {"application/json", body, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, intake.Options{MaxBody: 50_000})
			r.err = func(events []*notifications.Event) error {
				if test.permanent && len(events) > 0 {
					return notifications.Permanent(errors.New("never"))
				}
				return nil
			}
			if resp, got := r.post(t, test.contentType, strings.NewReader(test.body)); resp.StatusCode != http.StatusAccepted {
				t.Fatalf("got %s %s", resp.Status, got)
			}
			stored := ""
			for _, e := range r.events {
				stored += string(e.AppendJSON(nil))
			}
			for _, q := range r.bad {
				stored += string(q.Body)
			}
			if strings.Contains(stored, "secret") || !strings.Contains(stored, "team/app") {
				t.Errorf("stored %s", stored)
			}
			if got := r.metric(t, "regcast_intake_redacted_total", ""); got != 1 {
				t.Errorf("counted %v, want 1", got)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	tests := map[string]struct {
		method, path string
		err          error
		refuse       bool
		code         int
		header, want string
		text         string // in the answer
	}{
		"not POST":            {method: http.MethodGet, path: "/events", code: 405, header: "Allow", want: "POST"},
		"another path":        {method: http.MethodPost, path: "/", code: 404},
		"a format to come":    {method: http.MethodPost, path: "/events/harbor", code: 404, text: "not yet available in this version"},
		"an unknown format":   {method: http.MethodPost, path: "/events/habour/", code: 404, text: `no inbound format "habour"`},
		"a full engine":       {method: http.MethodPost, path: "/events", err: fmt.Errorf("disk: %w", notifications.ErrFull), code: 503, header: "Retry-After", want: "5"},
		"a closed engine":     {method: http.MethodPost, path: "/events", err: notifications.ErrClosed, code: 503, header: "Retry-After", want: "5"},
		"a broken engine":     {method: http.MethodPost, path: "/events", err: io.ErrUnexpectedEOF, code: 503, header: "Retry-After", want: "5"},
		"a stopping handler":  {method: http.MethodPost, path: "/events", refuse: true, code: 503, header: "Retry-After", want: "5"},
		"an engine's details": {method: http.MethodPost, path: "/events", err: fmt.Errorf("open /secret/path"), code: 503},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, intake.Options{})
			r.err = func([]*notifications.Event) error { return test.err }
			if test.refuse {
				r.handler.Refuse()
			}
			req, err := http.NewRequest(test.method, r.server.URL+test.path, strings.NewReader(envelope(push)))
			if err != nil {
				t.Fatal(err)
			}
			resp, got := r.do(t, req)
			if resp.StatusCode != test.code {
				t.Errorf("got %s %s, want %d", resp.Status, got, test.code)
			}
			if h := resp.Header.Get(test.header); h != test.want {
				t.Errorf("%s is %q, want %q", test.header, h, test.want)
			}
			if strings.Contains(got, "secret") || strings.TrimSpace(got) == "" || !strings.Contains(got, test.text) {
				t.Errorf("the answer says %q", got)
			}
			if n := r.metric(t, "regcast_intake_refused_total", fmt.Sprint(test.code)); n != 1 {
				t.Errorf("counted %v, want 1", n)
			}
			if len(r.events)+len(r.bad) != 0 {
				t.Error("something was stored")
			}
		})
	}
}

// What an engine will never take must not come back for ever.
func TestPermanentlyRefusedIsQuarantined(t *testing.T) {
	r := newRig(t, intake.Options{})
	r.err = func(events []*notifications.Event) error {
		if len(events) > 0 {
			return notifications.Permanent(fmt.Errorf("an event larger than a message may be"))
		}
		return nil
	}
	resp, got := r.post(t, "", strings.NewReader(envelope(push)))
	if resp.StatusCode != http.StatusAccepted || got != answer(0, 0, 1) {
		t.Fatalf("got %s %s", resp.Status, got)
	}
	if q := r.bad[0]; q.Reason != notifications.ReasonTooLarge || !strings.Contains(q.Detail, "larger than a message") || string(q.Body) != envelope(push) {
		t.Errorf("quarantined %+v", q)
	}
	if n := r.metric(t, "regcast_intake_events_total", ""); n != 0 {
		t.Errorf("counted %v events", n)
	}
	if n := r.metric(t, "regcast_intake_quarantined_total", "too_large"); n != 1 {
		t.Errorf("counted %v quarantined", n)
	}
}

// An engine that fails is logged when it begins and when it ends, not for each request
// and not for each that is stored in between.
func TestFailingIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := new(store)
		h := intake.NewHandler(s, &intake.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		post := func(err error) {
			s.err = func([]*notifications.Event) error { return err }
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, intake.Path, strings.NewReader(envelope(push))))
		}
		lines := func(want int) {
			t.Helper()
			if got := strings.Count(log.String(), "\n"); got != want {
				t.Fatalf("logged %d lines, want %d:\n%s", got, want, log.String())
			}
		}
		post(nil)
		lines(0)
		for range 20 {
			for _, err := range []error{notifications.ErrFull, nil, errors.New("disk"), nil} {
				post(err)
				time.Sleep(time.Second)
			}
		}
		lines(1)
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "sink full") {
			t.Errorf("logged %s", log.String())
		}
		time.Sleep(9 * time.Second)
		post(nil)
		post(nil)
		lines(2)
		post(notifications.ErrFull)
		lines(3)
	})
}

func TestMetricsStartAtZero(t *testing.T) {
	r := newRig(t, intake.Options{})
	for _, reason := range notifications.Reasons() {
		if r.metric(t, "regcast_intake_quarantined_total", string(reason)) != 0 {
			t.Errorf("%s is not zero", reason)
		}
	}
	for _, name := range []string{"regcast_intake_events_total", "regcast_intake_last_event_timestamp_seconds", "regcast_intake_duplicates_total", "regcast_intake_refused_total", "regcast_intake_redacted_total", "regcast_intake_ack_seconds"} {
		if got := r.metric(t, name, ""); got != 0 {
			t.Errorf("%s starts at %v", name, got)
		}
	}
}

func TestConcurrentSenders(t *testing.T) {
	const senders, each = 16, 40
	r := newRig(t, intake.Options{})
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				e := notificationstest.Push("team/app", "v1", s*each+i)
				req, err := http.NewRequest(http.MethodPost, r.url, strings.NewReader(envelope(e)))
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := r.server.Client().Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				got, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(got) != answer(1, 0, 0) {
					t.Errorf("got %s", got)
				}
			}
		})
	}
	wg.Wait()
	seen := make(map[int]bool)
	for _, e := range r.events {
		seen[notificationstest.Number(e)] = true
		if !strings.Contains(string(e.AppendJSON(nil)), e.ID) {
			t.Errorf("event %s holds the JSON of another", e.ID)
		}
	}
	if len(seen) != senders*each {
		t.Errorf("stored %d different events, want %d", len(seen), senders*each)
	}
}

// The buffers of bodies are used again; what was stored must not change with them.
func TestStoredSurvivesTheBuffer(t *testing.T) {
	r := newRig(t, intake.Options{})
	bad := "this is not an event " + strings.Repeat("x", 1000)
	for range 20 {
		r.post(t, "", strings.NewReader(envelope(push)))
		r.post(t, "", strings.NewReader(bad))
		r.post(t, "text/plain", strings.NewReader(bad))
		r.post(t, "", strings.NewReader(strings.Repeat("y", 3000)))
	}
	want := string(push.AppendJSON(nil))
	for _, e := range r.events {
		if got := string(e.AppendJSON(nil)); got != want {
			t.Fatalf("an event became %s", got)
		}
	}
	for i, q := range r.bad {
		if got := string(q.Body); got != bad && i%3 != 2 {
			t.Fatalf("body %d became %.80s", i, got)
		}
	}
}

// raw sends text on a connection of its own and returns the answers up to its end.
func (r *rig) raw(t *testing.T, text string) (*bufio.Reader, net.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(conn), conn
}
