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
	"sync/atomic"
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

func TestDeliverGoesOnWhereItWasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 7))
		var busy atomic.Uint64
		r := &receiver{answer: func(context.Context, sinks.Attempt, []*notifications.Event) error {
			time.Sleep(time.Millisecond)
			if busy.Add(1)%5 == 0 {
				return errBusy
			}
			return nil
		}}
		opts := &sinks.DeliverOptions{Concurrency: 3, Batch: sinks.BatchOptions{MaxEvents: 4}}
		d := deliver(t, r, opts)
		events := notificationstest.Pushes(0, 2000, repositories(50)...)
		for i := 0; i < len(events); i += 50 {
			d.write(events[i : i+50]...)
			pass(time.Duration(rng.IntN(20)) * time.Millisecond)
			if rng.IntN(3) == 0 {
				d.end()
				d.start(opts, nil)
			}
		}
		pass(time.Hour)
		d.expect(events)
		d.settled(map[sinks.Outcome]uint64{sinks.Delivered: uint64(len(events))})
		d.end()
	})
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

func TestDeliverBisects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bad = 61
		r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
			for _, e := range batch {
				if notificationstest.Number(e) == bad {
					return notifications.Permanent(errors.New("what is this"))
				}
			}
			return nil
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Batch: sinks.BatchOptions{MaxEvents: 100, Linger: time.Second}})
		events := notificationstest.Pushes(0, 100, "team/a", "team/b", "team/c")
		d.write(events...)
		pass(time.Minute)
		if n := len(r.tried()); n > 16 {
			t.Errorf("%d requests to find one event in 100, want at most 16", n)
		}
		d.expect(slices.Delete(slices.Clone(events), bad, bad+1))
		dead, err := d.engine.DeadLetters(t.Context(), sinks.DeadQuery{})
		if err != nil || len(dead) != 1 {
			t.Fatalf("dead letters %v, %v; want 1", dead, err)
		}
		got := dead[0]
		if notificationstest.Number(got.Event) != bad || got.Reason != sinks.DeadRejected || got.Error != "what is this" ||
			got.Sequence != bad+1 || got.Attempts < 7 || got.FirstAttempt.IsZero() || got.LastAttempt.Before(got.FirstAttempt) {
			t.Errorf("dead letter %+v", got)
		}
		d.settled(map[sinks.Outcome]uint64{sinks.Delivered: 99, sinks.DeadLettered: 1})
		d.end()
	})
}

func TestDeliverRemembersCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size := notificationstest.Push("team/a", "v10", 10).Size()
		ceiling := 5*size + size/2
		tooLarge := errors.New("too large")
		var requests, refused int
		r := &receiver{answer: func(_ context.Context, a sinks.Attempt, batch []*notifications.Event) error {
			requests++
			if a.Bytes > ceiling {
				refused++
				return tooLarge
			}
			return nil
		}}
		policy := table{judge: func(*sinks.Attempt, error) sinks.Verdict {
			return sinks.Verdict{Action: sinks.Split, MaxBytes: ceiling}
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Concurrency: 1, Policy: policy, Batch: sinks.BatchOptions{MaxEvents: 40, Linger: time.Second}})
		events := notificationstest.Pushes(10, 80, "team/a")
		d.write(events...)
		pass(time.Minute)
		if refused != 1 || requests > 18 {
			t.Errorf("%d requests, %d refused; want one refused and 16 or 17 others", requests, refused)
		}
		d.expect(events)
		d.end()
	})
}

func TestDeliverBuriesWhatIsTooLargeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, sinks.Attempt, []*notifications.Event) error { return errBusy }}
		policy := table{judge: func(*sinks.Attempt, error) sinks.Verdict {
			return sinks.Verdict{Action: sinks.Split, MaxBytes: 10}
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy, Batch: sinks.BatchOptions{MaxEvents: 4}})
		d.write(notificationstest.Pushes(0, 4, "team/a")...)
		synctest.Wait()
		count, err := d.engine.DeadCount(t.Context(), "c")
		if err != nil || count[sinks.DeadTooLarge] != 4 {
			t.Errorf("dead letters %v, %v; want 4 too large", count, err)
		}
		if len(r.tried()) != 5 {
			t.Errorf("%d requests, want 5", len(r.tried()))
		}
		d.end()
	})
}

func TestDeliverHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var down atomic.Bool
		down.Store(true)
		r := &receiver{answer: func(context.Context, sinks.Attempt, []*notifications.Event) error {
			if down.Load() {
				return errBusy
			}
			return nil
		}}
		holding := false
		policy := table{
			admit: func(now time.Time) (int, time.Duration) {
				if !holding {
					return 8, 0
				}
				if left := start.Add(10 * time.Second).Sub(now); left > 0 {
					return 0, left
				}
				return 1, 0
			},
			judge: func(*sinks.Attempt, error) sinks.Verdict {
				holding = true
				return sinks.Verdict{Action: sinks.Hold}
			},
		}
		d := deliver(t, r, &sinks.DeliverOptions{Concurrency: 4, Policy: policy})
		events := notificationstest.Pushes(0, 50, "team/a", "team/b", "team/c", "team/d", "team/e")
		d.write(events...)
		pass(9 * time.Second)
		if n := len(r.tried()); n != 4 {
			t.Errorf("%d attempts before the hold ended, want the 4 in flight when it began", n)
		}
		down.Store(false)
		pass(2 * time.Second)
		d.expect(events)
		for _, a := range r.tried() {
			if a.Number != 1 || a.Previous != nil {
				t.Errorf("attempt number %d after %v, want 1: holds do not count", a.Number, a.Previous)
			}
		}
		d.end()
	})
}

// A receiver may answer to one event as if it were to all. The hold must not last for
// ever because that one is the probe each time.
func TestDeliverTakesTurnsAtProbing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var until time.Time
		r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
			if batch[0].Repository == "team/0" {
				return errBusy
			}
			return nil
		}}
		policy := table{
			admit: func(now time.Time) (int, time.Duration) {
				if left := until.Sub(now); left > 0 {
					return 0, left
				}
				return 1, 0
			},
			judge: func(*sinks.Attempt, error) sinks.Verdict {
				until = time.Now().Add(time.Second)
				return sinks.Verdict{Action: sinks.Hold}
			},
		}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy})
		events := notificationstest.Pushes(0, 100, repositories(10)...)
		d.write(events...)
		pass(5 * time.Minute)
		d.expect(slices.DeleteFunc(events, func(e *notifications.Event) bool { return e.Repository == "team/0" }))
		if info := d.info(); info.Pending != 10 {
			t.Errorf("%d pending, want 10", info.Pending)
		}
		d.end()
	})
}

func TestDeliverHeldTimeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a sinks.Attempt, _ []*notifications.Event) error {
			if a.Number == 1 {
				return errBusy
			}
			return nil
		}}
		start := time.Now()
		closed := false
		policy := table{
			admit: func(now time.Time) (int, time.Duration) {
				if left := start.Add(time.Minute).Sub(now); closed && left > 0 {
					return 0, left
				}
				return 1, 0
			},
			judge: func(*sinks.Attempt, error) sinks.Verdict {
				closed = true
				return sinks.Verdict{Action: sinks.Retry, After: 10 * time.Second}
			},
		}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy, Replay: "job7"})
		d.write(notificationstest.Pushes(0, 1, "team/a")...)
		pass(2 * time.Minute)
		if len(r.tried()) != 2 {
			t.Fatalf("%d attempts, want 2", len(r.tried()))
		}
		a := r.tried()[1]
		if a.Number != 2 || !errors.Is(a.Previous, errBusy) || a.Started.Sub(a.FirstTried) != time.Minute || a.Held != 50*time.Second || a.Replay != "job7" {
			t.Errorf("second attempt %+v, want held for 50 s of the 60 s since the first", a)
		}
		d.end()
	})
}

func TestDeliverParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
			if down.Load() && notificationstest.Number(batch[0]) == 1 {
				return errBusy
			}
			return nil
		}}
		policy := table{judge: func(a *sinks.Attempt, err error) sinks.Verdict {
			if a.Number%3 == 0 {
				return sinks.Verdict{Action: sinks.Park, After: time.Minute}
			}
			return sinks.Verdict{Action: sinks.Retry, After: time.Second}
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy})
		d.write(notificationstest.Pushes(0, 4, "team/a")...)
		pass(30 * time.Second)
		if diff := cmp.Diff([]int{0, 2, 3}, r.numbers()["team/a"]); diff != "" {
			t.Errorf("accepted while one is parked (-want +got):\n%s", diff)
		}
		if info := d.info(); info.Parked != 1 || info.Pending != 1 {
			t.Errorf("%+v, want one parked", info)
		}
		down.Store(false)
		pass(time.Minute)
		last := r.tried()[len(r.tried())-1]
		if !last.OutOfOrder || last.Number != 4 || last.First != 2 || last.Started.Sub(last.FirstTried) < time.Minute {
			t.Errorf("attempt after parking %+v, want number 4, out of order", last)
		}
		for _, a := range r.tried()[:len(r.tried())-1] {
			if a.OutOfOrder {
				t.Errorf("attempt %+v is not out of order", a)
			}
		}
		d.settled(map[sinks.Outcome]uint64{sinks.Delivered: 4})
		d.end()
	})
}

func TestDeliverParksEarlyWhenOneKeyFillsTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
			if batch[0].Repository == "team/hot" {
				return errBusy
			}
			return nil
		}}
		policy := table{judge: func(*sinks.Attempt, error) sinks.Verdict {
			return sinks.Verdict{Action: sinks.Retry, After: time.Hour}
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy, Window: 100})
		d.write(notificationstest.Pushes(0, 1000, "team/hot")...)
		healthy := notificationstest.Pushes(1000, 10, "team/other")
		d.write(healthy...)
		pass(time.Minute)
		d.expect(healthy)
		if info := d.info(); info.Parked < 900 || info.Pending != 1000 {
			t.Errorf("%d parked of %d pending, want at least 900 of 1000", info.Parked, info.Pending)
		}
		d.end()
	})
}

func TestDeliverKeepsOrderWhenManyKeysFillTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, sinks.Attempt, []*notifications.Event) error { return errBusy }}
		d := deliver(t, r, &sinks.DeliverOptions{Window: 100})
		d.write(notificationstest.Pushes(0, 1000, repositories(10)...)...)
		pass(10 * time.Minute)
		if info := d.info(); info.Parked != 0 || info.Pending != 1000 {
			t.Errorf("%+v, want nothing parked", info)
		}
		d.end()
	})
}

func TestDeliverDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, sinks.Attempt, []*notifications.Event) error {
			time.Sleep(3 * time.Second)
			return nil
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Concurrency: 2, Drain: 5 * time.Second})
		d.write(notificationstest.Pushes(0, 10, repositories(10)...)...)
		pass(time.Second)
		begin := time.Now()
		d.end()
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("ended after %v, want 2s: when the writes in flight had finished", took)
		}
		if len(r.tried()) != 2 {
			t.Errorf("%d attempts, want no new ones after the stop", len(r.tried()))
		}
		if info := d.info(); info.Totals[sinks.Delivered] != 2 || info.Pending != 8 || info.Held {
			t.Errorf("%+v, want 2 delivered and 8 pending", info)
		}
		d.r.answer = nil
		d.start(nil, nil)
		pass(time.Second)
		d.expect(notificationstest.Pushes(0, 10, repositories(10)...))
		d.end()
	})
}

func TestDeliverAborts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		judged := 0
		r := &receiver{answer: func(ctx context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
			if notificationstest.Number(batch[0]) == 0 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		policy := table{judge: func(*sinks.Attempt, error) sinks.Verdict {
			judged++
			return sinks.Verdict{Action: sinks.Dead}
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Policy: policy, Drain: 5 * time.Second})
		d.write(notificationstest.Pushes(0, 3, repositories(3)...)...)
		pass(time.Second)
		begin := time.Now()
		d.end()
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("ended after %v, want the drain time of 5s", took)
		}
		if info := d.info(); judged != 0 || info.Totals[sinks.Delivered] != 1 || info.Pending != 2 {
			t.Errorf("%+v, %d judged; want 1 delivered, 2 pending and nobody blamed for our abort", info, judged)
		}
	})
}

func TestDeliverStopsWhenSinkIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
			if notificationstest.Number(batch[0]) == 5 {
				return fmt.Errorf("post: %w", notifications.ErrClosed)
			}
			return nil
		}}
		d := deliver(t, r, nil)
		d.write(notificationstest.Pushes(0, 20, "team/a")...)
		if err := <-d.ended; !errors.Is(err, notifications.ErrClosed) {
			t.Errorf("ended with %v, want ErrClosed", err)
		}
		if info := d.info(); info.Totals[sinks.Delivered] != 5 || info.Pending != 15 {
			t.Errorf("%+v, want 5 delivered, 15 pending", info)
		}
		if len(r.tried()) != 6 {
			t.Errorf("%d attempts, want 6", len(r.tried()))
		}
	})
}

func TestDeliverEndsWithItsCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &delivery{T: t, engine: sinks.NewMemory(nil), r: new(receiver)}
		events := notificationstest.Pushes(0, 10, "team/a", "team/b")
		d.write(events...)
		d.start(&sinks.DeliverOptions{Batch: sinks.BatchOptions{MaxEvents: 3}}, &sinks.CursorOptions{From: sinks.AtSequence(3), To: 8})
		if err := <-d.ended; err != nil {
			t.Error(err)
		}
		d.expect(events[2:8])
	})
}

func TestDeliverEndsWithItsEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deliver(t, new(receiver), nil)
		synctest.Wait()
		if err := d.engine.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-d.ended; !errors.Is(err, notifications.ErrClosed) {
			t.Errorf("ended with %v, want ErrClosed", err)
		}
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

func TestDeliverLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(receiver)
		d := deliver(t, r, &sinks.DeliverOptions{Batch: sinks.BatchOptions{MaxEvents: 10, Linger: time.Second}})
		for i := range 15 {
			d.write(notificationstest.Pushes(i, 1, "team/a", "team/b", "team/c")...)
			pass(10 * time.Millisecond)
		}
		pass(10 * time.Second)
		if len(r.tried()) != 2 || r.tried()[0].Events != 10 || r.tried()[1].Events != 5 {
			t.Errorf("attempts %+v, want one of 10 and one of 5 events", r.tried())
		}
		if waited := r.tried()[1].Started.Sub(r.tried()[1].Stored); waited > 1100*time.Millisecond || waited < 900*time.Millisecond {
			t.Errorf("what did not fill a batch waited %v, want about 1s", waited)
		}
		d.end()
	})
}

func TestDeliverBatchesByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(receiver)
		size := notificationstest.Push("team/a", "v10", 10).Size()
		d := deliver(t, r, &sinks.DeliverOptions{Concurrency: 1, Batch: sinks.BatchOptions{MaxEvents: 100, MaxBytes: 3 * size}})
		d.write(notificationstest.Pushes(10, 30, "team/a", "team/b")...)
		synctest.Wait()
		for _, a := range r.tried() {
			if a.Events > 3 || a.Bytes > 3*size {
				t.Errorf("batch of %d events, %d bytes; want at most %d bytes", a.Events, a.Bytes, 3*size)
			}
		}
		if len(r.tried()) > 12 {
			t.Errorf("%d batches of 30 events, want them filled", len(r.tried()))
		}
		d.end()
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

func TestDeliverHonoursRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a sinks.Attempt, _ []*notifications.Event) error {
			if a.Number == 1 {
				return comeBack{}
			}
			return nil
		}}
		d := deliver(t, r, nil)
		d.write(notificationstest.Pushes(0, 1, "team/a")...)
		pass(2 * time.Minute)
		if len(r.tried()) != 2 || r.tried()[1].Started.Sub(r.tried()[0].Started) != 90*time.Second {
			t.Errorf("attempts %+v, want a second one after 90s", r.tried())
		}
		d.end()
	})
}

type comeBack struct{}

func (comeBack) Error() string             { return "come back later" }
func (comeBack) RetryAfter() time.Duration { return 90 * time.Second }

func TestAttemptFrom(t *testing.T) {
	if a, ok := sinks.AttemptFrom(t.Context()); ok {
		t.Errorf("a context without an attempt has %+v", a)
	}
	ctx, cancel := context.WithTimeout(sinks.WithAttempt(t.Context(), sinks.Attempt{Number: 3}), time.Hour)
	defer cancel()
	if a, ok := sinks.AttemptFrom(ctx); !ok || a.Number != 3 {
		t.Errorf("attempt %+v, %t; want number 3", a, ok)
	}
}
