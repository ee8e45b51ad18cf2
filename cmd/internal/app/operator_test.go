package app_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/cmd/internal/client"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// operator returns a client of the admin API of a.
func operator(t *testing.T, a *app.App, token string) *client.Client {
	t.Helper()
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	c, err := client.New("http://"+a.AdminAddr(), &client.Options{Token: token, HTTP: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// must returns v, or fails the test with err.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// status returns how an endpoint is.
func status(t *testing.T, c *client.Client, name string) admin.Endpoint {
	t.Helper()
	return must(c.Endpoint(t.Context(), name))(t)
}

// stored is the sum of what became of the events since an endpoint's start.
func stored(e *admin.Endpoint) uint64 {
	return e.Delivered + e.Filtered + e.Dead + e.Dropped + e.Evicted + e.Pending
}

func steer(t *testing.T, c *client.Client, name string, actions ...admin.Action) {
	t.Helper()
	for _, action := range actions {
		if err := c.Control(t.Context(), name, action); err != nil {
			t.Fatalf("%s %s: %v", action, name, err)
		}
	}
}

func wantState(t *testing.T, c *client.Client, name, state, cause string) {
	t.Helper()
	if e := status(t, c, name); e.State != state || e.Cause != cause {
		t.Errorf("endpoint %s is %s (%q), want %s (%q)", name, e.State, e.Cause, state, cause)
	}
}

// What a person has set outlives a restart and a reload, and ends only when a person says so.
func TestPauseAndDisable(t *testing.T) {
	for _, tt := range []struct {
		begin, end admin.Action
		state      string
	}{
		{admin.Pause, admin.Resume, "paused"},
		{admin.Disable, admin.Enable, "disabled"},
	} {
		t.Run(tt.state, func(t *testing.T) {
			dir, r := t.TempDir(), newReceiver(t)
			cfg := load(t, dir, endpoint("one", r.URL, ""))
			a := startApp(t, cfg)
			c := operator(t, a, "")
			steer(t, c, "one", tt.begin, tt.begin)
			mustSend(t, a, notificationstest.Pushes(1, 2, "team/a")...)
			wantState(t, c, "one", tt.state, "by an operator")
			if err := reload(t, a, dir, endpoint("one", r.URL, "concurrency = 2")); err != nil {
				t.Fatal(err)
			}
			wantState(t, c, "one", tt.state, "by an operator")

			shutdown(t, a)
			a = startApp(t, cfg)
			c = operator(t, a, "")
			wantState(t, c, "one", tt.state, "by an operator")
			if e := status(t, c, "one"); e.Pending != 2 || e.Since.IsZero() || len(r.received()) != 0 {
				t.Errorf("%+v, and %d events received; want 2 pending", e, len(r.received()))
			}
			steer(t, c, "one", tt.end, tt.end)
			r.wait(t, 2)
			eventually(t, "the endpoint is ok", func() bool { return status(t, c, "one").State == "ok" })
		})
	}
}

// What the file has disabled the file enables again, and a person for the time being.
func TestDisabledByTheFile(t *testing.T) {
	dir, r := t.TempDir(), newReceiver(t)
	disabled := endpoint("one", r.URL, "disabled = true")
	a := startApp(t, load(t, dir, disabled))
	c := operator(t, a, "")
	wantState(t, c, "one", "disabled", "by the configuration file")
	steer(t, c, "one", admin.Enable)
	wantState(t, c, "one", "ok", "")
	shutdown(t, a)

	a = startApp(t, load(t, dir, disabled))
	c = operator(t, a, "")
	wantState(t, c, "one", "disabled", "by the configuration file")
	if err := reload(t, a, dir, endpoint("one", r.URL, "")); err != nil {
		t.Fatal(err)
	}
	wantState(t, c, "one", "ok", "")
}

func TestUnknownEndpoint(t *testing.T) {
	a := startApp(t, load(t, t.TempDir(), endpoint("one", newReceiver(t).URL, "")))
	c := operator(t, a, "")
	if err := c.Control(t.Context(), "two", admin.Pause); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("pause: %v, want ErrNotFound", err)
	}
	if _, err := c.Ping(t.Context(), "two", ""); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("ping: %v, want ErrNotFound", err)
	}
	if err := c.Control(t.Context(), "two", admin.Forget); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("forget: %v, want ErrNotFound", err)
	}
	if _, err := c.Replay(t.Context(), admin.ReplayRequest{Endpoint: "two", All: true}); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("replay: %v, want ErrNotFound", err)
	}
}

