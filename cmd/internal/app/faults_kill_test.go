package app_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/cmd/internal/client"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// killedConfig makes this test binary the dispatcher that is killed.
const killedConfig = "APP_KILLED_CONFIG"

// TestKill kills a dispatcher in the middle of things and looks at what the next one makes
// of it.
func TestKill(t *testing.T) {
	if file := os.Getenv(killedConfig); file != "" {
		serveUntilKilled(t, file)
		return
	}
	if testing.Short() {
		t.Skip("starts and kills processes for seconds")
	}
	t.Parallel()
	t.Run("bisecting", killBisecting)
	t.Run("replay", killReplay)
	t.Run("orders", killOrders)
}

// serveUntilKilled runs a dispatcher and says where its admin server listens. It ends with
// who started it, too.
func serveUntilKilled(t *testing.T, file string) {
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Start(t.Context(), cfg, app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("admin", a.AdminAddr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

// kill runs a dispatcher with the configuration in dir in a process of its own and kills it when
// work, which is given the address of its admin server, returns.
func kill(t *testing.T, dir string, work func(adminAddr string)) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killedConfig+"="+filepath.Join(dir, "regcast.toml"))
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "admin ")
	if ok {
		work(addr)
	} else {
		t.Errorf("the process says %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.Exited() {
		t.Fatalf("the process ended by itself: %v", err)
	}
}

// A counter is a webhook that knows which requests it has answered, and tells when there
// are as many as somebody waits for.
type counter struct {
	url    string
	answer func(r *http.Request, ids []string) int

	mu       sync.Mutex
	requests int
	awaited  int
	reached  chan struct{}
	accepted []string
}

func newCounter(t *testing.T, answer func(r *http.Request, ids []string) int) *counter {
	c := &counter{answer: answer, reached: make(chan struct{})}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var envelope struct{ Events []struct{ ID string } }
	if err := json.NewDecoder(r.Body).Decode(&envelope); err != nil {
		return // cut short by the kill
	}
	var ids []string
	for _, e := range envelope.Events {
		ids = append(ids, e.ID)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests++; c.requests == c.awaited {
		close(c.reached)
	}
	status := c.answer(r, ids)
	if status == http.StatusOK {
		c.accepted = append(c.accepted, ids...)
	}
	w.WriteHeader(status)
}

// more returns what is closed after n more requests.
func (c *counter) more(n int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited, c.reached = c.requests+n, make(chan struct{})
	return c.reached
}

// await waits for requests, and a moment more, which may be nothing or the time of one.
func await(t *testing.T, reached <-chan struct{}) {
	t.Helper()
	awaitOr(t, reached, func() bool { return false })
}

// awaitOr is await for requests that do not come once all is done: a dispatcher may do much
// before a busy machine lets us know of it.
func awaitOr(t *testing.T, reached <-chan struct{}, done func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		select {
		case <-reached:
			<-time.After(rand.N(3 * time.Millisecond))
			return
		case <-tick.C:
			if done() {
				return
			}
		case <-deadline:
			t.Fatal("waited in vain for requests")
		}
	}
}

// firsts returns the accepted events without repeats.
func (c *counter) firsts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, id := range c.accepted {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// pendingFor stores events for the endpoint of the configuration, which is disabled in
// before, and stops.
func pendingFor(t *testing.T, before *config.Config, events []*notifications.Event) {
	t.Helper()
	a := startApp(t, before)
	mustSend(t, a, events...)
	shutdown(t, a)
}

// killBisecting: of a hundred events one is rejected, whoever finds it.
func killBisecting(t *testing.T) {
	const poison = 37
	events := notificationstest.Pushes(0, 100, "team/a", "team/b", "team/c")
	r := newCounter(t, func(_ *http.Request, ids []string) int {
		if slices.Contains(ids, events[poison].ID) {
			return http.StatusUnprocessableEntity
		}
		return http.StatusOK
	})
	dir, keys := t.TempDir(), "batch = { max_events = 100 }\ndrop_on = [422]\nconcurrency = 1\n"
	pendingFor(t, load(t, dir, endpoint("one", r.url, keys+"disabled = true")), events)
	cfg := load(t, dir, endpoint("one", r.url, keys))
	for _, requests := range []int{1, 2, 4, 6, 8} {
		reached := r.more(requests)
		kill(t, dir, func(addr string) {
			c := operatorAt(t, addr)
			awaitOr(t, reached, func() bool { return status(t, c, "one").Pending == 0 })
		})
	}
	a := startApp(t, cfg)
	eventually(t, "all is settled", func() bool { return status(t, operator(t, a, ""), "one").Pending == 0 })
	if got := account(t, a, "one", len(events)); got["delivered"] != len(events)-1 || got["dead"] != 1 {
		t.Errorf("%v, want all but one delivered", got)
	}
	if reasons := buried(t, a, "one"); len(reasons) != 1 || reasons[events[poison].ID] != "rejected" {
		t.Errorf("dead letters %v, want event %d", reasons, poison)
	}
	sent := make(map[string]string)
	for i, e := range events {
		if i != poison {
			sent[e.ID] = e.Repository
		}
	}
	checkOrder(t, sent, r.firsts())
}

// killReplay: a job goes on until all is delivered again.
func killReplay(t *testing.T) {
	events := notificationstest.Pushes(0, 60, "team/a", "team/b", "team/c")
	replayed := make(map[string]bool)
	r := newCounter(t, func(r *http.Request, ids []string) int {
		if r.Header.Get("Regcast-Replay") != "" {
			for _, id := range ids {
				replayed[id] = true
			}
		}
		return http.StatusOK
	})
	dir := t.TempDir()
	cfg := load(t, dir, endpoint("one", r.url, ""))
	a := startApp(t, cfg)
	c := operator(t, a, "")
	mustSend(t, a, events...)
	eventually(t, "all is delivered", func() bool { return status(t, c, "one").Pending == 0 })
	steer(t, c, "one", admin.Pause)
	job := must(c.Replay(t.Context(), admin.ReplayRequest{Endpoint: "one", All: true, Rate: 200}))(t).Job
	shutdown(t, a)
	for i, requests := range []int{1, 10, 20} {
		reached := r.more(requests)
		kill(t, dir, func(addr string) {
			c := operatorAt(t, addr)
			if i == 0 {
				steer(t, c, "one", admin.Resume)
			}
			awaitOr(t, reached, func() bool { return must(c.Job(t.Context(), job.ID))(t).State == admin.JobDone })
		})
	}
	a = startApp(t, cfg)
	c = operator(t, a, "")
	if j := finished(t, c, job.ID); j.State != admin.JobDone || j.Done != j.Total || j.Delivered != uint64(len(events)) {
		t.Errorf("%+v, want a job that has delivered all", j)
	}
	r.mu.Lock()
	if len(replayed) != len(events) {
		t.Errorf("%d of %d events were replayed", len(replayed), len(events))
	}
	r.mu.Unlock()
	if got := account(t, a, "one", len(events)); got["delivered"] != len(events) {
		t.Errorf("%v, want all delivered", got)
	}
}

// killOrders: what an operator was told is so, and nothing else is half done.
func killOrders(t *testing.T) {
	r := newCounter(t, func(*http.Request, []string) int { return http.StatusOK })
	dir := t.TempDir()
	cfg := load(t, dir, endpoint("one", r.url, ""))
	stored, paused := 0, false
	for round := range 6 {
		action := admin.Pause
		if paused {
			action = admin.Resume
		}
		told := make(chan error, 1)
		kill(t, dir, func(addr string) {
			c := operatorAt(t, addr)
			go func() { told <- c.Control(t.Context(), "one", action) }()
			if round < 2 { // in time
				if err := <-told; err != nil {
					t.Error(err)
				}
				told <- nil
				return
			}
			<-time.After(rand.N(10 * time.Millisecond))
		})
		err := <-told

		a := startApp(t, cfg)
		c := operator(t, a, "")
		is := status(t, c, "one").State == "paused"
		if err == nil && is != (action == admin.Pause) {
			t.Errorf("round %d: %s was confirmed; paused %t", round, action, is)
		}
		mustSend(t, a, notificationstest.Pushes(stored, 5, "team/a")...)
		stored += 5
		if !is {
			eventually(t, "all is delivered", func() bool { return status(t, c, "one").Pending == 0 })
		}
		if got := account(t, a, "one", stored); is != (got["pending"] > 0) {
			t.Errorf("round %d: paused %t, and %v", round, is, got)
		}
		shutdown(t, a)
		paused = is
	}
}

// operatorAt is an operator of the dispatcher with that admin address.
func operatorAt(t *testing.T, addr string) *client.Client {
	t.Helper()
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return must(client.New("http://"+addr, &client.Options{HTTP: &http.Client{Transport: transport}}))(t)
}
