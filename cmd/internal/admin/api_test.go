package admin_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/admin/admintest"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

const (
	operator = "operator-secret"
	reader   = "reader-secret"
)

func tokens() []admin.Token {
	return []admin.Token{
		{Name: "ops", Role: admin.Operate, Value: operator},
		{Name: "grafana", Role: admin.Read, Value: reader},
	}
}

func newHandler(d admin.Dispatcher, tokens func() []admin.Token) *admin.Handler {
	return admin.NewHandler(&admin.Options{
		Healthy: fine, Ready: fine, Gatherer: prometheus.NewRegistry(), Tokens: tokens, Dispatcher: d,
	})
}

// request makes a request of an operator; headers are pairs that come on top.
func request(method, path, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:8411"+admin.Prefix+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+operator)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	return r
}

func ask(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func at(second int) time.Time { return time.Date(2026, 11, 21, 8, 0, second, 0, time.UTC) }

// populated is a dispatcher with one of everything.
func populated() *admintest.Dispatcher {
	event := admin.Event{
		Sequence: 7, Stored: at(7), ID: "e7", Action: "push", Repository: "team/app", Tag: "v1",
		Raw: json.RawMessage(`{"id":"e7"}`),
	}
	return &admintest.Dispatcher{
		EndpointList: []admin.Endpoint{{Name: "audit", URL: "https://audit.example/hook", Format: "distribution", State: "ok", Delivered: 3, Pending: 1}},
		EventList: []admin.EventStory{{
			Event:    event,
			Places:   []admin.Place{{Endpoint: "audit", State: "delivered"}},
			Attempts: []admin.Attempt{{Endpoint: "audit", At: at(8), Number: 1, Events: 1, Status: 200, DurationSeconds: 0.5}},
		}},
		DeadList:       []admin.DeadLetter{{ID: 5, Endpoint: "audit", Reason: "rejected", Sequence: 7, Count: 1, EventID: "e7", Attempts: 2, Status: 422, Buried: at(9), Excerpt: admin.Text("no"), Raw: event.Raw}},
		JobList:        []admin.Job{{ID: "job1", Kind: "replay", Endpoint: "audit", State: admin.JobRunning, Created: at(10), Total: 10, Done: 4, Delivered: 3, Dead: 1}},
		QuarantineList: []admin.Quarantined{{ID: 3, Received: at(3), Reason: "syntax", Size: 2, Body: admin.Text("\xff{")}},
		Pong:           admin.Pong{ID: "p1", Status: 204, DurationSeconds: 0.25},
		Outcome:        admin.Outcome{Count: 2, Done: 2},
		Filled:         admin.Backfilled{After: "team/a", Accepted: 3, Duplicates: 1},
	}
}

const (
	endpointJSON = `{"name":"audit","url":"https://audit.example/hook","format":"distribution","state":"ok","pending":1,"parked":0,"oldest_pending_seconds":0,"in_flight":0,"delivered":3,"filtered":0,"dead":0,"dropped":0,"evicted":0,"retried":0}`
	eventJSON    = `{"sequence":7,"stored":"2026-11-21T08:00:07Z","id":"e7","action":"push","repository":"team/app","tag":"v1"`
	deadJSON     = `{"id":5,"endpoint":"audit","reason":"rejected","sequence":7,"count":1,"event_id":"e7","attempts":2,"status":422,"buried":"2026-11-21T08:00:09Z"`
	jobJSON      = `{"id":"job1","kind":"replay","endpoint":"audit","state":"running","created":"2026-11-21T08:00:10Z","total":10,"done":4,"delivered":3,"dead":1}`
	canceledJSON = `{"id":"job1","kind":"replay","endpoint":"audit","state":"canceled","created":"2026-11-21T08:00:10Z","total":10,"done":4,"delivered":3,"dead":1}`
	quarJSON     = `{"id":3,"received":"2026-11-21T08:00:03Z","reason":"syntax","size":2`
	outcomeJSON  = `{"count":2,"done":2}`
)

// TestRoutes asks every route once; TestEveryRouteIsTried holds it to that.
func TestRoutes(t *testing.T) {
	for _, tt := range routeTests() {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			d := populated()
			h := newHandler(d, tokens)
			w := ask(h, request(tt.method, tt.path, tt.body))
			want := tt.want
			if tt.status == 0 {
				tt.status = http.StatusOK
			}
			if want != "" {
				want += "\n"
			}
			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			if diff := cmp.Diff(want, w.Body.String()); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if want != "" && w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("Content-Type %q", w.Header().Get("Content-Type"))
			}
			if got := strings.Join(d.Calls(), "\n"); got != tt.call {
				t.Errorf("the dispatcher was asked\n%s\nwant\n%s", got, tt.call)
			}
			log, err := d.Log(t.Context(), admin.LogQuery{Limit: 9})
			if err != nil {
				t.Fatal(err)
			}
			if tt.logged.Action == "" {
				if len(log) > 0 {
					t.Errorf("logged %+v", log)
				}
				return
			}
			if len(log) != 1 || log[0].At.IsZero() || log[0].Ended.Before(log[0].At) {
				t.Fatalf("logged %+v, want one operation with its times", log)
			}
			tt.logged.ID, tt.logged.Token, tt.logged.At, tt.logged.Ended = 1, "ops", log[0].At, log[0].Ended
			if diff := cmp.Diff(tt.logged, log[0]); diff != "" {
				t.Errorf("logged (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryRouteIsTried(t *testing.T) {
	tried := map[string]bool{"GET /openapi.json": true, "GET /events/stream": true} // tests of their own
	for _, tt := range routeTests() {
		tried[tt.method+" "+tt.route] = true
	}
	for _, rt := range admin.Routes() {
		if !tried[rt.Method+" "+rt.Path] {
			t.Errorf("no test of %s %s", rt.Method, rt.Path)
		}
	}
}

type routeTest struct {
	method, route, path, body string

	status int // 0: 200
	want   string
	call   string
	logged admin.Operation
}

func routeTests() []routeTest {
	tests := []routeTest{
		{method: "GET", route: "/endpoints", path: "/endpoints", want: `{"items":[` + endpointJSON + `]}`},
		{method: "GET", route: "/endpoints/{name}", path: "/endpoints/audit", want: endpointJSON},
		{
			method: "POST", route: "/endpoints/{name}/ping", path: "/endpoints/audit/ping", body: `{"sample":"delete"}`,
			want: `{"id":"p1","status":204,"duration_seconds":0.25}`, call: `Ping "audit" "delete"`,
			logged: admin.Operation{Action: "ping", Endpoint: "audit", Request: json.RawMessage(`{"sample":"delete"}`)},
		},
		{
			method: "DELETE", route: "/endpoints/{name}", path: "/endpoints/audit", status: 204,
			call: `Control "audit" "forget"`, logged: admin.Operation{Action: "forget", Endpoint: "audit"},
		},
		{
			method: "GET", route: "/events",
			path: "/events?repository=team/**&tag=v*&action=push&actor=ann&digest=sha256:ab&since=2026-11-21T08:00:00Z&until=2026-11-21T10:00:00%2B01:00&limit=7&after=9&id=e7&id=e8",
			want: `{"items":[` + eventJSON + `}]}`,
			call: `Events {"ids":["e7","e8"],"repository":"team/**","tag":"v*","action":"push","actor":"ann","digest":"sha256:ab","since":"2026-11-21T08:00:00Z","until":"2026-11-21T10:00:00+01:00","Limit":8,"After":9}`,
		},
		{
			method: "GET", route: "/events/{id}", path: "/events/e7", call: `Event "e7"`,
			want: eventJSON + `,"event":{"id":"e7"},"places":[{"endpoint":"audit","state":"delivered"}],"attempts":[{"endpoint":"audit","at":"2026-11-21T08:00:08Z","number":1,"events":1,"status":200,"duration_seconds":0.5}]}`,
		},
		{
			method: "GET", route: "/dead", path: "/dead?endpoint=audit&reason=rejected&repository=team/*&id=5&id=6&limit=3&after=4",
			want: `{"items":[` + deadJSON + `}]}`,
			call: `DeadLetters {"ids":[5,6],"endpoint":"audit","reason":"rejected","repository":"team/*","Limit":4,"After":4}`,
		},
		{
			method: "GET", route: "/dead/{id}", path: "/dead/5", want: deadJSON + `,"excerpt":"no","event":{"id":"e7"}}`,
			call: `DeadLetters {"ids":[5],"Limit":1,"After":0}`,
		},
		{method: "GET", route: "/jobs", path: "/jobs", want: `{"items":[` + jobJSON + `]}`},
		{method: "GET", route: "/jobs/{id}", path: "/jobs/job1", want: jobJSON},
		{
			method: "DELETE", route: "/jobs/{id}", path: "/jobs/job1", want: canceledJSON,
			call: `CancelJob "job1"`, logged: admin.Operation{Action: "jobs cancel", Endpoint: "audit", Job: "job1", Count: 4},
		},
		{
			method: "GET", route: "/quarantine", path: "/quarantine?reason=syntax&id=3&limit=1&after=2", want: `{"items":[` + quarJSON + `}]}`,
			call: `Quarantined {"ids":[3],"reason":"syntax","Limit":2,"After":2}`,
		},
		{
			method: "GET", route: "/quarantine/{id}", path: "/quarantine/3", want: quarJSON + `,"body":{"base64":"/3s="}}`,
			call: `Quarantined {"ids":[3],"Limit":1,"After":0}`,
		},
		{method: "POST", route: "/reload", path: "/reload", status: 204, call: `Reload {}`, logged: admin.Operation{Action: "reload"}},
		{method: "GET", route: "/log", path: "/log?limit=2&after=9", want: `{"items":[]}`, call: `Log {"Limit":3,"After":9}`},
	}
	for _, action := range []string{"pause", "resume", "disable", "enable"} {
		tests = append(tests, routeTest{
			method: "POST", route: "/endpoints/{name}/" + action, path: "/endpoints/audit/" + action, want: endpointJSON,
			call: `Control "audit" "` + action + `"`, logged: admin.Operation{Action: action, Endpoint: "audit"},
		})
	}
	change := func(path, method, action, endpoint, body string) {
		tests = append(tests, routeTest{
			method: "POST", route: path, path: path, body: body, want: outcomeJSON, call: method + " " + body,
			logged: admin.Operation{Action: action, Endpoint: endpoint, Request: json.RawMessage(body), Count: 2},
		})
	}
	change("/dead/replay", "ReplayDead", "dead replay", "audit", `{"ids":[5],"endpoint":"audit","reason":"rejected","repository":"team/*","rate":2.5}`)
	change("/dead/drop", "DropDead", "dead drop", "", `{"all":true}`)
	change("/replay", "Replay", "replay", "audit", `{"endpoint":"audit","ids":["e7"],"repository":"team/*","tag":"v1","action":"push","actor":"ann","digest":"sha256:ab","since":"2026-11-21T08:00:00Z","until":"2026-11-21T09:00:00Z","limit":9,"rate":50}`)
	change("/quarantine/retry", "RetryQuarantined", "quarantine retry", "", `{"ids":[3],"reason":"syntax"}`)
	for _, step := range []string{"begin", "end"} {
		body := `{"from":"https://registry.example","endpoints":["audit"],"repositories":["team/**"],"step":"` + step + `"}`
		tests = append(tests, routeTest{
			method: "POST", route: "/backfill", path: "/backfill", body: body, want: `{"after":"team/a","accepted":3,"duplicates":1}`,
			call: `Backfill "ops" ` + body, logged: admin.Operation{Action: "backfill " + step, Request: json.RawMessage(body), Count: 3},
		})
	}
	change("/quarantine/drop", "DropQuarantined", "quarantine drop", "", `{"all":true}`)
	return tests
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	long := `{"ids":["` + strings.Repeat("x", admin.MaxBody) + `"]}`
	for _, tt := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		says                     string
	}{
		{name: "no route", method: "GET", path: "/endpoint", status: 404, says: "/api/v1/openapi.json"},
		{name: "below a route", method: "GET", path: "/jobs/1/2", status: 404, says: "no such route"},
		{name: "method", method: "PUT", path: "/dead/replay", status: 405, says: "GET or POST only"},
		{name: "method of a change", method: "POST", path: "/jobs/job1", status: 405, says: "GET or DELETE only"},
		{name: "parameter", method: "GET", path: "/events?repo=a", status: 400, says: `no parameter \"repo\"`},
		{name: "parameter of a plain list", method: "GET", path: "/endpoints?name=audit", status: 400, says: `no parameter`},
		{name: "query", method: "GET", path: "/events?a=%zz", status: 400, says: "the query"},
		{name: "twice", method: "GET", path: "/events?tag=a&tag=b", status: 400, says: "more than once"},
		{name: "limit 0", method: "GET", path: "/events?limit=0", status: 400, says: "1 to 1000"},
		{name: "limit 1001", method: "GET", path: "/dead?limit=1001", status: 400, says: "1 to 1000"},
		{name: "limit", method: "GET", path: "/log?limit=-1", status: 400, says: "not a number"},
		{name: "after", method: "GET", path: "/quarantine?after=x", status: 400, says: "not a number"},
		{name: "ids", method: "GET", path: "/dead?id=a", status: 400, says: "not a number"},
		{name: "since", method: "GET", path: "/events?since=yesterday", status: 400, says: "not a time such as 2006"},
		{name: "backwards", method: "GET", path: "/events?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", status: 400, says: "one before it"},
		{name: "glob", method: "GET", path: "/events?repository=", status: 200, says: "items"},
		{name: "no glob", method: "GET", path: "/events?repository=%5B", status: 400, says: "invalid"},
		{name: "stream parameter", method: "GET", path: "/events/stream?repo=a", status: 400, says: "no parameter"},
		{name: "stream place", method: "GET", path: "/events/stream", headers: []string{"Last-Event-ID", "x"}, status: 400, says: "Last-Event-ID"},
		{name: "no number", method: "GET", path: "/dead/x", status: 400, says: "not an id"},
		{name: "number 0", method: "GET", path: "/quarantine/0", status: 400, says: "not an id"},

		{name: "no such endpoint", method: "GET", path: "/endpoints/nobody", status: 404, says: "not found"},
		{name: "no such endpoint to pause", method: "POST", path: "/endpoints/nobody/pause", status: 404, says: "not found"},
		{name: "no such endpoint to ping", method: "POST", path: "/endpoints/nobody/ping", status: 404, says: "not found"},
		{name: "no such endpoint to forget", method: "DELETE", path: "/endpoints/nobody", status: 404, says: "not found"},
		{name: "no such event", method: "GET", path: "/events/nothing", status: 404, says: "not found"},
		{name: "no such dead letter", method: "GET", path: "/dead/99", status: 404, says: "dead letter 99: not found"},
		{name: "no such body", method: "GET", path: "/quarantine/99", status: 404, says: "quarantined body 99: not found"},
		{name: "no such job", method: "GET", path: "/jobs/99", status: 404, says: "not found"},
		{name: "no such job to cancel", method: "DELETE", path: "/jobs/99", status: 404, says: "not found"},

		{name: "no body", method: "POST", path: "/dead/drop", status: 400, says: "say which"},
		{name: "nothing selected", method: "POST", path: "/dead/drop", body: `{}`, status: 400, says: "say which"},
		{name: "nothing selected of quarantine", method: "POST", path: "/quarantine/retry", body: `{"dry_run":true}`, status: 400, says: "say which"},
		{name: "nothing selected to replay", method: "POST", path: "/replay", body: `{"endpoint":"audit","limit":5}`, status: 400, says: "say which"},
		{name: "all and some", method: "POST", path: "/dead/replay", body: `{"all":true,"endpoint":"audit"}`, status: 400, says: "exclude"},
		{name: "no endpoint", method: "POST", path: "/replay", body: `{"all":true}`, status: 400, says: "which endpoint"},
		{name: "negative", method: "POST", path: "/replay", body: `{"endpoint":"audit","all":true,"limit":-1}`, status: 400, says: "negative"},
		{name: "replay backwards", method: "POST", path: "/replay", body: `{"endpoint":"audit","since":"2026-01-02T00:00:00Z","until":"2026-01-01T00:00:00Z"}`, status: 400, says: "one before it"},
		{name: "rate", method: "POST", path: "/replay", body: `{"endpoint":"audit","all":true,"rate":-1}`, status: 400, says: "events a second"},
		{name: "dead rate", method: "POST", path: "/dead/replay", body: `{"all":true,"rate":-1}`, status: 400, says: "events a second"},
		{name: "dead glob", method: "POST", path: "/dead/replay", body: `{"repository":"["}`, status: 400, says: "invalid"},
		{name: "backfill of nothing", method: "POST", path: "/backfill", body: `{"step":"begin","endpoints":["audit"]}`, status: 400, says: "which registry"},
		{name: "backfill for nobody", method: "POST", path: "/backfill", body: `{"step":"begin","from":"https://r"}`, status: 400, says: "which endpoints"},
		{name: "backfill step", method: "POST", path: "/backfill", body: `{"step":"go","from":"https://r","endpoints":["audit"]}`, status: 400, says: "begin, store or end"},
		{name: "backfill too early", method: "POST", path: "/backfill", body: `{"step":"begin","from":"https://r","endpoints":["audit"],"finished":"a"}`, status: 400, says: "the step store"},
		{name: "backfill of too much", method: "POST", path: "/backfill", body: `{"step":"store","from":"https://r","endpoints":["audit"],"found":[` + strings.Repeat(`{},`, admin.MaxFound) + `{}]}`, status: 400, says: "at most 500"},
		{name: "field", method: "POST", path: "/dead/drop", body: `{"all":true,"reson":"x"}`, status: 400, says: "reson"},
		{name: "two values", method: "POST", path: "/dead/drop", body: `{"all":true}{}`, status: 400, says: "more than one"},
		{name: "no JSON", method: "POST", path: "/dead/drop", body: `all`, status: 400, says: "the body"},
		{name: "no object", method: "POST", path: "/dead/drop", body: `[]`, status: 400, says: "the body"},
		{name: "form", method: "POST", path: "/dead/drop", body: `{"all":true}`, headers: []string{"Content-Type", "text/plain"}, status: 415, says: "application/json"},
		{name: "no type", method: "POST", path: "/dead/drop", body: `{"all":true}`, headers: []string{"Content-Type", ""}, status: 415, says: "application/json"},
		{name: "long", method: "POST", path: "/quarantine/drop", body: long, status: 413, says: "at most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := populated()
			w := ask(newHandler(d, tokens), request(tt.method, tt.path, tt.body, tt.headers...))
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("%d %s, want %d and %q", w.Code, w.Body, tt.status, tt.says)
			}
			if !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("not answered in JSON: %s", w.Body)
			}
			if w.Code == http.StatusMethodNotAllowed && w.Header().Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if log, _ := d.Log(t.Context(), admin.LogQuery{Limit: 9}); len(log) > 0 {
				t.Errorf("logged %+v", log)
			}
		})
	}
}

