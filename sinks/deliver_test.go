package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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

// receiver is the sink behind a Deliver. answer says what it answers; what it accepts is
// kept in accepted.
type receiver struct {
	answer func(ctx context.Context, a sinks.Attempt, batch []*notifications.Event) error

	mu       sync.Mutex
	accepted []*notifications.Event
	attempts []sinks.Attempt
	inFlight int
	peak     int
	keys     map[string]bool // in flight now
	broken   error           // the first promise that Deliver broke
}

func (r *receiver) Write(ctx context.Context, batch []*notifications.Event) error {
	a, ok := sinks.AttemptFrom(ctx)
	r.enter(a, ok, batch)
	var err error
	if r.answer != nil {
		err = r.answer(ctx, a, batch)
	}
	r.leave(batch, err)
	return err
}

func (r *receiver) enter(a sinks.Attempt, ok bool, batch []*notifications.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok || a.Events != len(batch) {
		r.fail("attempt %+v, %t for %d events", a, ok, len(batch))
	}
	r.attempts = append(r.attempts, a)
	r.inFlight++
	r.peak = max(r.peak, r.inFlight)
	if r.keys == nil {
		r.keys = make(map[string]bool)
	}
	for key := range keysOf(batch) {
		if r.keys[key] {
			r.fail("two batches with events of %s in flight", key)
		}
		r.keys[key] = true
	}
}

func (r *receiver) leave(batch []*notifications.Event, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight--
	for key := range keysOf(batch) {
		delete(r.keys, key)
	}
	if err == nil {
		r.accepted = append(r.accepted, batch...)
	}
}

func (r *receiver) fail(format string, args ...any) {
	if r.broken == nil {
		r.broken = fmt.Errorf(format, args...)
	}
}

// tried returns all attempts so far.
func (r *receiver) tried() []sinks.Attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.attempts)
}

// numbers returns the accepted events by repository, as sample numbers.
func (r *receiver) numbers() map[string][]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	byKey := make(map[string][]int)
	for _, e := range r.accepted {
		byKey[e.Repository] = append(byKey[e.Repository], notificationstest.Number(e))
	}
	return byKey
}

func keysOf(batch []*notifications.Event) map[string]bool {
	keys := make(map[string]bool)
	for _, e := range batch {
		keys[e.Repository] = true
	}
	return keys
}

// delivery is a Deliver that runs between an engine of its own and r.
type delivery struct {
	*testing.T
	engine *sinks.Memory
	r      *receiver
	stop   context.CancelFunc
	ended  chan error
}

func deliver(t *testing.T, r *receiver, opts *sinks.DeliverOptions) *delivery {
	d := &delivery{T: t, engine: sinks.NewMemory(nil), r: r}
	d.start(opts, nil)
	return d
}

func (d *delivery) start(opts *sinks.DeliverOptions, at *sinks.CursorOptions) {
	cur, err := d.engine.Cursor(d.Context(), "c", at)
	if err != nil {
		d.Fatal(err)
	}
	ctx, stop := context.WithCancel(d.Context())
	d.stop, d.ended = stop, make(chan error, 1)
	go func() {
		err := sinks.Deliver(ctx, cur, d.r, opts)
		d.ended <- errors.Join(err, cur.Close())
	}()
}

func (d *delivery) write(events ...*notifications.Event) {
	d.Helper()
	if err := d.engine.Write(d.Context(), events); err != nil {
		d.Fatal(err)
	}
}

// end stops Deliver and checks that it kept its promises.
func (d *delivery) end() {
	d.Helper()
	d.stop()
	if err := <-d.ended; err != nil {
		d.Error(err)
	}
	if d.r.broken != nil {
		d.Error(d.r.broken)
	}
}

func (d *delivery) info() sinks.CursorInfo {
	d.Helper()
	infos, err := d.engine.CursorInfos(d.Context())
	if err != nil || len(infos) != 1 {
		d.Fatalf("%v, %v", infos, err)
	}
	return infos[0]
}

