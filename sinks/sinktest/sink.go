package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// patience is how long a suite waits for what must happen.
const patience = 10 * time.Second

// A Subject is a sink to be judged by [TestSink].
type Subject struct {
	Sink notifications.Sink

	// Shutdown shuts the sink down; the suite calls it at the end of each subtest. nil
	// for a sink that needs none.
	Shutdown func(context.Context) error

	// Received returns the events that the sink has taken, where they do not arrive at
	// the far end that the suite offers: a sink that keeps them. Subtests that make the
	// far end misbehave are skipped then.
	Received func() []*notifications.Event
}

// TestSink checks that a sink keeps the contract of [notifications.Sink].
//
// open returns a fresh sink whose events end up in far: directly, or because the server
// that the sink talks to writes them there and translates far's error to its own
// language. The sink must let pushes by tag to team/app-0, team/app-1 and so on through.
// A sink that answers for what it took (a queue) is opened in front of one that tries
// again, within milliseconds.
func TestSink(t *testing.T, open func(t *testing.T, far notifications.Sink) Subject) {
	for _, sub := range []struct {
		name string
		test func(*testing.T, *sinkTest)
	}{
		{"every event of an accepted batch arrives", testArrival},
		{"the slice stays the caller's", testSlice},
		{"an empty batch is accepted", testEmpty},
		{"concurrent writes", testConcurrency},
		{"returns soon after its context ends", testContext},
		{"passing failures are not for ever", testTransient},
		{"a refusal for good is told as such", testPermanent},
		{"closed after shutdown and only then", testClosed},
	} {
		t.Run(sub.name, func(t *testing.T) {
			s := &sinkTest{recorder: &notificationstest.Recorder{}}
			s.gate = notificationstest.NewGate(s.recorder)
			s.gate.Open()
			s.Subject = open(t, notificationstest.NewLossyAck(s.gate, s.answer))
			if s.Received == nil {
				s.Received = s.recorder.Events
			} else {
				s.keeps = true
			}
			defer s.shutdown(t)
			sub.test(t, s)
		})
	}
}

// A sinkTest is one subtest's sink and far end.
type sinkTest struct {
	Subject
	keeps    bool // the sink does not write to the far end
	recorder *notificationstest.Recorder
	gate     *notificationstest.Gate

	mu    sync.Mutex
	fault notificationstest.Fault // nil: the far end accepts
}

// answer is the far end's, after it has taken the batch.
func (s *sinkTest) answer(write int, batch []*notifications.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		return nil
	}
	return s.fault(write, batch)
}

func (s *sinkTest) misbehave(t *testing.T, fault notificationstest.Fault) {
	t.Helper()
	if s.keeps {
		t.Skip("the sink has no far end that could misbehave")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *sinkTest) shutdown(t *testing.T) {
	t.Helper()
	if s.Shutdown == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// offer writes batch again and again, as a caller may, until the sink takes it.
func (s *sinkTest) offer(batch []*notifications.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := s.Sink.Write(ctx, batch)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, notifications.ErrClosed), notifications.IsPermanent(err):
			return fmt.Errorf("refused for ever: %w", err)
		case ctx.Err() != nil:
			return fmt.Errorf("not accepted within %v: %w", patience, err)
		}
	}
}

// mustArrive waits until all of want were received.
func (s *sinkTest) mustArrive(t *testing.T, want []*notifications.Event) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		missing := slices.Clone(want)
		received := make(map[string]bool)
		for _, e := range s.Received() {
			received[e.ID] = true
		}
		missing = slices.DeleteFunc(missing, func(e *notifications.Event) bool { return received[e.ID] })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d accepted events did not arrive: %v", len(missing), len(want), notificationstest.Numbers(missing))
		}
	}
}

func pushes(first, count int) []*notifications.Event {
	return notificationstest.Pushes(first, count, "team/app-0", "team/app-1", "team/app-2")
}

func testArrival(t *testing.T, s *sinkTest) {
	one, many := pushes(0, 1), pushes(1, 20)
	for _, batch := range [][]*notifications.Event{one, many} {
		for _, e := range batch {
			if !notifications.Wants(s.Sink, e) {
				t.Errorf("does not want %s of %s:%s", e.Action, e.Repository, e.Tag)
			}
		}
		if err := s.offer(batch); err != nil {
			t.Fatal(err)
		}
	}
	s.mustArrive(t, one)
	s.mustArrive(t, many)
}

