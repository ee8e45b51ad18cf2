package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/admin/admintest"
	"github.com/regcast/regcast/cmd/internal/client"
	"github.com/regcast/regcast/config"
)

// A client stands in for the dispatcher that it asks.
var _ interface {
	admin.EndpointControl
	admin.Events
	admin.DeadLetters
	admin.Jobs
	admin.Quarantine
	Reload(context.Context) error
	Log(context.Context, admin.LogQuery) ([]admin.Operation, error)
} = (*client.Client)(nil)

const token = "operator-secret"

func fine() error { return nil }

func handler(d admin.Dispatcher) *admin.Handler {
	return admin.NewHandler(&admin.Options{
		Healthy: fine, Ready: fine, Gatherer: prometheus.NewRegistry(), Dispatcher: d,
		Tokens: func() []admin.Token { return []admin.Token{{Name: "ops", Role: admin.Operate, Value: token}} },
	})
}

// connect returns a client of h.
func connect(t *testing.T, h http.Handler) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL, &client.Options{Token: token, HTTP: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func at(second int) time.Time { return time.Date(2026, 11, 21, 8, 0, second, 1, time.UTC) }

func dispatcher() *admintest.Dispatcher {
	job := admin.Job{ID: "job/1", Kind: "replay", Endpoint: "audit", State: admin.JobRunning, Created: at(1), Total: 9}
	d := &admintest.Dispatcher{
		EndpointList: []admin.Endpoint{{Name: "audit", State: "ok"}, {Name: "scan", State: "down", Cause: "refused", Since: at(2)}},
		DeadList: []admin.DeadLetter{
			{ID: 1, Endpoint: "audit", Buried: at(3), Excerpt: admin.Text("\xff"), Raw: json.RawMessage(`{"id":"e1"}`)},
			{ID: 2, Endpoint: "audit", Buried: at(4)},
		},
		JobList:        []admin.Job{job},
		QuarantineList: []admin.Quarantined{{ID: 4, Received: at(5), Body: admin.Text("{")}},
		Pong:           admin.Pong{ID: "p", Status: 500, Error: "it fails"},
		Outcome:        admin.Outcome{Count: 9, Job: &job},
		Filled:         admin.Backfilled{Accepted: 3, Duplicates: 1},
	}
	for n := uint64(2500); n > 0; n-- {
		d.EventList = append(d.EventList, admin.EventStory{Event: admin.Event{Sequence: n, Stored: at(6), ID: fmt.Sprintf("e/%d", n), Action: "push"}})
	}
	return d
}

// TestCalls asks everything there is, and looks at both ends of the wire.
func TestCalls(t *testing.T) {
	d := dispatcher()
	ctx := t.Context()
	selection := admin.Selection{IDs: []string{"a&b", "c"}, Repository: "team/**", Tag: "v*", Action: "push", Actor: "ann", Digest: "sha256:ab", Since: at(1), Until: at(2)}
	listed := d.DeadList[0]
	listed.Raw, listed.Excerpt = nil, nil
	body := d.QuarantineList[0]
	body.Body = nil
	canceled := d.JobList[0]
	canceled.State = admin.JobCanceled
	for _, tt := range []struct {
		name string
		call func(*client.Client) (any, error)
		want any
		asks string
	}{
		{"Endpoints", func(c *client.Client) (any, error) { return c.Endpoints(ctx) }, d.EndpointList, ""},
		{"Endpoint", func(c *client.Client) (any, error) { return c.Endpoint(ctx, "scan") }, d.EndpointList[1], ""},
		{"Pause", func(c *client.Client) (any, error) { return nil, c.Control(ctx, "scan", admin.Pause) }, nil, `Control "scan" "pause"`},
		{"Resume", func(c *client.Client) (any, error) { return nil, c.Control(ctx, "scan", admin.Resume) }, nil, `Control "scan" "resume"`},
		{"Disable", func(c *client.Client) (any, error) { return nil, c.Control(ctx, "scan", admin.Disable) }, nil, `Control "scan" "disable"`},
		{"Enable", func(c *client.Client) (any, error) { return nil, c.Control(ctx, "scan", admin.Enable) }, nil, `Control "scan" "enable"`},
		{"Forget", func(c *client.Client) (any, error) { return nil, c.Control(ctx, "scan", admin.Forget) }, nil, `Control "scan" "forget"`},
		{"Ping", func(c *client.Client) (any, error) { return c.Ping(ctx, "audit", "mount") }, d.Pong, `Ping "audit" "mount"`},
		{
			"Events", func(c *client.Client) (any, error) {
				return c.Events(ctx, admin.EventQuery{Selection: selection, Limit: 3, After: 9})
			}, []admin.Event(nil),
			`Events {"ids":["a\u0026b","c"],"repository":"team/**","tag":"v*","action":"push","actor":"ann","digest":"sha256:ab","since":"2026-11-21T08:00:01.000000001Z","until":"2026-11-21T08:00:02.000000001Z","Limit":4,"After":9}`,
		},
		{"Event", func(c *client.Client) (any, error) { return c.Event(ctx, "e/7") }, admin.EventStory{Event: d.EventList[2500-7].Event, Places: []admin.Place{}, Attempts: []admin.Attempt{}}, `Event "e/7"`},
		{
			"DeadLetters", func(c *client.Client) (any, error) {
				return c.DeadLetters(ctx, admin.DeadQuery{DeadSelection: admin.DeadSelection{IDs: []uint64{1}, Endpoint: "audit", Reason: "rejected", Repository: "a*"}})
			}, []admin.DeadLetter{listed},
			`DeadLetters {"ids":[1],"endpoint":"audit","reason":"rejected","repository":"a*","Limit":101,"After":0}`,
		},
		{"DeadLetter", func(c *client.Client) (any, error) { return c.DeadLetter(ctx, 1) }, d.DeadList[0], `DeadLetters {"ids":[1],"Limit":1,"After":0}`},
		{"ReplayDead", func(c *client.Client) (any, error) {
			return c.ReplayDead(ctx, admin.DeadRequest{All: true, Rate: 0.5})
		}, d.Outcome, `ReplayDead {"all":true,"rate":0.5}`},
		{"DropDead", func(c *client.Client) (any, error) {
			return c.DropDead(ctx, admin.DeadRequest{All: true, DryRun: true})
		}, d.Outcome, `DropDead {"all":true,"dry_run":true}`},
		{"Replay", func(c *client.Client) (any, error) {
			return c.Replay(ctx, admin.ReplayRequest{Endpoint: "audit", Selection: selection, Limit: 5})
		}, d.Outcome, `Replay {"endpoint":"audit","ids":["a\u0026b","c"],"repository":"team/**","tag":"v*","action":"push","actor":"ann","digest":"sha256:ab","since":"2026-11-21T08:00:01.000000001Z","until":"2026-11-21T08:00:02.000000001Z","limit":5}`},
		{"Jobs", func(c *client.Client) (any, error) { return c.Jobs(ctx) }, d.JobList, ""},
		{"Job", func(c *client.Client) (any, error) { return c.Job(ctx, "job/1") }, d.JobList[0], ""},
		{"CancelJob", func(c *client.Client) (any, error) { return c.CancelJob(ctx, "job/1") }, canceled, `CancelJob "job/1"`},
		{
			"Quarantined", func(c *client.Client) (any, error) {
				return c.Quarantined(ctx, admin.QuarantineQuery{QuarantineSelection: admin.QuarantineSelection{IDs: []uint64{4}, Reason: "syntax"}, Limit: 1, After: 3})
			}, []admin.Quarantined{body}, `Quarantined {"ids":[4],"reason":"syntax","Limit":2,"After":3}`,
		},
		{"QuarantinedBody", func(c *client.Client) (any, error) { return c.QuarantinedBody(ctx, 4) }, d.QuarantineList[0], `Quarantined {"ids":[4],"Limit":1,"After":0}`},
		{"RetryQuarantined", func(c *client.Client) (any, error) {
			return c.RetryQuarantined(ctx, admin.QuarantineRequest{QuarantineSelection: admin.QuarantineSelection{IDs: []uint64{4}}})
		}, d.Outcome, `RetryQuarantined {"ids":[4]}`},
		{"DropQuarantined", func(c *client.Client) (any, error) {
			return c.DropQuarantined(ctx, admin.QuarantineRequest{All: true})
		}, d.Outcome, `DropQuarantined {"all":true}`},
		{"Backfill", func(c *client.Client) (any, error) {
			return c.Backfill(ctx, admin.BackfillRequest{From: "https://r", Endpoints: []string{"audit"}, Step: admin.BackfillStore, Found: []admin.Found{{Repository: "a", Digest: "sha256:ab", Size: 2}}})
		}, d.Filled, `Backfill "ops" {"from":"https://r","endpoints":["audit"],"step":"store","found":[{"repository":"a","digest":"sha256:ab","size":2}]}`},
		{"Reload", func(c *client.Client) (any, error) { return nil, c.Reload(ctx) }, nil, `Reload {}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, handler(d))
			got, err := tt.call(c)
			if err != nil {
				t.Fatal(err)
			}
			if tt.name == "Events" && len(got.([]admin.Event)) == 0 {
				got = []admin.Event(nil)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if asked := strings.Join(d.Calls(), "\n"); asked != tt.asks {
				t.Errorf("the dispatcher was asked\n%s\nwant\n%s", asked, tt.asks)
			}
		})
	}
}

func TestListingsAreRead(t *testing.T) {
	d := dispatcher()
	c := connect(t, handler(d))
	for _, tt := range []struct {
		limit, want int
		asks        string
	}{
		{0, 100, "101"},
		{1, 1, "2"},
		{1000, 1000, "1001"},
		{1001, 1001, "1001 2"},
		{5000, 2500, "1001 1001 1001"},
	} {
		events, err := c.Events(t.Context(), admin.EventQuery{Limit: tt.limit})
		if err != nil || len(events) != tt.want {
			t.Errorf("limit %d: %d events, %v, want %d", tt.limit, len(events), err, tt.want)
		}
		for i, e := range events {
			if e.Sequence != uint64(2500-i) {
				t.Fatalf("limit %d: event %d is %d", tt.limit, i, e.Sequence)
			}
		}
		var asked []string
		for _, call := range d.Calls() {
			var q struct{ Limit int }
			if err := json.Unmarshal([]byte(strings.TrimPrefix(call, "Events ")), &q); err != nil {
				t.Fatal(err)
			}
			asked = append(asked, fmt.Sprint(q.Limit))
		}
		if got := strings.Join(asked, " "); got != tt.asks {
			t.Errorf("limit %d: pages of %s, want %s", tt.limit, got, tt.asks)
		}
	}
	for range 3 {
		if err := c.Control(t.Context(), "audit", admin.Pause); err != nil {
			t.Fatal(err)
		}
	}
	log, err := c.Log(t.Context(), admin.LogQuery{Limit: 2})
	if err != nil || len(log) != 2 || log[0].ID != 3 || log[1].Token != "ops" {
		t.Errorf("log %+v, %v", log, err)
	}
}

func TestErrorsComeBack(t *testing.T) {
	for _, want := range []error{admin.ErrInvalid, admin.ErrNotFound, admin.ErrConflict, admin.ErrUnsupported} {
		d := dispatcher()
		d.Errs = map[string]error{"Endpoints": fmt.Errorf("endpoint x: %w", want), "Stream": want, "Log": want}
		c := connect(t, handler(d))
		_, err := c.Endpoints(t.Context())
		if !errors.Is(err, want) || err.Error() != "endpoint x: "+want.Error() {
			t.Errorf("%v came back as %v", want, err)
		}
		for _, other := range []error{admin.ErrInvalid, admin.ErrNotFound, admin.ErrConflict, admin.ErrUnsupported, io.EOF} {
			if other != want && errors.Is(err, other) {
				t.Errorf("%v came back as %v", want, other)
			}
		}
		if _, err := c.Stream(t.Context(), admin.EventQuery{}); !errors.Is(err, want) {
			t.Errorf("Stream: %v came back as %v", want, err)
		}
		if _, err := c.Log(t.Context(), admin.LogQuery{}); !errors.Is(err, want) {
			t.Errorf("Log: %v came back as %v", want, err)
		}
	}
}

func TestProblemsOfTheConfigurationComeBack(t *testing.T) {
	d := dispatcher()
	d.Errs = map[string]error{"Reload": config.Problems{{File: "regcast.toml", Line: 3, Path: "endpoint[0].url", Message: "missing"}, {Message: "empty"}}}
	err := connect(t, handler(d)).Reload(t.Context())
	want := "the configuration has problems; nothing was reloaded\nregcast.toml:3: endpoint[0].url: missing\nempty"
	e, ok := errors.AsType[*client.Error](err)
	if !ok || err.Error() != want || len(e.Problems) != 2 || e.Status != 422 {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestStream(t *testing.T) {
	d := dispatcher()
	d.Live = make(chan admin.Event, 3)
	c := connect(t, handler(d))
	events, err := c.Stream(t.Context(), admin.EventQuery{Selection: admin.Selection{Action: "push"}, After: 3})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`Stream {"action":"push","Limit":0,"After":3}`}, d.Calls()); diff != "" {
		t.Errorf("the dispatcher was asked (-want +got):\n%s", diff)
	}
	long := admin.Event{Sequence: 5, Raw: json.RawMessage(`{"x":"` + strings.Repeat("y", 1<<20) + `"}`)}
	d.Live <- admin.Event{Sequence: 4, ID: "e4", Raw: json.RawMessage(`{"id":"e4"}`)}
	d.Live <- long
	close(d.Live)
	var got []uint64
	for e, err := range events {
		if err != nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("ended with %v", err)
			}
			got = append(got, 0)
			continue
		}
		if e.Sequence == 5 && len(e.Raw) != len(long.Raw) {
			t.Errorf("a long event came as %d bytes", len(e.Raw))
		}
		got = append(got, e.Sequence)
	}
	if diff := cmp.Diff([]uint64{4, 5, 0}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestStreamWithALimitEndsWithoutError(t *testing.T) {
	d := dispatcher()
	d.Live = make(chan admin.Event, 2)
	d.Live <- admin.Event{Sequence: 4}
	d.Live <- admin.Event{Sequence: 5}
	events, err := connect(t, handler(d)).Stream(t.Context(), admin.EventQuery{Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, events); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

func count(t *testing.T, events iter.Seq2[admin.Event, error]) (n int) {
	t.Helper()
	for _, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// A closing transport remembers whether the body of the last answer was closed.
type closing struct {
	http.RoundTripper
	body *closed
}

type closed struct {
	io.ReadCloser
	yes bool
}

func (t *closing) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		t.body = &closed{ReadCloser: res.Body}
		res.Body = t.body
	}
	return res, err
}

func (c *closed) Close() error {
	c.yes = true
	return c.ReadCloser.Close()
}

func TestStreamIsLeft(t *testing.T) {
	d := dispatcher()
	d.Live = make(chan admin.Event, 1)
	d.Live <- admin.Event{Sequence: 4}
	srv := httptest.NewServer(handler(d))
	defer srv.Close()
	transport := &closing{RoundTripper: srv.Client().Transport}
	c, err := client.New(srv.URL, &client.Options{Token: token, HTTP: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	events, err := c.Stream(t.Context(), admin.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if transport.body.yes {
		t.Fatal("closed before it was read")
	}
	defer func() {
		if !transport.body.yes {
			t.Error("it goes on though nobody reads it")
		}
	}()
	for _, err := range events {
		if err != nil {
			t.Error(err)
		}
		break
	}
}

func TestStreamIsCanceled(t *testing.T) {
	d := dispatcher()
	d.Live = make(chan admin.Event, 1)
	d.Live <- admin.Event{Sequence: 4}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := connect(t, handler(d)).Stream(ctx, admin.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, last = range events {
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("ended with %v", last)
	}
}

func TestStreamThatFails(t *testing.T) {
	d := dispatcher()
	d.Live = make(chan admin.Event)
	close(d.Live)
	d.Errs = map[string]error{"streaming": errors.New("disk on fire")}
	events, err := connect(t, handler(d)).Stream(t.Context(), admin.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range events {
		if n++; err == nil || err.Error() != "disk on fire" {
			t.Errorf("ended with %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d pairs, want one", n)
	}
}

// What answers may be something else altogether.
func TestOtherServers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve http.HandlerFunc
		want  string
	}{
		{"404 of another server", http.NotFound, "is it the admin address?"},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "is not what regcast answers"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example", http.StatusFound)
		}, "302 Found"},
		{"JSON of others", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); fmt.Fprint(w, `{"message":"x"}`) }, "500 Internal"},
		{"ends early", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"items":[`)
		}, "reading the answer"},
		{"an event of others", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "data: x\n\n") }, "not what regcast"},
		{"a failure of others", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "event: error\ndata: x\n\n") }, "not what regcast"},
	} {
		c := connect(t, tt.serve)
		_, err := c.Endpoints(t.Context())
		if strings.HasSuffix(tt.name, "of others") && err != nil && tt.name != "JSON of others" {
			var events iter.Seq2[admin.Event, error]
			if events, err = c.Stream(t.Context(), admin.EventQuery{}); err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				err = e
			}
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	c, err := client.New(srv.URL, &client.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Event(t.Context(), "e1")
	if err == nil || !strings.HasPrefix(err.Error(), "asking "+srv.URL+": ") || strings.Contains(err.Error(), "api/v1") || strings.Contains(err.Error(), token) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Jobs(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func TestRequestsSayWhoAsks(t *testing.T) {
	var got http.Header
	var path string
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, path = r.Header, r.URL.EscapedPath() })
	srv := httptest.NewServer(h)
	defer srv.Close()
	c, err := client.New(srv.URL+"/behind/a%20proxy/", &client.Options{HTTP: srv.Client(), UserAgent: "regcast/1.2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Control(t.Context(), "a/b c", admin.Pause); err != nil {
		t.Fatal(err)
	}
	if want := "/behind/a%20proxy/api/v1/endpoints/a%2Fb%20c/pause"; path != want {
		t.Errorf("asked %s, want %s", path, want)
	}
	if got.Get("User-Agent") != "regcast/1.2" || got.Get("Accept") != "application/json" || got.Values("Authorization") != nil {
		t.Errorf("sent %v", got)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:8411", "localhost:8411", "ftp://host", "http://", "/x", "http://user:password@host", "http://host?x=y", "http://host#x", "http://[::1", "\x00"} {
		c, err := client.New(base, nil)
		if err == nil || strings.Contains(err.Error(), "password@") {
			t.Errorf("%q: %v, %v", base, c, err)
		}
	}
}

func Example() {
	srv := httptest.NewServer(handler(&admintest.Dispatcher{
		EndpointList: []admin.Endpoint{{Name: "audit", State: "down", Cause: "connection refused", Pending: 42}},
	}))
	defer srv.Close()
	c, err := client.New(srv.URL, &client.Options{Token: token, HTTP: srv.Client()})
	if err != nil {
		fmt.Println(err)
		return
	}
	all, err := c.Endpoints(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range all {
		fmt.Printf("%s is %s: %s; %d events wait\n", e.Name, e.State, e.Cause, e.Pending)
	}
	// Output: audit is down: connection refused; 42 events wait
}
