package app_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// A consumer is a webhook that misbehaves.
type consumer struct {
	url      string
	requests atomic.Int64
	written  atomic.Int64 // bytes of answers that were taken from it
}

// newConsumer serves with answer; release is closed before the server is.
func newConsumer(t *testing.T, answer func(c *consumer, release <-chan struct{}, w http.ResponseWriter, r *http.Request)) *consumer {
	c, release := new(consumer), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		answer(c, release, w, r)
	}))
	t.Cleanup(func() { close(release); server.Close() })
	c.url = server.URL
	return c
}

// neverAnswers takes requests and says nothing until the test ends.
func neverAnswers(t *testing.T) *consumer {
	return newConsumer(t, func(_ *consumer, release <-chan struct{}, _ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that it is not for want of reading
		<-release
	})
}

// answersAGigabyte answers with a status, and then with all that is taken, up to 1 GiB.
func answersAGigabyte(status int) func(*testing.T) *consumer {
	return func(t *testing.T) *consumer {
		junk := make([]byte, 1<<20)
		return newConsumer(t, func(c *consumer, _ <-chan struct{}, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			for range 1 << 10 {
				n, err := w.Write(junk)
				c.written.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
}

// answersEndlessHeaders answers with as many headers as are taken.
func answersEndlessHeaders(t *testing.T) *consumer {
	return newConsumer(t, func(c *consumer, _ <-chan struct{}, w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = buffered.WriteString("HTTP/1.1 200 OK\r\n")
		for line := "X-Junk: " + strings.Repeat("x", 1000) + "\r\n"; err == nil && c.written.Load() < 1<<30; {
			var n int
			n, err = buffered.WriteString(line)
			c.written.Add(int64(n))
		}
	})
}

// resets cuts each connection, with a RST, when a request has come.
func resets(t *testing.T) *consumer {
	return newConsumer(t, func(_ *consumer, _ <-chan struct{}, w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
}

// redirects sends everybody elsewhere, where nobody may ever come.
func redirects(t *testing.T) *consumer {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect was followed")
	}))
	t.Cleanup(elsewhere.Close)
	return newConsumer(t, func(_ *consumer, _ <-chan struct{}, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
}

// drips answers 200 and then a byte now and then, without end.
func drips(t *testing.T) *consumer {
	return newConsumer(t, func(c *consumer, release <-chan struct{}, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server sees when the sender hangs up
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			c.written.Add(1)
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			case <-release:
				return
			}
		}
	})
}

// What a misbehaving consumer may cost, with room for a slow machine and -race.
const (
	promptly   = 45 * time.Second // for all events to reach the healthy endpoint beside it
	moreMemory = 128 << 20        // bytes that the process may take from the system
	mostTaken  = 16 << 20         // bytes of one answer that are taken, what sockets buffer included
)

func TestBadConsumers(t *testing.T) {
	for _, test := range []struct {
		name     string
		consumer func(*testing.T) *consumer
		accepts  bool // its answer means yes all the same
		state    string
	}{
		{"never answers", neverAnswers, false, "down"},
		{"answers a gigabyte", answersAGigabyte(http.StatusOK), true, "ok"},
		{"fails with a gigabyte", answersAGigabyte(http.StatusInternalServerError), false, "down"},
		{"answers endless headers", answersEndlessHeaders, false, "down"},
		{"drips", drips, true, "ok"},
		{"resets", resets, false, "down"},
		{"redirects", redirects, false, "misdirected"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bad, healthy := test.consumer(t), newReceiver(t)
			a := startApp(t, load(t, t.TempDir(),
				endpoint("bad", bad.url, "timeout = \"200ms\"\nbatch = { max_events = 100 }")+
					endpoint("healthy", healthy.URL, "batch = { max_events = 100 }")+
					endpoint("other", healthy.URL, `filter = { actions = ["delete"] }`)))

			before, started := memory(), time.Now()
			sent := sendMany(t, a, 10, 100)
			healthy.wait(t, len(sent))
			if took := time.Since(started); took > promptly {
				t.Errorf("the healthy endpoint had everything after %v, want %v", took, promptly)
			}
			checkOrder(t, sent, healthy.received())

			want := fmt.Sprintf(`regcast_endpoint_state{endpoint="bad",state=%q} 1`, test.state)
			metrics := scrapeUntil(t, a, func(metrics string) bool {
				return strings.Contains(metrics, want) && settled(metrics, "other")["pending"] == 0 &&
					(!test.accepts || settled(metrics, "bad")["pending"] == 0)
			})
			for _, name := range []string{"bad", "healthy", "other"} {
				checkIdentity(t, metrics, name, len(sent))
			}
			if got := settled(metrics, "bad")["delivered"]; test.accepts != (got == len(sent)) || !test.accepts && got != 0 {
				t.Errorf("%d of %d events are delivered to the bad consumer", got, len(sent))
			}
			if got := settled(metrics, "other")["filtered"]; got != len(sent) {
				t.Errorf("%d of %d events are filtered", got, len(sent))
			}
			if n := bad.requests.Load(); n == 0 {
				t.Error("the bad consumer was not asked")
			} else if each := bad.written.Load() / n; each > mostTaken {
				t.Errorf("%d bytes of each answer were taken, want %d at most", each, mostTaken)
			}
			if more := memory() - before; more > moreMemory {
				t.Errorf("the process took %d MiB more, want %d at most", more>>20, moreMemory>>20)
			}

			started = time.Now()
			shutdown(t, a)
			if took := time.Since(started); took > promptly {
				t.Errorf("stopping took %v", took)
			}
		})
	}
}

// Endpoints that are stuck do not hold up a reload for longer than the drain timeout,
// however many they are, and what they had in flight goes where the new file says.
func TestReloadOfStuckEndpoints(t *testing.T) {
	dir, stuck, healthy := t.TempDir(), neverAnswers(t), newReceiver(t)
	var before, after string
	const count = 25
	for i := range count {
		name := fmt.Sprintf("endpoint-%d", i)
		before += endpoint(name, stuck.url, `timeout = "10m"`)
		after += endpoint(name, healthy.URL, "")
	}
	a := startApp(t, load(t, dir, before))
	mustSend(t, a, notificationstest.Pushes(1, 3, "team/a")...)
	busy := regexp.MustCompile(`(?m)^regcast_endpoint_inflight_requests\{.*\} 1$`)
	scrapeUntil(t, a, func(metrics string) bool { return len(busy.FindAllString(metrics, -1)) == count })
	cfg := load(t, dir, after)
	started := time.Now()
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took, most := time.Since(started), (count-1)*cfg.DrainTimeout; took > most {
		t.Errorf("the reload took %v, want %v at most", took, most)
	}
	healthy.wait(t, 3*count)
}

// memory is what the process has taken from the system so far; it does not shrink.
func memory() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// sendMany posts envelopes of pushes to several repositories and returns the events'
// ids in order, by repository.
func sendMany(t *testing.T, a *app.App, envelopes, each int) map[string]string {
	t.Helper()
	repos := []string{"team/a", "team/b", "team/c", "team/d"}
	sent := make(map[string]string)
	for i := range envelopes {
		events := notificationstest.Pushes(i*each, each, repos...)
		for _, e := range events {
			sent[e.ID] = e.Repository
		}
		mustSend(t, a, events...)
	}
	return sent
}

// checkOrder checks that received are the ids of sent, each once, in order per
// repository: the ids of sample events are in the order of their numbers.
func checkOrder(t *testing.T, sent map[string]string, received []string) {
	t.Helper()
	if len(received) != len(sent) {
		t.Errorf("%d events received, want %d", len(received), len(sent))
	}
	last := make(map[string]string)
	for _, id := range received {
		repo, ok := sent[id]
		if !ok {
			t.Fatalf("received %s, which was not sent", id)
		}
		if number(id) <= number(last[repo]) {
			t.Fatalf("in %s, %s came after %s", repo, id, last[repo])
		}
		last[repo] = id
	}
}

// number is the number of the sample event with that id.
func number(id string) string { return id[max(len(id)-12, 0):] }

// scrapeUntil scrapes until the metrics satisfy ok and returns them.
func scrapeUntil(t *testing.T, a *app.App, ok func(metrics string) bool) string {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		metrics := scrape(t, a)
		if ok(metrics) {
			return metrics
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for the metrics; the last are\n%s", metrics)
		}
	}
}

var accounts = regexp.MustCompile(`(?m)^regcast_endpoint_(?:events_total|pending_events)\{endpoint="([^"]+)"(?:,outcome="([^"]+)")?\} (\S+)$`)

// settled is how many events of the endpoint have which outcome, and how many are
// pending.
func settled(metrics, endpoint string) map[string]int {
	counts := make(map[string]int)
	for _, m := range accounts.FindAllStringSubmatch(metrics, -1) {
		if m[1] != endpoint {
			continue
		}
		outcome := m[2]
		if outcome == "" {
			outcome = "pending"
		}
		n, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			panic(err)
		}
		counts[outcome] = int(n)
	}
	return counts
}

// checkIdentity checks that all that was stored since the endpoint's start is accounted
// for.
func checkIdentity(t *testing.T, metrics, endpoint string, stored int) {
	t.Helper()
	counts, sum := settled(metrics, endpoint), 0
	for _, outcome := range []string{"delivered", "filtered", "dead", "dropped", "evicted", "pending"} {
		n, ok := counts[outcome]
		if !ok {
			t.Errorf("endpoint %s has no metric for %s", endpoint, outcome)
		}
		sum += n
	}
	if sum != stored || len(counts) != 6 {
		t.Errorf("endpoint %s: %v add up to %d, want %d stored", endpoint, counts, sum, stored)
	}
}
