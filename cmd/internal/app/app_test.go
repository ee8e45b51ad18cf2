package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

func TestMain(m *testing.M) {
	// Distribution, a registry in some tests, ends neither its broadcaster of events nor the
	// queues of its endpoints.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/docker/go-events.(*Broadcaster).run"),
		goleak.IgnoreAnyFunction("github.com/distribution/distribution/v3/notifications.(*eventQueue).run"))
}

// patience bounds what a test waits for; it is never waited out by a test that passes.
const patience = time.Minute

// A receiver is a webhook that remembers the ids it accepted, in order.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	ids    []string
	auth   string // of the last request
	grown  chan struct{}
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: http.StatusOK, grown: make(chan struct{})}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var envelope struct{ Events []struct{ ID string } }
	if err := json.NewDecoder(req.Body).Decode(&envelope); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.auth = req.Header.Get("Authorization")
	if r.status == http.StatusOK {
		for _, e := range envelope.Events {
			r.ids = append(r.ids, e.ID)
		}
	}
	close(r.grown) // whatever the answer: a request has come
	r.grown = make(chan struct{})
	w.WriteHeader(r.status)
}

// until waits until the receiver's state satisfies ok.
func (r *receiver) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		done, grown := ok(), r.grown
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("waited in vain until %s; %d events are here", what, len(r.ids))
		}
	}
}

func (r *receiver) wait(t *testing.T, n int) {
	t.Helper()
	r.until(t, fmt.Sprintf("%d events have come", n), func() bool { return len(r.ids) >= n })
}

func (r *receiver) received() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.ids...)
}

