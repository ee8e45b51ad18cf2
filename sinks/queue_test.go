package sinks_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// drops collects what a queue gives up.
type drops struct {
	mu      sync.Mutex
	numbers []int
	errs    []error
}

func (d *drops) add(batch []*notifications.Event, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.numbers = append(d.numbers, notificationstest.Numbers(batch)...)
	d.errs = append(d.errs, err)
}

func (d *drops) expect(t *testing.T, err error, numbers ...int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff(numbers, d.numbers); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
	for _, got := range d.errs {
		if !errors.Is(got, err) {
			t.Errorf("dropped for %v, want %v", got, err)
		}
	}
}

func pushes(first, count int) []*notifications.Event {
	return notificationstest.Pushes(first, count, "a")
}

func count(from, to int) []int {
	var ns []int
	for n := from; n < to; n++ {
		ns = append(ns, n)
	}
	return ns
}

func expectEvents(t *testing.T, r *notificationstest.Recorder, want []int) {
	t.Helper()
	if diff := cmp.Diff(want, notificationstest.Numbers(r.Events())); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
}

func expectStats(t *testing.T, q *sinks.Queue, want sinks.QueueStats) {
	t.Helper()
	if diff := cmp.Diff(want, q.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func mustWrite(t *testing.T, dst notifications.Sink, batch []*notifications.Event) {
	t.Helper()
	if err := dst.Write(t.Context(), batch); err != nil {
		t.Fatalf("Write: %v", err)
	}
}

// held returns a queue whose destination holds event 0, so that what comes after waits.
func held(t *testing.T, opts sinks.QueueOptions) (*sinks.Queue, *notificationstest.Gate, *notificationstest.Recorder) {
	t.Helper()
	r := &notificationstest.Recorder{}
	gate := notificationstest.NewGate(r)
	q := sinks.NewQueue(gate, &opts)
	mustWrite(t, q, pushes(0, 1))
	synctest.Wait()
	return q, gate, r
}

func TestQueueKeepsOrder(t *testing.T) {
	for _, size := range []int{1, 7, 1000} {
		var r notificationstest.Recorder
		q := sinks.NewQueue(&r, &sinks.QueueOptions{MaxBatch: size})
		for n := range 500 {
			mustWrite(t, q, pushes(2*n, 2))
		}
		if err := q.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectEvents(t, &r, count(0, 1000))
		for _, b := range r.Batches() {
			if len(b) == 0 || len(b) > size {
				t.Errorf("a batch of %d events with MaxBatch %d", len(b), size)
			}
		}
		expectStats(t, q, sinks.QueueStats{Accepted: 1000, Delivered: 1000})
	}
}

func TestQueueFillsBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, gate, r := held(t, sinks.QueueOptions{MaxBatch: 4})
		for n := 1; n < 7; n++ {
			mustWrite(t, q, pushes(n, 1))
		}
		gate.Open()
		synctest.Wait()
		var sizes []int
		for _, b := range r.Batches() {
			sizes = append(sizes, len(b))
		}
		if diff := cmp.Diff([]int{1, 4, 2}, sizes); diff != "" {
			t.Errorf("batch sizes (-want +got):\n%s", diff)
		}
	})
}

// The goroutine is there only while it has something to do: a queue that is never shut
// down leaks nothing once it is empty, or synctest would complain of it.
func TestQueueIsIdleWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r notificationstest.Recorder
		q := sinks.NewQueue(notificationstest.NewSlow(&r, time.Second), nil)
		for n := range 3 {
			mustWrite(t, q, pushes(n, 1))
			time.Sleep(time.Hour)
		}
		expectEvents(t, &r, count(0, 3))
	})
}

func TestQueueBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, gate, r := held(t, sinks.QueueOptions{Capacity: 3})
		mustWrite(t, q, pushes(1, 3)) // full
		var order []int
		var mu sync.Mutex
		for _, w := range []struct{ first, size int }{{4, 3}, {7, 1}, {8, 2}} {
			go func() {
				mustWrite(t, q, pushes(w.first, w.size))
				mu.Lock()
				defer mu.Unlock()
				order = append(order, w.first)
			}()
			synctest.Wait()
		}
		expectStats(t, q, sinks.QueueStats{Accepted: 4, Pending: 4, Blocked: 6})
		if len(order) > 0 {
			t.Fatalf("writes %v did not wait", order)
		}
		gate.Open()
		synctest.Wait()
		// First come, first served: the small one behind the large one did not overtake.
		expectEvents(t, r, count(0, 10))
		slices.Sort(order)
		if diff := cmp.Diff([]int{4, 7, 8}, order); diff != "" {
			t.Errorf("writes that returned (-want +got):\n%s", diff)
		}
		expectStats(t, q, sinks.QueueStats{Accepted: 10, Delivered: 10})
	})
}

func TestQueueBlocksNoLongerThanTheContext(t *testing.T) {
	errLeft := errors.New("client left")
	synctest.Test(t, func(t *testing.T) {
		q, gate, r := held(t, sinks.QueueOptions{Capacity: 2})
		mustWrite(t, q, pushes(1, 1)) // room for one more
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(errLeft) })
		first, second := make(chan error), make(chan error)
		start := time.Now()
		go func() { first <- q.Write(ctx, pushes(100, 2)) }()
		synctest.Wait()
		go func() { second <- q.Write(t.Context(), pushes(2, 1)) }() // behind it, but it would fit
		synctest.Wait()
		expectStats(t, q, sinks.QueueStats{Accepted: 2, Pending: 2, Blocked: 3})
		if err := <-first; !errors.Is(err, errLeft) {
			t.Errorf("Write = %v, want %v", err, errLeft)
		}
		if err := <-second; err != nil {
			t.Errorf("the write behind it = %v", err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("waited %v", took)
		}
		expectStats(t, q, sinks.QueueStats{Accepted: 3, Pending: 3, Rejected: 2})
		gate.Open()
		synctest.Wait()
		expectEvents(t, r, count(0, 3))
	})
}

// Room is made while the context ends: either answer is right, as long as it is true.
func TestQueueRoomAsTheContextEnds(t *testing.T) {
	for range 2000 {
		var r notificationstest.Recorder
		gate := notificationstest.NewGate(&r)
		q := sinks.NewQueue(gate, &sinks.QueueOptions{Capacity: 1})
		mustWrite(t, q, pushes(0, 1))
		if err := gate.WaitHeld(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, q, pushes(1, 1))
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan error)
		go func() { answer <- q.Write(ctx, pushes(2, 1)) }()
		for q.Stats().Blocked == 0 {
			runtime.Gosched()
		}
		go cancel()
		gate.Open()
		err := <-answer
		if err := q.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if (err == nil) != (r.Len() == 3) || q.Stats().Delivered != uint64(r.Len()) {
			t.Fatalf("Write = %v with %d received, %+v", err, r.Len(), q.Stats())
		}
	}
}

func TestQueueTakesWithoutAskingTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var r notificationstest.Recorder
	q := sinks.NewQueue(&r, nil)
	if err := q.Write(ctx, pushes(0, 1)); err != nil {
		t.Errorf("Write = %v, but there was room", err)
	}
	if err := q.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	expectEvents(t, &r, count(0, 1))
}

func TestQueueRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, gate, r := held(t, sinks.QueueOptions{Capacity: 3, OnFull: sinks.Reject})
		mustWrite(t, q, pushes(1, 2))
		if err := q.Write(t.Context(), pushes(100, 2)); !errors.Is(err, notifications.ErrFull) {
			t.Errorf("Write = %v, want ErrFull", err)
		}
		mustWrite(t, q, pushes(3, 1))
		expectStats(t, q, sinks.QueueStats{Accepted: 4, Pending: 4, Rejected: 2})
		gate.Open()
		synctest.Wait()
		mustWrite(t, q, pushes(4, 3))
		synctest.Wait()
		expectEvents(t, r, count(0, 7))
	})
}

func TestQueueDropsOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d drops
		q, gate, r := held(t, sinks.QueueOptions{Capacity: 3, OnFull: sinks.DropOldest, OnDrop: d.add})
		mustWrite(t, q, pushes(1, 3))
		mustWrite(t, q, pushes(4, 2))
		d.expect(t, notifications.ErrFull, 1, 2)
		expectStats(t, q, sinks.QueueStats{Accepted: 6, Pending: 4, Dropped: 2})
		gate.Open()
		synctest.Wait()
		expectEvents(t, r, []int{0, 3, 4, 5})
	})
}