// settled checks that nothing is pending and how everything ended.
func (d *delivery) settled(want map[sinks.Outcome]uint64) {
	d.Helper()
	info := d.info()
	if info.Pending != 0 {
		d.Errorf("%d events pending", info.Pending)
	}
	got := make(map[sinks.Outcome]uint64)
	for o, n := range info.Totals {
		if n > 0 {
			got[sinks.Outcome(o)] = n
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		d.Errorf("totals (-want +got):\n%s", diff)
	}
}

// expect compares what was accepted with events, per repository in order.
func (d *delivery) expect(events []*notifications.Event) {
	d.Helper()
	want := make(map[string][]int)
	for _, e := range events {
		want[e.Repository] = append(want[e.Repository], notificationstest.Number(e))
	}
	if diff := cmp.Diff(want, d.r.numbers()); diff != "" {
		d.Errorf("accepted, by repository (-want +got):\n%s", diff)
	}
}

// pass lets d pass, and what happens at its end.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var errBusy = errors.New("busy")

// repositories returns n names.
func repositories(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("team/%d", i)
	}
	return names
}

// table is a Policy made of functions.
type table struct {
	admit func(now time.Time) (int, time.Duration)
	judge func(a *sinks.Attempt, err error) sinks.Verdict
}

func (p table) Admit(now time.Time) (int, time.Duration) {
	if p.admit == nil {
		return 1 << 20, 0
	}
	return p.admit(now)
}

func (p table) Judge(a *sinks.Attempt, err error) sinks.Verdict {
	if err == nil {
		return sinks.Verdict{Action: sinks.Done}
	}
	return p.judge(a, err)
}

func TestDeliverKeepsOrderUnderRandomFailures(t *testing.T) {
	for _, batch := range []sinks.BatchOptions{{}, {MaxEvents: 7, Linger: 50 * time.Millisecond}, {MaxEvents: 40, MaxBytes: 4000}} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%d events seed %d", batch.MaxEvents, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testRandomFailures(t, batch, seed) })
			})
		}
	}
}

func testRandomFailures(t *testing.T, batch sinks.BatchOptions, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	var mu sync.Mutex
	chance := func(n int) bool { mu.Lock(); defer mu.Unlock(); return rng.IntN(n) == 0 }
	poison := func(e *notifications.Event) bool { return notificationstest.Number(e)%53 == 7 }
	r := &receiver{answer: func(ctx context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
		if chance(3) {
			time.Sleep(time.Duration(len(batch)) * time.Millisecond)
		}
		if chance(4) {
			return errBusy
		}
		if slices.ContainsFunc(batch, poison) {
			return notifications.Permanent(errors.New("poison"))
		}
		return nil
	}}
	d := deliver(t, r, &sinks.DeliverOptions{Concurrency: 5, Batch: batch, Window: 300})
	events := notificationstest.Pushes(0, 1000, repositories(23)...)
	pace := rand.New(rand.NewPCG(seed, 4))
	for rest := events; len(rest) > 0; {
		n := min(len(rest), 1+pace.IntN(60))
		d.write(rest[:n]...)
		rest = rest[n:]
		pass(time.Duration(pace.IntN(40)) * time.Millisecond)
	}
	pass(time.Hour)
	sound := slices.DeleteFunc(slices.Clone(events), poison)
	d.expect(sound)
	d.settled(map[sinks.Outcome]uint64{sinks.Delivered: uint64(len(sound)), sinks.DeadLettered: uint64(len(events) - len(sound))})
	d.end()
	if r.peak > 5 {
		t.Errorf("%d batches in flight, want at most 5", r.peak)
	}
}

// TestDeliverInRealTime is for the race detector: no bubble slows anybody down.
func TestDeliverInRealTime(t *testing.T) {
	const writers, each = 4, 1000
	r := new(receiver)
	settled, done := 0, make(chan struct{})
	d := deliver(t, r, &sinks.DeliverOptions{
		Batch: sinks.BatchOptions{MaxEvents: 3},
		OnSettle: func(_ sinks.Outcome, ds []sinks.Delivery) {
			if settled += len(ds); settled == writers*each {
				close(done)
			}
		},
	})
	names := repositories(10)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				e := notificationstest.Push(names[i%10]+fmt.Sprint(w), "v1", i)
				if err := d.engine.Write(t.Context(), []*notifications.Event{e}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); d.info().Pending > 0 && time.Now().Before(end); {
		<-tick.C
	}
	d.settled(map[sinks.Outcome]uint64{sinks.Delivered: writers * each})
	for repo, ns := range r.numbers() {
		if !slices.IsSorted(ns) {
			t.Errorf("%s: out of order: %v", repo, ns)
		}
	}
	d.end()
}

func TestDeliverFailingRepositoriesStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lanes, repos, failing, each = 8, 1000, 8, 20
		names := repositories(repos)
		r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
			time.Sleep(time.Millisecond)
			if slices.Contains(names[:failing], batch[0].Repository) {
				return errBusy
			}
			return nil
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Concurrency: lanes})
		for i := range each {
			d.write(notificationstest.Pushes(i*repos, repos, names...)...)
		}
		pass(3 * time.Second) // 20 000 of 1 ms by 8 lanes take 2.5 s
		delivered := 0
		for _, ns := range d.r.numbers() {
			delivered += len(ns)
		}
		if want := each * (repos - failing); delivered != want {
			t.Errorf("%d events of healthy repositories delivered, want %d", delivered, want)
		}
		if info := d.info(); info.Pending != each*failing {
			t.Errorf("%d pending, want those of the failing repositories", info.Pending)
		}
		d.end()
	})
}

func TestDeliverMassPushStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, sinks.Attempt, []*notifications.Event) error {
			time.Sleep(time.Millisecond)
			return nil
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Concurrency: 1})
		d.write(notificationstest.Pushes(0, 200, "team/mass")...)
		d.write(notificationstest.Pushes(200, 1, "team/small")...)
		pass(5 * time.Millisecond)
		if len(r.numbers()["team/small"]) == 0 {
			t.Error("one event of another repository waits behind a mass push")
		}
		d.end()
	})
}

func TestDeliverFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(map[sinks.Outcome]int)
		opts := &sinks.DeliverOptions{
			Match: sinks.MatcherFunc(func(e *notifications.Event) bool { return e.Repository == "team/a" }),
			OnSettle: func(o sinks.Outcome, settled []sinks.Delivery) {
				for _, d := range settled {
					if (d.Event.Repository == "team/a") != (o == sinks.Delivered) {
						t.Errorf("%s settled as %v", d.Event.Repository, o)
					}
				}
				told[o] += len(settled)
			},
		}
		d := deliver(t, new(receiver), opts)
		events := notificationstest.Pushes(0, 1000, "team/a", "team/b", "team/c", "team/d")
		d.write(events...)
		synctest.Wait()
		d.settled(map[sinks.Outcome]uint64{sinks.Delivered: 250, sinks.Filtered: 750})
		d.end()
		if want := map[sinks.Outcome]int{sinks.Delivered: 250, sinks.Filtered: 750}; !maps.Equal(told, want) {
			t.Errorf("OnSettle was told of %v, want %v", told, want)
		}
	})
}

func TestDeliverStartsNoGoroutinePerEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		r := &receiver{answer: func(context.Context, sinks.Attempt, []*notifications.Event) error {
			time.Sleep(time.Millisecond)
			return errBusy
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Concurrency: 3})
		d.write(notificationstest.Pushes(0, 500, repositories(500)...)...)
		for range 20 {
			pass(100 * time.Millisecond)
			if n := runtime.NumGoroutine() - before; n > 3+2 {
				t.Fatalf("%d goroutines for 3 workers, want 5 with the two others", n)
			}
		}
		d.end()
	})
}

func TestDeliverNewEventsDoNotKeepRetriesWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a sinks.Attempt, batch []*notifications.Event) error {
			time.Sleep(time.Millisecond)
			if a.Number == 1 && batch[0].Repository == "team/0" {
				return errBusy
			}
			return nil
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Concurrency: 1})
		d.write(notificationstest.Pushes(0, 5000, repositories(5000)...)...)
		pass(1100 * time.Millisecond) // the retry is due after 1 s at the latest
		if len(r.numbers()["team/0"]) == 0 {
			t.Error("a batch that was to be retried waits until there is nothing new")
		}
		d.end()
	})
}