func TestForget(t *testing.T) {
	dir, r := t.TempDir(), newReceiver(t)
	r.answer(http.StatusUnprocessableEntity)
	one, two := endpoint("one", r.URL, "drop_on = [422]"), endpoint("two", r.URL, "drop_on = [422]")
	a := startApp(t, load(t, dir, one+two))
	c := operator(t, a, "")
	mustSend(t, a, notificationstest.Pushes(1, 2, "team/a")...)
	eventually(t, "all are dead letters", func() bool {
		return status(t, c, "one").Dead == 2 && status(t, c, "two").Dead == 2
	})
	if err := c.Control(t.Context(), "two", admin.Forget); !errors.Is(err, admin.ErrConflict) {
		t.Errorf("forgetting an endpoint at work: %v, want ErrConflict", err)
	}
	if err := reload(t, a, dir, one); err != nil {
		t.Fatal(err)
	}
	e := status(t, c, "two")
	if e.State != "removed" || e.Since.IsZero() || e.Dead != 2 || e.LastError == "" {
		t.Errorf("%+v, want a removed endpoint with what is known of it", e)
	}
	if err := c.Control(t.Context(), "two", admin.Pause); !errors.Is(err, admin.ErrConflict) {
		t.Errorf("pausing a removed endpoint: %v, want ErrConflict", err)
	}
	steer(t, c, "two", admin.Forget)
	if _, err := c.Endpoint(t.Context(), "two"); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("a forgotten endpoint: %v, want ErrNotFound", err)
	}
	letters := must(c.DeadLetters(t.Context(), admin.DeadQuery{Limit: 10}))(t)
	if len(letters) != 2 || letters[0].Endpoint != "one" || letters[1].Endpoint != "one" {
		t.Errorf("%+v, want the dead letters of the other endpoint alone", letters)
	}
	if err := reload(t, a, dir, one+two); err != nil {
		t.Fatal(err)
	}
	if e := status(t, c, "two"); e.State != "ok" || stored(&e) != 0 || e.LastError != "" {
		t.Errorf("%+v, want an endpoint that begins anew", e)
	}
}

func TestPing(t *testing.T) {
	got := make(chan http.Header, 1)
	answer := http.StatusOK
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		w.WriteHeader(answer)
		_, _ = w.Write([]byte("hello"))
	}))
	t.Cleanup(hook.Close)
	cfg := load(t, t.TempDir(), endpoint("one", hook.URL, `filter = { actions = ["delete"] }`))
	a := startApp(t, cfg)
	c := operator(t, a, "")
	for _, sample := range []string{"", "push", "pull", "mount", "delete"} {
		pong := must(c.Ping(t.Context(), "one", sample))(t)
		if pong.Status != 200 || pong.Error != "" || pong.ID == "" || string(pong.Excerpt) != "hello" {
			t.Errorf("sample %q: %+v, want an answer 200", sample, pong)
		}
		if h := <-got; h.Get("Regcast-Test") != "true" {
			t.Errorf("sample %q: Regcast-Test is %q", sample, h.Get("Regcast-Test"))
		}
	}
	answer = http.StatusBadGateway
	pong := must(app.PingAlone(t.Context(), cfg, "test", "one", "push"))(t)
	if <-got; pong.Status != 502 || pong.Error == "" {
		t.Errorf("%+v, want an answer 502", pong)
	}
	if _, err := c.Ping(t.Context(), "one", "poke"); !errors.Is(err, admin.ErrInvalid) {
		t.Errorf("sample poke: %v, want ErrInvalid", err)
	}
	if _, err := app.PingAlone(t.Context(), cfg, "test", "two", ""); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("another endpoint: %v, want ErrNotFound", err)
	}
	if e := status(t, c, "one"); stored(&e) != 0 {
		t.Errorf("%+v, want no event", e)
	}
}