// load writes a configuration with a journal in dir and the given rest, and loads it.
func load(t *testing.T, dir, rest string) *config.Config {
	t.Helper()
	file := filepath.Join(dir, "regcast.toml")
	content := "data_dir = \"data\"\ndrain_timeout = \"1s\"\n" + rest
	if !strings.Contains(rest, "[intake]") {
		content += "\n[intake]\nlisten = \"127.0.0.1:0\"\n"
	}
	content += "\n[admin]\nlisten = \"127.0.0.1:0\"\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// reload makes rest the configuration of a, which has its journal in dir.
func reload(t *testing.T, a *app.App, dir, rest string) error {
	t.Helper()
	load(t, dir, rest)
	return a.Reload(t.Context())
}

func endpoint(name, url, more string) string {
	return fmt.Sprintf("\n[[endpoint]]\nname = %q\nurl = %q\nretry = { initial = \"10ms\", max = \"20ms\" }\n%s\n", name, url, more)
}

func startApp(t *testing.T, cfg *config.Config) *app.App {
	t.Helper()
	return startLoggedApp(t, cfg, t.Output())
}

func startLoggedApp(t *testing.T, cfg *config.Config, log io.Writer) *app.App {
	t.Helper()
	a, err := app.Start(t.Context(), cfg, app.Options{
		Version: "test", Console: t.Output(), Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutdown(t, a) })
	return a
}

func shutdown(t *testing.T, a *app.App) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// send posts events as a registry would and returns the answer's status.
func send(t *testing.T, a *app.App, token string, events ...*notifications.Event) int {
	t.Helper()
	body := notifications.AppendEnvelope(nil, events)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+a.IntakeAddr()+"/events", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", notifications.MediaTypeV2)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func mustSend(t *testing.T, a *app.App, events ...*notifications.Event) {
	t.Helper()
	if got := send(t, a, "", events...); got != http.StatusAccepted {
		t.Fatalf("POST answered %d, want 202", got)
	}
}

func scrape(t *testing.T, a *app.App) string {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get("http://" + a.AdminAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// eventually polls for what no event tells of.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestDelivers(t *testing.T) {
	r := newReceiver(t)
	a := startApp(t, load(t, t.TempDir(), endpoint("audit", r.URL, "")))
	events := notificationstest.Pushes(1, 20, "team/a", "team/b")
	mustSend(t, a, events...)
	r.wait(t, len(events))
	if err := a.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	metrics := scrape(t, a)
	for _, want := range []string{
		`regcast_build_info{version="test"} 1`,
		`regcast_config_last_reload_successful 1`,
		`regcast_endpoint_state{endpoint="audit",state="ok"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics do not say %s", want)
		}
	}
	shutdown(t, a)
	if err := a.Ready(); err == nil {
		t.Error("ready after Shutdown")
	}
}

func TestBacklogSurvivesARestart(t *testing.T) {
	dir, r := t.TempDir(), newReceiver(t)
	cfg := load(t, dir, endpoint("audit", r.URL, ""))
	a := startApp(t, cfg)
	r.answer(http.StatusInternalServerError)
	events := notificationstest.Pushes(1, 5, "team/a")
	mustSend(t, a, events...)
	shutdown(t, a)
	if n := len(r.received()); n != 0 {
		t.Fatalf("%d events accepted by a receiver that answers 500", n)
	}
	r.answer(http.StatusOK)
	startApp(t, cfg)
	r.wait(t, len(events))
	for i, id := range r.received() {
		if id != events[i].ID {
			t.Errorf("event %d is %s, want %s", i, id, events[i].ID)
		}
	}
}

func TestReloadLosesNothing(t *testing.T) {
	dir, one, two := t.TempDir(), newReceiver(t), newReceiver(t)
	a := startApp(t, load(t, dir, endpoint("one", one.URL, "")))
	one.answer(http.StatusServiceUnavailable)
	first := notificationstest.Pushes(1, 3, "team/a")
	mustSend(t, a, first...)

	// A second endpoint comes, the first moves to another URL with all that is pending.
	moved := newReceiver(t)
	both := endpoint("one", moved.URL, "") + endpoint("two", two.URL, "")
	if err := reload(t, a, dir, both); err != nil {
		t.Fatal(err)
	}
	second := notificationstest.Pushes(4, 3, "team/a")
	mustSend(t, a, second...)
	moved.wait(t, len(first)+len(second))
	two.wait(t, len(second))
	if got := two.received(); got[0] != second[0].ID {
		t.Errorf("a new endpoint began with %s, want the first event after it came, %s", got[0], second[0].ID)
	}

	// The second one goes, and comes back: it goes on where it was.
	if err := reload(t, a, dir, endpoint("one", moved.URL, "")); err != nil {
		t.Fatal(err)
	}
	third := notificationstest.Pushes(7, 2, "team/a")
	mustSend(t, a, third...)
	if metrics := scrape(t, a); strings.Contains(metrics, `endpoint="two"`) {
		t.Error("a removed endpoint still has metrics")
	}
	if err := reload(t, a, dir, both); err != nil {
		t.Fatal(err)
	}
	two.wait(t, len(second)+len(third))
}

func TestReloadIsAllOrNothing(t *testing.T) {
	dir, r := t.TempDir(), newReceiver(t)
	a := startApp(t, load(t, dir, endpoint("one", r.URL, "")))

	badGlob := endpoint("one", r.URL, `filter = { repositories = ["***"] }`) + endpoint("two", r.URL, "")
	err := reload(t, a, dir, badGlob)
	if err == nil || !strings.Contains(err.Error(), "filter.repositories") {
		t.Errorf("Reload with a bad glob: %v, want the key's name", err)
	}
	restart := "[engine]\nkind = \"memory\"\n" + endpoint("two", r.URL, "")
	err = reload(t, a, dir, restart)
	if err == nil || !strings.Contains(err.Error(), "engine.kind") {
		t.Errorf("Reload with another engine: %v, want the key's name", err)
	}
	metrics := scrape(t, a)
	if strings.Contains(metrics, `endpoint="two"`) {
		t.Error("a refused file added an endpoint")
	}
	if !strings.Contains(metrics, "regcast_config_last_reload_successful 0") {
		t.Error("the refusal cannot be seen in the metrics")
	}
	mustSend(t, a, notificationstest.Pushes(1, 1, "team/a")...)
	r.wait(t, 1)
}

func TestReloadDoesNotEnable(t *testing.T) {
	dir, r := t.TempDir(), newReceiver(t)
	a := startApp(t, load(t, dir, endpoint("one", r.URL, "")))
	r.answer(http.StatusGone)
	mustSend(t, a, notificationstest.Pushes(1, 1, "team/a")...)
	disabled := `regcast_endpoint_state{endpoint="one",state="disabled"} 1`
	scrapeUntil(t, a, func(metrics string) bool { return strings.Contains(metrics, disabled) })
	if err := reload(t, a, dir, endpoint("one", r.URL, "concurrency = 2")); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(scrape(t, a), disabled) {
		t.Error("a reload enabled an endpoint that its receiver disabled")
	}
}

func TestReloadMakesAnEndpointRequired(t *testing.T) {
	dir, r := t.TempDir(), newReceiver(t)
	r.answer(http.StatusServiceUnavailable)
	small := "[engine.journal]\nretention_bytes = \"1MiB\"\n"
	a := startApp(t, load(t, dir, small+endpoint("one", r.URL, "")))
	if err := reload(t, a, dir, small+endpoint("one", r.URL, "required = true")); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if status := send(t, a, "", notificationstest.Pushes(1+i*100, 100, "team/a")...); status == http.StatusServiceUnavailable {
			if metrics := scrape(t, a); !strings.Contains(metrics, `regcast_endpoint_events_total{endpoint="one",outcome="evicted"} 0`) {
				t.Error("events of a required endpoint were evicted")
			}
			return
		}
	}
	t.Error("10 000 events fit into a journal of 1 MiB: those of a required endpoint are evicted")
}

func TestTokensRotate(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	write := func(value string) {
		if err := os.WriteFile(token, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	a := startApp(t, load(t, dir, "[intake]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"token\"\n"))
	event := notificationstest.Pushes(1, 1, "team/a")
	for _, step := range []struct {
		token string
		want  int
	}{{"", 401}, {"wrong", 401}, {"old", 202}} {
		if got := send(t, a, step.token, event...); got != step.want {
			t.Errorf("token %q: %d, want %d", step.token, got, step.want)
		}
	}
	write("new")
	for token, want := range map[string]int{"old": 401, "new": 202} {
		if got := send(t, a, token, event...); got != want {
			t.Errorf("after the rotation, token %q: %d, want %d", token, got, want)
		}
	}
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	if got := send(t, a, "", event...); got != 401 {
		t.Errorf("without the token's file: %d, want 401: nobody is let in", got)
	}
}

func TestDisabledKeepsItsPlace(t *testing.T) {
	dir, r := t.TempDir(), newReceiver(t)
	a := startApp(t, load(t, dir, endpoint("one", r.URL, "disabled = true")))
	mustSend(t, a, notificationstest.Pushes(1, 2, "team/a")...)
	if !strings.Contains(scrape(t, a), `regcast_endpoint_pending_events{endpoint="one"} 2`) {
		t.Error("a disabled endpoint's events are not pending")
	}
	if err := reload(t, a, dir, endpoint("one", r.URL, "")); err != nil {
		t.Fatal(err)
	}
	r.wait(t, 2)
}

func TestStartCleansUp(t *testing.T) {
	dir := t.TempDir()
	first := startApp(t, load(t, dir, ""))
	_, err := app.Start(t.Context(), load(t, dir, ""), app.Options{})
	if err == nil || !strings.Contains(err.Error(), "journal") {
		t.Errorf("a second process on the same journal: %v", err)
	}
	taken := load(t, t.TempDir(), fmt.Sprintf("[intake]\nlisten = %q\n", first.IntakeAddr()))
	if _, err := app.Start(t.Context(), taken, app.Options{}); err == nil {
		t.Error("two apps listen on one address")
	}
	// goleak sees whatever a failed Start has left behind.
}
