package endpoints_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// attempt is one with a single event that begins now.
func attempt(sequence uint64) sinks.Attempt {
	now := time.Now()
	return sinks.Attempt{
		Number: 1, Events: 1, First: sequence, Last: sequence, Sequences: []uint64{sequence}, Stored: now, Started: now, FirstTried: now,
	}
}

func TestPing(t *testing.T) {
	var header http.Header
	url := receive(t, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		if strings.HasSuffix(r.URL.Path, "/busy") {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, "who is Bearer hidden-token?")
	})
	event := notifications.NewEvent("ping", notifications.Details{})
	var recorded atomic.Int64
	opts := &endpoints.Options{
		Authorization: endpoints.SecretString("Bearer hidden-token"),
		OnAttempt:     func(sinks.AttemptRecord) { recorded.Add(1) },
	}
	e := newEndpoint(t, url, opts)
	e.Pause("for a while")
	got, err := e.Ping(context.Background(), event)
	if err != nil || got.Status != 200 || string(got.Excerpt) != "who is <secret>?" || got.Duration <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if header.Get("Regcast-Test") != "true" || header.Get("Authorization") == "" || header.Get("Regcast-Attempt") != "" {
		t.Errorf("headers %v, want those of a test", header)
	}
	got, err = newEndpoint(t, url+"/busy", opts).Ping(context.Background(), event)
	if deliveryError(t, err).Status != 503 || got.Status != 503 || len(got.Excerpt) == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if recorded.Load() != 0 || e.State().Name != endpoints.StatePaused {
		t.Errorf("%d attempts recorded, state %+v: a ping leaves no trace", recorded.Load(), e.State())
	}
	if err := e.Write(context.Background(), batch); err != nil || header.Get("Regcast-Test") != "" {
		t.Errorf("a delivery is marked as a test: %v, %v", header, err)
	}
}

// TestPingEndsTheWaiting of an endpoint that is held.
func TestPingEndsTheWaiting(t *testing.T) {
	var broken atomic.Bool
	url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	e := newEndpoint(t, url, nil)
	policy := e.DeliverOptions().Policy
	broken.Store(true)
	a := attempt(1)
	policy.Judge(&a, e.Write(context.Background(), batch))
	if _, err := e.Ping(context.Background(), batch[0]); err == nil {
		t.Error("a ping that is refused is no error")
	}
	if n, _ := policy.Admit(time.Now()); n != 0 {
		t.Errorf("Admit = %d after a ping that was refused", n)
	}
	broken.Store(false)
	if _, err := e.Ping(context.Background(), batch[0]); err != nil {
		t.Error(err)
	}
	if n, _ := policy.Admit(time.Now()); n != 1 || e.State().Name != endpoints.StateAuth {
		t.Errorf("Admit = %d in state %q, want a probe at once", n, e.State().Name)
	}
}

func TestOnAttempt(t *testing.T) {
	url := receive(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Regcast-Attempt") == "1" {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 3000))
	})
	var mu sync.Mutex
	var got []sinks.AttemptRecord
	e := newEndpoint(t, url, &endpoints.Options{OnAttempt: func(r sinks.AttemptRecord) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r)
	}})
	two := notificationstest.Pushes(1, 2, "team/app")
	a := sinks.Attempt{Number: 1, Events: 2, First: 7, Last: 9, Sequences: []uint64{7, 9}, Replay: "job3"}
	began := time.Now()
	if err := e.Write(sinks.WithAttempt(context.Background(), a), two); err == nil {
		t.Error("502 is accepted")
	}
	a.Number = 2
	if err := e.Write(sinks.WithAttempt(context.Background(), a), two); err != nil {
		t.Error(err)
	}
	a.Sequences[0] = 1000 // the record has its own
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Write(cancelled, batch); err == nil {
		t.Error("a cancelled attempt is accepted")
	}
	excerpt := []byte(strings.Repeat("x", sinks.MaxExcerpt))
	want := []sinks.AttemptRecord{
		{Endpoint: "audit", Sequences: []uint64{7, 9}, Number: 1, Status: 502, Fault: "transient", Error: "answered 502 Bad Gateway", Excerpt: excerpt, Replay: "job3"},
		{Endpoint: "audit", Sequences: []uint64{7, 9}, Number: 2, Status: 200, Excerpt: excerpt, Replay: "job3"},
		{Endpoint: "audit", Fault: "canceled", Error: "context canceled"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(sinks.AttemptRecord{}, "At", "Duration")); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for _, r := range got {
		if r.At.Before(began) || r.At.Add(r.Duration).After(time.Now()) || r.Failed() == (r.Status == 200) {
			t.Errorf("record %+v", r)
		}
	}
}

// TestSecretsAreReadAgainBeforeHolding has a receiver that learns of a new secret while a
// request with the old one is on its way.
func TestSecretsAreReadAgainBeforeHolding(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte("Bearer old-token\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var requests atomic.Int64
		valid := "Bearer new-token"
		url := receive(t, func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			if r.Header.Get("Authorization") != valid {
				if err := os.WriteFile(path, []byte("Bearer new-token\n"), 0o600); err != nil {
					t.Error(err)
				}
				w.WriteHeader(status)
			}
		})
		w := newWebhook(t, url, &endpoints.Options{Authorization: endpoints.SecretFile(path)})
		err := w.Write(context.Background(), batch)
		if status == http.StatusNotFound { // which no secret heals
			if err == nil || requests.Load() != 1 {
				t.Errorf("%d: %v after %d requests, want one", status, err, requests.Load())
			}
			continue
		}
		if err != nil || requests.Load() != 2 {
			t.Errorf("%d: %v after %d requests, want to be accepted by the second", status, err, requests.Load())
		}
		valid = "Bearer nobody-has-it"
		if err := w.Write(context.Background(), batch); err == nil || requests.Load() != 3 {
			t.Errorf("%d: %v after %d requests, want one with a secret that has not changed", status, err, requests.Load())
		}
	}
}

// TestSharedSlots has two endpoints with one slot: one of them waits, and gives up.
func TestSharedSlots(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	url := receive(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-leave
	})
	slots := endpoints.NewSlots(1)
	one := newEndpoint(t, url, &endpoints.Options{Slots: slots})
	other := newEndpoint(t, url, &endpoints.Options{Slots: slots, Timeout: time.Millisecond}) // does not run while it waits
	done := make(chan error, 1)
	go func() { done <- one.Write(context.Background(), batch) }()
	<-entered
	if slots.InFlight() != 1 || one.InFlight() != 1 {
		t.Errorf("%d slots taken, %d in flight", slots.InFlight(), one.InFlight())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err := other.Write(ctx, batch)
	if e := deliveryError(t, err); e.Class != endpoints.Canceled || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want to be cancelled while waiting", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if slots.InFlight() != 0 || one.InFlight() != 0 || other.InFlight() != 0 {
		t.Error("slots are not given back")
	}
}