// A file with problems changes nothing, and the answer has them all.
func TestReloadThroughTheAPI(t *testing.T) {
	dir, r := t.TempDir(), newReceiver(t)
	a := startApp(t, load(t, dir, endpoint("one", r.URL, "")))
	c := operator(t, a, "")
	file := filepath.Join(dir, "regcast.toml")
	before := must(os.ReadFile(file))(t)
	bad := append(slices.Clone(before), "\n[nonsense]\n[[endpoint]]\nname = \"two\"\nurl = \"ftp://x\"\n"...)
	if err := os.WriteFile(file, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	err := c.Reload(t.Context())
	refused, ok := errors.AsType[*client.Error](err)
	if !ok || len(refused.Problems) != 2 || refused.Problems[0].Path != "nonsense" || refused.Problems[0].Line == 0 {
		t.Errorf("reload: %v, want two problems with their lines", err)
	}
	if err := os.WriteFile(file, append(before, endpoint("two", r.URL, "")...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	wantState(t, c, "two", "ok", "")
}

func TestOperatorsLog(t *testing.T) {
	dir := t.TempDir()
	tokens := "\n[[admin.token]]\nname = \"ops\"\nrole = \"operate\"\ntoken = \"secret\"\n" +
		"[[admin.token]]\nname = \"eve\"\nrole = \"read\"\ntoken = \"looks\"\n"
	cfg := load(t, dir, endpoint("one", newReceiver(t).URL, "")+tokens)
	a := startApp(t, cfg)
	c := operator(t, a, "secret")
	steer(t, c, "one", admin.Pause)
	if err := c.Control(t.Context(), "one", admin.Forget); err == nil {
		t.Error("forgot an endpoint of the configuration")
	}
	if err := operator(t, a, "looks").Control(t.Context(), "one", admin.Resume); err == nil {
		t.Error("who may look has resumed an endpoint")
	}
	shutdown(t, a)
	a = startApp(t, cfg)
	c = operator(t, a, "secret")
	steer(t, c, "one", admin.Resume)
	type line struct {
		ID                      uint64
		Token, Action, Endpoint string
		Ended, Failed           bool
	}
	var got []line
	for _, o := range must(c.Log(t.Context(), admin.LogQuery{Limit: 10}))(t) {
		got = append(got, line{o.ID, o.Token, o.Action, o.Endpoint, !o.Ended.IsZero(), o.Error != ""})
		if time.Since(o.At) > time.Hour {
			t.Errorf("operation %d was at %s", o.ID, o.At)
		}
	}
	want := []line{
		{3, "ops", "resume", "one", true, false},
		{2, "ops", "forget", "one", true, true},
		{1, "ops", "pause", "one", true, false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if page := must(c.Log(t.Context(), admin.LogQuery{Limit: 1, After: 3}))(t); len(page) != 1 || page[0].ID != 2 {
		t.Errorf("after 3 comes %+v, want operation 2", page)
	}
}

// An operator who does everything at once loses no event, and the numbers of an endpoint
// add up at any moment.
func TestEverythingAtOnce(t *testing.T) {
	dir, r := t.TempDir(), newReceiver(t)
	a := startApp(t, load(t, dir, endpoint("one", r.URL, `filter = { repositories = ["team/a"] }`)))
	c := operator(t, a, "")
	const posts, size = 30, 20
	var sent, done sync.WaitGroup
	stop := make(chan struct{})
	sent.Go(func() {
		for i := range posts {
			mustSend(t, a, notificationstest.Pushes(1+i*size, size, "team/a", "team/b")...)
		}
	})
	again := func(do func(i int) error) {
		done.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	again(func(i int) error {
		return c.Control(t.Context(), "one", []admin.Action{admin.Pause, admin.Disable, admin.Resume, admin.Enable}[i%4])
	})
	again(func(i int) error {
		return reload(t, a, dir, endpoint("one", r.URL, []string{"concurrency = 2", "concurrency = 3"}[i%2]+
			"\nfilter = { repositories = [\"team/a\"] }"))
	})
	again(func(int) error {
		_, err := c.Replay(t.Context(), admin.ReplayRequest{Endpoint: "one", All: true, Limit: 5})
		if errors.Is(err, admin.ErrConflict) {
			return nil // as many jobs as there can be
		}
		return err
	})
	again(func(int) error {
		before := must(newest(t, c))(t)
		e, err := c.Endpoint(t.Context(), "one")
		if err != nil {
			return err
		}
		if after := must(newest(t, c))(t); stored(&e) < before || stored(&e) > after {
			t.Errorf("%+v: %d events, stored were %d to %d", e, stored(&e), before, after)
		}
		return nil
	})
	sent.Wait()
	close(stop)
	done.Wait()
	steer(t, c, "one", admin.Resume, admin.Enable)
	eventually(t, "all is delivered", func() bool {
		e := status(t, c, "one")
		return e.Pending == 0 && e.Delivered == posts*size/2 && e.Filtered == posts*size/2
	})
	eventually(t, "no job is running", func() bool {
		return !slices.ContainsFunc(must(c.Jobs(t.Context()))(t), func(j admin.Job) bool { return j.State == admin.JobRunning })
	})
	ids := r.received()
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != posts*size/2 {
		t.Errorf("%d different events were received, want %d", n, posts*size/2)
	}
}

// newest is the sequence of the newest event, which is how many were stored.
func newest(t *testing.T, c *client.Client) (uint64, error) {
	events, err := c.Events(t.Context(), admin.EventQuery{Limit: 1})
	if err != nil || len(events) == 0 {
		return 0, err
	}
	return events[0].Sequence, nil
}