func TestQueueRefusesWhatNeverFits(t *testing.T) {
	for _, onFull := range []sinks.OnFull{sinks.Block, sinks.Reject, sinks.DropOldest} {
		var r notificationstest.Recorder
		q := sinks.NewQueue(&r, &sinks.QueueOptions{Capacity: 3, OnFull: onFull})
		if err := q.Write(t.Context(), pushes(0, 4)); !notifications.IsPermanent(err) {
			t.Errorf("Write = %v, want a permanent error", err)
		}
		mustWrite(t, q, pushes(0, 3))
		if err := q.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		expectStats(t, q, sinks.QueueStats{Accepted: 3, Delivered: 3, Rejected: 4})
	}
}

func TestQueueCountsWhatFails(t *testing.T) {
	var r notificationstest.Recorder
	var d drops
	dst := notificationstest.NewFaulty(&r, notificationstest.EveryNth(2, errDown))
	q := sinks.NewQueue(dst, &sinks.QueueOptions{MaxBatch: 1, OnDrop: d.add})
	mustWrite(t, q, pushes(0, 5))
	if err := q.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v, but everything was written", err)
	}
	expectEvents(t, &r, []int{0, 2, 4})
	d.expect(t, errDown, 1, 3)
	expectStats(t, q, sinks.QueueStats{Accepted: 5, Delivered: 3, Failed: 2})
}

func TestQueueShutdownDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r notificationstest.Recorder
		q := sinks.NewQueue(notificationstest.NewSlow(&r, time.Minute), nil)
		mustWrite(t, q, pushes(0, 10))
		start := time.Now()
		if err := q.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 10*time.Minute {
			t.Errorf("Shutdown took %v", took)
		}
		expectEvents(t, &r, count(0, 10))
		if err := q.Write(t.Context(), pushes(10, 1)); !errors.Is(err, notifications.ErrClosed) {
			t.Errorf("Write after Shutdown = %v", err)
		}
		if err := q.Shutdown(t.Context()); err != nil {
			t.Errorf("second Shutdown = %v", err)
		}
	})
}

func TestQueueShutdownGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r notificationstest.Recorder
		var d drops
		slow := notificationstest.NewSlow(&r, time.Minute)
		q := sinks.NewQueue(slow, &sinks.QueueOptions{OnDrop: func(batch []*notifications.Event, err error) {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, notifications.ErrClosed) {
				t.Errorf("dropped for %v", err)
			}
			d.add(batch, nil)
		}})
		mustWrite(t, q, pushes(0, 10))
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		start := time.Now()
		err := q.Shutdown(ctx)
		var left *sinks.LeftError
		if !errors.As(err, &left) || left.Events != 8 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown = %v, want 8 events left for the deadline", err)
		}
		if took := time.Since(start); took != 150*time.Second {
			t.Errorf("Shutdown took %v", took)
		}
		expectEvents(t, &r, count(0, 2))
		d.expect(t, nil, count(2, 10)...)
		expectStats(t, q, sinks.QueueStats{Accepted: 10, Delivered: 2, Dropped: 8})
		if err := q.Shutdown(t.Context()); err != nil {
			t.Errorf("second Shutdown = %v", err)
		}
	})
}

// A dead endpoint behind a retrier that never gives up must not hold up a shutdown.
func TestQueueShutdownDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sinks.NewQueue(sinks.NewRetrier(always(errDown), nil), nil)
		mustWrite(t, q, pushes(0, 100))
		time.Sleep(3 * 24 * time.Hour)
		expectStats(t, q, sinks.QueueStats{Accepted: 100, Pending: 100})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		start := time.Now()
		var left *sinks.LeftError
		if err := q.Shutdown(ctx); !errors.As(err, &left) || left.Events != 100 {
			t.Errorf("Shutdown = %v", err)
		}
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("Shutdown took %v", took)
		}
	})
}

func TestQueueShutdownFreesBlockedWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, gate, r := held(t, sinks.QueueOptions{Capacity: 1})
		mustWrite(t, q, pushes(1, 1))
		answers := make(chan error)
		for range 3 {
			go func() { answers <- q.Write(t.Context(), pushes(2, 1)) }()
		}
		synctest.Wait()
		shut := make(chan error)
		go func() { shut <- q.Shutdown(t.Context()) }()
		for range 3 {
			if err := <-answers; !errors.Is(err, notifications.ErrClosed) {
				t.Errorf("Write = %v, want ErrClosed", err)
			}
		}
		gate.Open()
		if err := <-shut; err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		expectEvents(t, r, count(0, 2))
		expectStats(t, q, sinks.QueueStats{Accepted: 2, Delivered: 2, Rejected: 3})
	})
}

func TestQueueShutdownOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r notificationstest.Recorder
		q := sinks.NewQueue(notificationstest.NewSlow(&r, time.Minute), nil)
		mustWrite(t, q, pushes(0, 3))
		answers := make(chan error)
		for range 2 {
			go func() { answers <- q.Shutdown(t.Context()) }()
		}
		for range 2 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
			if r.Len() != 3 {
				t.Errorf("Shutdown returned with %d of 3 events written", r.Len())
			}
		}
	})
}

func TestQueueWants(t *testing.T) {
	e := pushes(0, 1)[0]
	if sinks.NewQueue(sinks.NewBroadcaster(), nil).Wants(e) {
		t.Error("wants what nobody below does")
	}
	if !sinks.NewQueue(discard{}, nil).Wants(e) {
		t.Error("does not want what its destination does")
	}
}

// The counters add up at any moment, whatever happens.
func TestQueueStatsAddUp(t *testing.T) {
	for _, onFull := range []sinks.OnFull{sinks.Block, sinks.Reject, sinks.DropOldest} {
		var r notificationstest.Recorder
		dst := notificationstest.NewFaulty(&r, notificationstest.EveryNth(7, errDown))
		q := sinks.NewQueue(dst, &sinks.QueueOptions{Capacity: 8, MaxBatch: 3, OnFull: onFull})
		const writers, each = 4, 200
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for n := range each {
					_ = q.Write(context.Background(), pushes(n, 1+n%3))
				}
			})
			wg.Go(func() {
				for range each {
					if s := q.Stats(); s.Pending > 8+3 || s.Accepted != s.Delivered+s.Failed+s.Dropped+s.Pending {
						t.Errorf("stats do not add up: %+v", s)
					}
				}
			})
		}
		wg.Wait()
		if err := q.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		s := q.Stats()
		written := uint64(0)
		for n := range each {
			written += writers * uint64(1+n%3)
		}
		if s.Accepted+s.Rejected != written || s.Pending+s.Blocked != 0 || s.Delivered != uint64(r.Len()) {
			t.Errorf("%d written, %d received, %+v", written, r.Len(), s)
		}
	}
}

func TestQueueHandOffAllocations(t *testing.T) {
	gate := notificationstest.NewGate(nil)
	q := sinks.NewQueue(gate, nil)
	batch := pushes(0, 1)
	for range 2000 { // let the ring grow
		mustWrite(t, q, batch)
	}
	if n := testing.AllocsPerRun(40, func() { _ = q.Write(context.Background(), batch) }); n != 0 {
		t.Errorf("%v allocations to hand over an event", n)
	}
	gate.Open()
	if err := q.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func BenchmarkQueueHandOff(b *testing.B) {
	batch := pushes(0, 1)
	ctx := context.Background()
	b.Run("busy", func(b *testing.B) { // somebody is draining
		q := sinks.NewQueue(discard{}, nil)
		b.ReportAllocs()
		for b.Loop() {
			if err := q.Write(ctx, batch); err != nil {
				b.Fatal(err)
			}
		}
		_ = q.Shutdown(ctx)
	})
	b.Run("full", func(b *testing.B) { // nobody is
		q := sinks.NewQueue(notificationstest.NewGate(nil), &sinks.QueueOptions{OnFull: sinks.DropOldest})
		b.ReportAllocs()
		for b.Loop() {
			if err := q.Write(ctx, batch); err != nil {
				b.Fatal(err)
			}
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		_ = q.Shutdown(ended)
	})
}
