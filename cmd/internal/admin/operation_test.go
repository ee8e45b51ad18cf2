package admin_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/admin/admintest"
	"github.com/regcast/regcast/config"
)

func logOf(t *testing.T, d *admintest.Dispatcher) []admin.Operation {
	t.Helper()
	log, err := d.Log(t.Context(), admin.LogQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// TestEveryChangeIsLogged holds routes that are yet to be written to it, too.
func TestEveryChangeIsLogged(t *testing.T) {
	for _, rt := range admin.Routes() {
		d := ended()
		try(t, newHandler(d, tokens), rt)
		want := 0
		if rt.Needs == admin.Operate {
			want = 1
		}
		if rt.Needs == admin.Operate && rt.Method == http.MethodGet || rt.Needs == admin.Read && rt.Method != http.MethodGet {
			t.Errorf("%s needs the role %s", rt, rt.Needs)
		}
		if log := logOf(t, d); len(log) != want {
			t.Errorf("%s: logged %+v, want %d operations", rt, log, want)
		}
	}
}

// What a backfill stores is logged by its beginning and its end, not with each request.
func TestWhatABackfillStoresIsNotLogged(t *testing.T) {
	for body, want := range map[string]int{
		`{"from":"https://r","endpoints":["audit"],"step":"store","finished":"team/app"}`: 0,
		`{"from":"https://r","endpoints":["audit"],"step":"begin","dry_run":true}`:        0,
		`{"from":"https://r","endpoints":["audit"],"step":"end"}`:                         1,
	} {
		d := ended()
		w := ask(newHandler(d, tokens), request("POST", "/backfill", body))
		calls := d.Calls()
		if log := logOf(t, d); w.Code != 200 || len(log) != want || len(calls) != 1 {
			t.Errorf("%s: %d, asked %q, logged %+v, want %d operations", body, w.Code, calls, log, want)
		}
	}
}

func TestWhatCannotBeLoggedIsNotDone(t *testing.T) {
	for _, rt := range admin.Routes() {
		if rt.Needs != admin.Operate {
			continue
		}
		d := ended()
		d.Errs = map[string]error{"Record": errors.New("disk full")}
		res := try(t, newHandler(d, tokens), rt)
		if res.StatusCode != http.StatusInternalServerError {
			t.Errorf("%s: %d, want 500", rt, res.StatusCode)
		}
		if calls := d.Calls(); len(calls) > 0 {
			t.Errorf("%s: the dispatcher was asked %q", rt, calls)
		}
	}
}

func TestWhatWasDoneIsAnsweredEvenIfItsEndIsNotLogged(t *testing.T) {
	var logged bytes.Buffer
	d := populated()
	d.Errs = map[string]error{"ended": errors.New("disk full")}
	h := admin.NewHandler(&admin.Options{
		Healthy: fine, Ready: fine, Gatherer: prometheus.NewRegistry(), Tokens: tokens, Dispatcher: d,
		Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	})
	if w := ask(h, request("POST", "/endpoints/audit/pause", "")); w.Code != 200 {
		t.Errorf("%d, want 200", w.Code)
	}
	if log := logOf(t, d); len(log) != 1 || !log[0].Ended.IsZero() {
		t.Errorf("logged %+v, want an operation without an end", log)
	}
	if !strings.Contains(logged.String(), "disk full") || !strings.Contains(logged.String(), "operation=1") {
		t.Errorf("said %q", &logged)
	}
}

func TestADryRunIsNoOperation(t *testing.T) {
	for path, body := range map[string]string{
		"/replay":           `{"endpoint":"audit","all":true,"dry_run":true}`,
		"/dead/replay":      `{"all":true,"dry_run":true}`,
		"/dead/drop":        `{"all":true,"dry_run":true}`,
		"/quarantine/retry": `{"all":true,"dry_run":true}`,
		"/quarantine/drop":  `{"all":true,"dry_run":true}`,
	} {
		d := populated()
		if w := ask(newHandler(d, tokens), request("POST", path, body)); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
		if calls := d.Calls(); len(calls) != 1 || !strings.Contains(calls[0], `"dry_run":true`) {
			t.Errorf("%s: the dispatcher was asked %q", path, calls)
		}
		if log := logOf(t, d); len(log) > 0 {
			t.Errorf("%s: logged %+v", path, log)
		}
	}
}

func TestAFailedOperationIsLoggedWithItsError(t *testing.T) {
	d := populated()
	d.Errs = map[string]error{
		"Control": errors.Join(admin.ErrConflict, errors.New(strings.Repeat("é", 2000))),
		"Reload":  config.Problems{{Message: "one"}, {Message: "two"}},
	}
	h := newHandler(d, tokens)
	ask(h, request("DELETE", "/endpoints/audit", ""))
	ask(h, request("POST", "/reload", ""))
	log := logOf(t, d)
	if len(log) != 2 || log[0].Error != "one two" || log[0].Ended.IsZero() {
		t.Fatalf("logged %+v", log)
	}
	if e := log[1].Error; !strings.HasPrefix(e, "conflict é") || len(e) > 1100 || !strings.HasSuffix(e, "é…") {
		t.Errorf("logged %d bytes: %q", len(e), e)
	}
}

func TestALongRequestIsLoggedWithoutIt(t *testing.T) {
	for _, tt := range []struct {
		ids  int
		kept bool
	}{{admin.MaxRecorded/2 - 20, true}, {admin.MaxRecorded / 2, false}} {
		d := populated()
		body := `{ "ids": [1` + strings.Repeat(" ,1", tt.ids) + "] }"
		ask(newHandler(d, tokens), request("POST", "/dead/drop", body))
		log := logOf(t, d)
		if len(log) != 1 || (log[0].Request != nil) != tt.kept || bytes.ContainsAny(log[0].Request, " ") {
			t.Errorf("%d ids: logged %.300s", tt.ids, fmt.Sprint(log))
		}
	}
}

// With a job the answer says so.
func TestAJobIsAcceptedAndLogged(t *testing.T) {
	d := populated()
	d.Outcome = admin.Outcome{Count: 10, Job: &d.JobList[0]}
	w := ask(newHandler(d, tokens), request("POST", "/replay", `{"endpoint":"audit","all":true}`))
	want := `{"count":10,"done":0,"job":` + jobJSON + "}\n"
	if w.Code != http.StatusAccepted || w.Body.String() != want {
		t.Errorf("%d %s, want 202 %s", w.Code, w.Body, want)
	}
	if log := logOf(t, d); len(log) != 1 || log[0].Job != "job1" || log[0].Count != 10 {
		t.Errorf("logged %+v", log)
	}
}

// gone is a dispatcher that looks whether its caller can cut it short.
type gone struct {
	*admintest.Dispatcher
	err error
}

func (g *gone) Reload(ctx context.Context) error {
	g.err = ctx.Err()
	return g.Dispatcher.Reload(ctx)
}

func TestACallerThatGoesAwayLeavesNoHalfOperation(t *testing.T) {
	g := &gone{Dispatcher: populated()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ask(newHandler(g, tokens), request("POST", "/reload", "").WithContext(ctx))
	if log := logOf(t, g.Dispatcher); g.err != nil || len(log) != 1 || log[0].Ended.IsZero() {
		t.Errorf("cut short: %v, logged %+v", g.err, log)
	}
}

// slow is a dispatcher whose reload takes longer than the WriteTimeout of its server.
type slow struct{ *admintest.Dispatcher }

func (s slow) Reload(ctx context.Context) error {
	<-time.After(time.Minute) // of the faked clock
	return s.Dispatcher.Reload(ctx)
}

func TestAnOperationThatTakesLongIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, shutdown := piped(t, newHandler(slow{populated()}, tokens), request("POST", "/reload", ""))
		res, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusNoContent {
			t.Errorf("%d, want 204", res.StatusCode)
		}
		client.Close()
		shutdown()
	})
}