// An event of which nothing is known but itself has empty lists, not null.
func TestAnEventWithoutAStory(t *testing.T) {
	d := populated()
	d.EventList[0].Places, d.EventList[0].Attempts = nil, nil
	w := ask(newHandler(d, tokens), request("GET", "/events/e7", ""))
	if want := eventJSON + `,"event":{"id":"e7"},"places":[],"attempts":[]}` + "\n"; w.Body.String() != want {
		t.Errorf("%s, want %s", w.Body, want)
	}
}

func TestAPingWithoutASampleIsAPush(t *testing.T) {
	for _, body := range []string{"", "{}", `{"sample":""}`} {
		d := populated()
		ask(newHandler(d, tokens), request("POST", "/endpoints/audit/ping", body))
		if diff := cmp.Diff([]string{`Ping "audit" "push"`}, d.Calls()); diff != "" {
			t.Errorf("%q: the dispatcher was asked (-want +got):\n%s", body, diff)
		}
	}
}

func TestPages(t *testing.T) {
	d := new(admintest.Dispatcher)
	for n := uint64(250); n > 0; n-- {
		d.EventList = append(d.EventList, admin.EventStory{Event: admin.Event{Sequence: n, Raw: json.RawMessage(`{}`)}})
	}
	h := newHandler(d, tokens)
	var sizes []int
	last := uint64(251)
	for path := "/events"; path != ""; {
		w := ask(h, request("GET", path, ""))
		var p admin.Page[admin.Event]
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Items {
			if e.Sequence != last-1 || e.Raw != nil {
				t.Fatalf("after event %d comes %+v", last, e)
			}
			last = e.Sequence
		}
		sizes = append(sizes, len(p.Items))
		path = ""
		if p.Next != 0 {
			path = "/events?after=" + strconv.FormatUint(p.Next, 10)
		}
	}
	if diff := cmp.Diff([]int{100, 100, 50}, sizes); diff != "" || last != 1 {
		t.Errorf("ended at %d, pages (-want +got):\n%s", last, diff)
	}
	// A page that is full and the last one has no next.
	if w := ask(h, request("GET", "/events?limit=250", "")); strings.Contains(w.Body.String(), `"next"`) {
		t.Error("the last page has a next")
	}
}