func testSlice(t *testing.T, s *sinkTest) {
	room := pushes(0, 8)
	spare := room[5]
	batch := room[:5]
	before := slices.Clone(batch)
	wire := make([][]byte, len(batch))
	for i, e := range batch {
		wire[i] = e.AppendJSON(nil)
	}
	if err := s.offer(batch); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(batch, before) || room[5] != spare {
		t.Error("the slice was modified")
	}
	poison := notificationstest.Push("team/app-0", "poison", 1000)
	for i := range room {
		room[i] = poison
	}
	s.mustArrive(t, before)
	for i, e := range before {
		if !bytes.Equal(e.AppendJSON(nil), wire[i]) {
			t.Errorf("event %d was modified", i)
		}
	}
	if slices.ContainsFunc(s.Received(), func(e *notifications.Event) bool { return e.ID == poison.ID }) {
		t.Error("the slice was read after Write had returned")
	}
}

func testEmpty(t *testing.T, s *sinkTest) {
	if err := s.Sink.Write(context.Background(), nil); err != nil {
		t.Errorf("Write of nothing = %v", err)
	}
	if n := len(s.Received()); n != 0 {
		t.Errorf("%d events received, none written", n)
	}
}

func testConcurrency(t *testing.T, s *sinkTest) {
	const writers, batches, size = 8, 10, 3
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for b := range batches {
				if err := s.offer(pushes((w*batches+b)*size, size)); err != nil {
					t.Errorf("writer %d, batch %d: %v", w, b, err)
					return
				}
			}
		})
	}
	wg.Wait()
	s.mustArrive(t, pushes(0, writers*batches*size))
}

func testContext(t *testing.T, s *sinkTest) {
	ended, end := context.WithCancel(context.Background())
	end()
	first := pushes(0, 1)
	s.cancelled(t, first, s.Sink.Write(ended, first))
	if s.keeps {
		return
	}

	s.gate.Shut()
	ctx, cancel := context.WithCancel(context.Background())
	batch := pushes(1, 3)
	done := make(chan error, 1)
	go func() { done <- s.Sink.Write(ctx, batch) }()
	wait, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	if err := s.gate.WaitHeld(wait, 1); err != nil {
		t.Errorf("nothing came to the far end: %v", err)
	}
	cancel()
	select {
	case err := <-done:
		s.gate.Open()
		s.cancelled(t, batch, err)
	case <-wait.Done():
		t.Errorf("Write did not return within %v of the end of its context", patience)
		s.gate.Open()
		<-done
	}
}

// cancelled checks the answer to a write whose context has ended.
func (s *sinkTest) cancelled(t *testing.T, batch []*notifications.Event, err error) {
	t.Helper()
	switch {
	case err == nil:
		s.mustArrive(t, batch)
	case errors.Is(err, notifications.ErrClosed), notifications.IsPermanent(err):
		t.Errorf("Write whose context has ended = %v, which means never", err)
	}
}

func testTransient(t *testing.T, s *sinkTest) {
	s.misbehave(t, notificationstest.EveryNth(2, errors.New("come back later")))
	batch := pushes(0, 5)
	for i := range batch {
		if err := s.offer(batch[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	s.mustArrive(t, batch)
}

func testPermanent(t *testing.T, s *sinkTest) {
	s.misbehave(t, notificationstest.EveryNth(1, notifications.Permanent(errors.New("not this one"))))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.Sink.Write(ctx, pushes(0, 1))
	if err != nil && !notifications.IsPermanent(err) {
		t.Errorf("Write of what is never taken = %v, which is not permanent", err)
	}
	if errors.Is(err, notifications.ErrClosed) {
		t.Errorf("Write of what is never taken = %v, but the sink was not shut down", err)
	}
	s.misbehave(t, nil)
	if err := s.offer(pushes(1, 1)); err != nil {
		t.Errorf("after a batch was refused for good, another: %v", err)
	}
	s.mustArrive(t, pushes(1, 1))
}

func testClosed(t *testing.T, s *sinkTest) {
	if s.Shutdown == nil {
		t.Skip("the sink needs no shutdown")
	}
	if err := s.offer(pushes(0, 3)); err != nil {
		t.Fatal(err)
	}
	s.mustArrive(t, pushes(0, 3))
	s.shutdown(t)
	for range 2 {
		if err := s.Sink.Write(context.Background(), pushes(3, 1)); !errors.Is(err, notifications.ErrClosed) {
			t.Errorf("Write after Shutdown = %v, want ErrClosed", err)
		}
		s.shutdown(t) // another one must change nothing
	}
}