func TestTheLogIsServed(t *testing.T) {
	d := populated()
	h := newHandler(d, tokens)
	ask(h, request("POST", "/endpoints/audit/pause", ""))
	ask(h, request("POST", "/dead/drop", `{"ids": [5]}`))
	w := ask(h, request("GET", "/log", "", "Authorization", "Bearer "+reader))
	var p admin.Page[admin.Operation]
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range p.Items {
		got = append(got, o.Token+": "+o.Action+" "+o.Endpoint+string(o.Request))
	}
	if diff := cmp.Diff([]string{`ops: dead drop {"ids":[5]}`, "ops: pause audit"}, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// TestNoSecretIsShown looks for tokens in everything that is answered, logged and recorded.
func TestNoSecretIsShown(t *testing.T) {
	var logged bytes.Buffer
	for _, token := range []string{operator, reader, "wrong-secret"} {
		for _, rt := range admin.Routes() {
			d := ended()
			d.Errs = map[string]error{"Reload": errors.New("disk on fire")} // so that something is logged
			h := admin.NewHandler(&admin.Options{
				Healthy: fine, Ready: fine, Gatherer: prometheus.NewRegistry(), Tokens: tokens, Dispatcher: d,
				Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			w := ask(h, request(rt.Method, somewhere(rt), bodyOf(rt), "Authorization", "Bearer "+token))
			all := w.Body.String() + logged.String()
			for _, values := range w.Header() {
				all += strings.Join(values, " ")
			}
			for _, o := range logOf(t, d) {
				all += o.Token + o.Error + string(o.Request)
			}
			for _, secret := range []string{operator, reader, "wrong-secret"} {
				if strings.Contains(all, secret) {
					t.Errorf("%s shows a token: %s", rt, all)
				}
			}
		}
	}
	if !strings.Contains(logged.String(), "disk on fire") {
		t.Error("nothing was logged to look at")
	}
}
