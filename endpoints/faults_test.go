package endpoints_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// account checks that all events stored since a cursor's start are settled or pending,
// and returns the cursor's account.
func account(t *testing.T, engine sinks.Cursors, name string, stored int) sinks.CursorInfo {
	t.Helper()
	infos, err := engine.CursorInfos(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Name != name {
			continue
		}
		sum := info.Pending
		for _, n := range info.Totals {
			sum += n
		}
		if sum != uint64(stored) {
			t.Errorf("%+v adds up to %d, want %d stored", info, sum, stored)
		}
		return info
	}
	t.Fatalf("no cursor %s in %+v", name, infos)
	return sinks.CursorInfo{}
}

// deliver delivers from a new cursor of engine to dst in the way of e, until end.
func deliver(t *testing.T, engine sinks.Cursors, e *endpoints.Endpoint, dst notifications.Sink) (end func()) {
	t.Helper()
	cursor, err := engine.Cursor(t.Context(), e.Name(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sinks.Deliver(ctx, cursor, dst, e.DeliverOptions()) }()
	return func() {
		t.Helper()
		cancel()
		if err := errors.Join(<-done, cursor.Close()); err != nil {
			t.Error(err)
		}
	}
}

// A misfortune befalls a receiver with a backlog, and ends.
type misfortune struct {
	url   string
	opts  endpoints.Options
	state endpoints.StateName
	cause string // a part of it
	heal  func()
	late  bool // its answers may come too late: what was accepted is sent again then
}

// misfortunes are those of sockets, names and certificates; got takes what is accepted.
var misfortunes = map[string]func(t *testing.T, got http.HandlerFunc) misfortune{
	"no answer": func(t *testing.T, got http.HandlerFunc) misfortune {
		var healed atomic.Bool
		url := receive(t, func(w http.ResponseWriter, r *http.Request) {
			if healed.Load() {
				got(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		return misfortune{url, endpoints.Options{Timeout: 100 * time.Millisecond}, endpoints.StateDown, "no answer in time", func() { healed.Store(true) }, true}
	},
	"half a head": func(t *testing.T, got http.HandlerFunc) misfortune {
		var healed atomic.Bool
		url := receive(t, func(w http.ResponseWriter, r *http.Request) {
			if healed.Load() {
				got(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = buf.WriteString("HTTP/1.1 200 OK\r\nContent-Le")
			_ = buf.Flush()
			_ = conn.Close()
		})
		return misfortune{url, endpoints.Options{}, endpoints.StateDown, "", func() { healed.Store(true) }, false}
	},
	"no such name": func(t *testing.T, got http.HandlerFunc) misfortune {
		names := serveNames(t)
		port := portOf(t, receive(t, got))
		return misfortune{"http://late.example.:" + port, endpoints.Options{}, endpoints.StateDown, "late.example", func() {
			names.set("late.example", "127.0.0.1")
		}, false}
	},
	"expired certificate": func(t *testing.T, got http.HandlerFunc) misfortune {
		ca := newAuthority(t)
		var shown atomic.Pointer[tls.Certificate]
		var expired atomic.Bool
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if expired.Load() {
				got(w, r)
			}
		}))
		s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{*shown.Load()}}, nil
		}}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		show := func(life time.Duration) {
			c := ca.issue("127.0.0.1", life)
			shown.Store(&c)
		}
		opts := endpoints.Options{TLS: endpoints.TLSOptions{CAFile: ca.file()}}
		show(time.Hour)
		s.StartTLS()
		t.Cleanup(s.Close)
		if err := newWebhook(t, s.URL, &opts).Write(t.Context(), batch); err != nil {
			t.Errorf("while the certificate was valid: %v", err)
		}
		show(-time.Second)
		expired.Store(true)
		return misfortune{s.URL, opts, endpoints.StateTLS, "certificate has expired", func() { show(time.Hour) }, false}
	},
}

// TestMisfortunes has a backlog wait for the end of each of them.
func TestMisfortunes(t *testing.T) {
	for name, begin := range misfortunes {
		t.Run(name, func(t *testing.T) {
			var got notificationstest.Recorder
			m := begin(t, func(_ http.ResponseWriter, r *http.Request) {
				if err := got.Write(r.Context(), decode(t, r)); err != nil {
					t.Error(err)
				}
			})
			m.opts.Retry = endpoints.RetryOptions{Initial: time.Millisecond, Max: 10 * time.Millisecond}
			e := newEndpoint(t, m.url, &m.opts)
			engine := sinks.NewMemory(nil)
			defer engine.Shutdown(context.Background())
			end := deliver(t, engine, e, e)
			events := notificationstest.Pushes(0, 50, "team/a", "team/b", "team/c")
			write(t, engine, events...)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for deadline := time.Now().Add(time.Minute); e.State().Name != m.state && time.Now().Before(deadline); {
				<-tick.C
			}
			if s := e.State(); s.Name != m.state || !strings.Contains(s.Cause, m.cause) {
				t.Errorf("state %+v, want %s because of %q", s, m.state, m.cause)
			}
			if info := account(t, engine, e.Name(), len(events)); info.Pending != uint64(len(events)) {
				t.Errorf("%+v, want everything pending", info)
			}
			m.heal()
			eventually(t, func() bool { return account(t, engine, e.Name(), len(events)).Pending == 0 })
			end()
			if info := account(t, engine, e.Name(), len(events)); info.Totals[sinks.Delivered] != uint64(len(events)) {
				t.Errorf("%+v, want everything delivered", info)
			}
			received := got.Events()
			if m.late {
				received = firsts(received)
			}
			if len(received) != len(events) {
				t.Errorf("%d events received, want %d", len(received), len(events))
			}
			mustBeInOrder(t, received)
		})
	}
}

// firsts returns events without the repeats.
func firsts(events []*notifications.Event) (first []*notifications.Event) {
	seen := make(map[string]bool)
	for _, e := range events {
		if !seen[e.ID] {
			seen[e.ID] = true
			first = append(first, e)
		}
	}
	return first
}

// mustBeInOrder checks that sample events are in order per repository, each there once.
func mustBeInOrder(t *testing.T, events []*notifications.Event) {
	t.Helper()
	last := make(map[string]int)
	for _, e := range events {
		n := notificationstest.Number(e)
		if before, ok := last[e.Repository]; ok && n <= before {
			t.Fatalf("%s: event %d after %d", e.Repository, n, before)
		}
		last[e.Repository] = n
	}
}

// TestAnswerCutShort has a receiver that accepts, and hangs up before it has said all: the
// status counts, and nothing is sent again.
func TestAnswerCutShort(t *testing.T) {
	var got notificationstest.Recorder
	url := receive(t, func(w http.ResponseWriter, r *http.Request) {
		if err := got.Write(r.Context(), decode(t, r)); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "thank you ve")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	e := newEndpoint(t, url, nil)
	engine := sinks.NewMemory(nil)
	defer engine.Shutdown(context.Background())
	end := deliver(t, engine, e, e)
	events := notificationstest.Pushes(0, 50, "team/a", "team/b", "team/c")
	write(t, engine, events...)
	wait, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if _, err := got.Wait(wait, len(events)); err != nil {
		t.Error(err)
	}
	end()
	if info := account(t, engine, e.Name(), len(events)); info.Totals[sinks.Delivered] != uint64(len(events)) {
		t.Errorf("%+v, want everything delivered", info)
	}
	mustBeInOrder(t, got.Events())
}

// TestOutageCostsNothing has a receiver that is gone for three days with a backlog: no
// goroutine, no timer and no memory per event, and the backlog begins to go out within
// five minutes of the end.
func TestOutageCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const backlog, days = 20_000, 3
		ends := time.Now().Add(days * 24 * time.Hour)
		var requests, accepted, first atomic.Int64 // first: how late the first was accepted
		receiver := sinkFunc(func(context.Context, []*notifications.Event) error {
			requests.Add(1)
			if time.Now().Before(ends) {
				return &endpoints.DeliveryError{Class: endpoints.Transient, Fault: endpoints.FaultConnect, Err: errors.New("connection refused")}
			}
			if accepted.Add(1) == 1 {
				first.Store(int64(time.Since(ends)))
			}
			return nil
		})
		e := newEndpoint(t, "http://receiver.example", &endpoints.Options{Concurrency: 1})
		engine := sinks.NewMemory(nil)
		defer engine.Shutdown(context.Background())
		end := deliver(t, engine, e, receiver)
		for i := range backlog / 1000 {
			write(t, engine, notificationstest.Pushes(i*1000, 1000, "team/a", "team/b", "team/c")...)
		}
		pause(time.Hour)
		goroutines, heap := runtime.NumGoroutine(), heapInUse()
		pause(time.Until(ends) - time.Minute)
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines at the end of the outage, %d in its first hour", n, goroutines)
		}
		if more := heapInUse() - heap; more > 1<<20 {
			t.Errorf("%d bytes more at the end of the outage than in its first hour", more)
		}
		if n, most := requests.Load(), int64(days*24*60); n > most {
			t.Errorf("%d requests in the outage, want %d at most", n, most)
		}
		if info := account(t, engine, e.Name(), backlog); info.Pending != backlog || info.Parked != 0 {
			t.Errorf("%+v, want everything pending", info)
		}
		pause(time.Hour)
		end()
		if late := time.Duration(first.Load()); accepted.Load() == 0 || late > 5*time.Minute {
			t.Errorf("the first of %d events went out %v after the end", accepted.Load(), late)
		}
		if info := account(t, engine, e.Name(), backlog); info.Totals[sinks.Delivered] != backlog || accepted.Load() != backlog {
			t.Errorf("%+v and %d accepted, want everything delivered once", info, accepted.Load())
		}
	})
}

type sinkFunc func(ctx context.Context, batch []*notifications.Event) error

func (f sinkFunc) Write(ctx context.Context, batch []*notifications.Event) error {
	return f(ctx, batch)
}

// pause lets d pass, and what happens at its end.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// heapInUse is how much memory is reachable.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what finalizers kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