func TestErrorsOfTheDispatcher(t *testing.T) {
	problems := config.Problems{{File: "regcast.toml", Line: 3, Path: "endpoint[0].url", Message: "missing"}, {Message: "empty"}}
	for _, tt := range []struct {
		err    error
		status int
		want   string
	}{
		{admin.ErrInvalid, 400, `{"error":"invalid"}`},
		{admin.ErrNotFound, 404, `{"error":"not found"}`},
		{sinks.ErrNotFound, 404, `{"error":"not found"}`},
		{admin.ErrConflict, 409, `{"error":"conflict"}`},
		{sinks.ErrInUse, 409, `{"error":"cursor in use"}`},
		{admin.ErrUnsupported, 501, `{"error":"not supported"}`},
		{notifications.ErrClosed, 503, `{"error":"` + notifications.ErrClosed.Error() + `"}`},
		{notifications.ErrFull, 503, `{"error":"` + notifications.ErrFull.Error() + `"}`},
		{errors.New("disk on fire"), 500, `{"error":"disk on fire"}`},
		{problems, 422, `{"error":"the configuration has problems; nothing was reloaded","problems":[{"file":"regcast.toml","line":3,"path":"endpoint[0].url","message":"missing"},{"message":"empty"}]}`},
	} {
		for method, r := range map[string]*http.Request{
			"Reload":     request("POST", "/reload", ""),
			"Endpoints":  request("GET", "/endpoints", ""),
			"Stream":     request("GET", "/events/stream", ""),
			"Events":     request("GET", "/events", ""),
			"Record":     request("POST", "/reload", ""),
			"DropDead":   request("POST", "/dead/drop", `{"all":true}`),
			"Control":    request("POST", "/endpoints/audit/pause", ""),
			"Jobs":       request("GET", "/jobs", ""),
			"CancelJob":  request("DELETE", "/jobs/job1", ""),
			"ReplayDead": request("POST", "/dead/replay", `{"all":true,"dry_run":true}`),
		} {
			d := populated()
			d.Errs = map[string]error{method: tt.err}
			w := ask(newHandler(d, tokens), r)
			want := tt.want
			if method == "Record" && tt.status != 422 {
				want = strings.Replace(want, `"error":"`, `"error":"recording the operation, which was not begun: `, 1)
			}
			if got := strings.TrimSpace(w.Body.String()); w.Code != tt.status || got != want {
				t.Errorf("%s with %v: %d %s, want %d %s", method, tt.err, w.Code, got, tt.status, want)
			}
			if (w.Code == 503) != (w.Header().Get("Retry-After") != "") {
				t.Errorf("%s: %d with Retry-After %q", method, w.Code, w.Header().Get("Retry-After"))
			}
		}
	}
}
