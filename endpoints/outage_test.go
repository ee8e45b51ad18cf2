package endpoints

import (
	"context"
	"log/slog"
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

// A line is an engine, a Deliver with the policy of an endpoint, and a receiver that
// takes 10 ms for each answer, in a synctest bubble.
type line struct {
	t      *testing.T
	engine *sinks.Memory
	cursor sinks.Cursor
	policy *policy
	answer func(a sinks.Attempt, batch []*notifications.Event) error
	opts   sinks.DeliverOptions
	end    func()

	mu       sync.Mutex
	attempts []sinks.Attempt
	accepted []accepted
}

// An accepted event, and when.
type accepted struct {
	repository string
	number     int
	at         time.Time
	outOfOrder bool
}

// pass lets d pass, and what happens at its end.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// run starts a line; what is nil means the default.
func run(t *testing.T, o *Options, answer func(a sinks.Attempt, batch []*notifications.Event) error) *line {
	l := &line{t: t, answer: answer, engine: sinks.NewMemory(&sinks.MemoryOptions{MaxEvents: 30_000})}
	var err error
	if l.cursor, err = l.engine.Cursor(t.Context(), "audit", nil); err != nil {
		t.Fatal(err)
	}
	defaults := o.withDefaults()
	l.policy = newPolicy(defaults, slog.New(slog.DiscardHandler))
	l.opts = sinks.DeliverOptions{Policy: l.policy, OnSettle: l.policy.settled, Batch: defaults.Batch}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	dst := sinkFunc(func(ctx context.Context, batch []*notifications.Event) error { return l.receive(ctx, batch) })
	go func() { done <- sinks.Deliver(ctx, l.cursor, dst, &l.opts) }()
	l.end = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := l.cursor.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { _ = l.engine.Shutdown(context.Background()) })
	return l
}

func (l *line) receive(ctx context.Context, batch []*notifications.Event) error {
	a, _ := sinks.AttemptFrom(ctx)
	l.mu.Lock()
	a.Sequences = slices.Clone(a.Sequences)
	l.attempts = append(l.attempts, a)
	l.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.answer(a, batch)
	if err == nil {
		for _, e := range batch {
			l.accepted = append(l.accepted, accepted{e.Repository, notificationstest.Number(e), time.Now(), a.OutOfOrder})
		}
	}
	return err
}

func (l *line) write(events ...*notifications.Event) {
	l.t.Helper()
	if err := l.engine.Write(l.t.Context(), events); err != nil {
		l.t.Fatal(err)
	}
}

// counts tells how many requests there were and how many events were accepted.
func (l *line) counts() (requests, accepted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.attempts), len(l.accepted)
}

// totals are how events have ended, and what is pending.
func (l *line) totals() (totals map[sinks.Outcome]uint64, pending uint64) {
	l.t.Helper()
	infos, err := l.engine.CursorInfos(l.t.Context())
	if err != nil || len(infos) != 1 {
		l.t.Fatalf("%v, %v", infos, err)
	}
	totals = make(map[sinks.Outcome]uint64)
	for o, n := range infos[0].Totals {
		if n > 0 {
			totals[sinks.Outcome(o)] = n
		}
	}
	return totals, infos[0].Pending
}

// mustEnd checks how events have ended.
func (l *line) mustEnd(want map[sinks.Outcome]uint64, wantPending uint64) {
	l.t.Helper()
	got, pending := l.totals()
	if diff := cmp.Diff(want, got); diff != "" || pending != wantPending {
		l.t.Errorf("%d pending, want %d; ended (-want +got):\n%s", pending, wantPending, diff)
	}
}

// inOrder checks that the events of each repository were accepted in order, once.
func (l *line) inOrder() {
	l.t.Helper()
	last := make(map[string]int)
	for _, a := range l.accepted {
		if before, ok := last[a.repository]; ok && a.number <= before || a.outOfOrder {
			l.t.Fatalf("%s: event %d (out of order: %t) after %d", a.repository, a.number, a.outOfOrder, before)
		}
		last[a.repository] = a.number
	}
}

// TestOutages have a receiver that is gone for days, with many events waiting.
func TestOutages(t *testing.T) {
	for _, c := range []struct {
		lasts  time.Duration
		fault  *DeliveryError
		state  StateName
		within time.Duration // of the end the backlog must begin to go out
	}{
		{3 * 24 * time.Hour, refused, StateDown, maxProbe},
		{3 * 24 * time.Hour, unavailable, StateDown, maxProbeLong},
		{4 * 24 * time.Hour, refused, StateSuspended, probeSuspended},
	} {
		synctest.Test(t, func(t *testing.T) {
			var begins, ends time.Time
			l := run(t, nil, func(sinks.Attempt, []*notifications.Event) error {
				if now := time.Now(); !now.Before(begins) && now.Before(ends) {
					return c.fault
				}
				return nil
			})
			events := notificationstest.Pushes(0, 6_000, "team/a", "team/b", "team/c", "team/d", "team/e", "team/f", "team/g", "team/h", "team/i", "team/j")
			l.write(events[:1000]...)
			pass(time.Minute)
			before := runtime.NumGoroutine()
			begins, ends = time.Now(), time.Now().Add(c.lasts)
			l.write(events[1000:]...)
			pass(c.lasts - time.Minute)
			if got := l.policy.shown().Name; got != c.state {
				t.Errorf("%v of %v: state %q, want %q", c.lasts, c.fault, got, c.state)
			}
			if n := runtime.NumGoroutine(); n > before {
				t.Errorf("%d goroutines in the outage, %d before", n, before)
			}
			requests, accepted := l.counts()
			failed := requests - accepted
			if most := 50 + int(c.lasts/(maxProbe/2)); failed > most {
				t.Errorf("%v of %v: %d requests, want at most %d", c.lasts, c.fault, failed, most)
			}
			pass(time.Minute + c.within)
			if _, accepted := l.counts(); accepted < 1001 {
				t.Fatalf("%v of %v: nothing goes out %v after its end", c.lasts, c.fault, c.within)
			}
			pass(time.Hour)
			l.end()
			l.mustEnd(map[sinks.Outcome]uint64{sinks.Delivered: 6_000}, 0)
			l.inOrder()
			if n, _ := l.policy.Admit(time.Now()); n != defaultConcurrency {
				t.Errorf("%d requests at a time in the end, want %d", n, defaultConcurrency)
			}
			l.mustStartSlowly(ends)
		})
	}
}

// mustStartSlowly checks that in the first moments after a recovery there were less
// requests than there might be.
func (l *line) mustStartSlowly(ends time.Time) {
	l.t.Helper()
	first := slices.IndexFunc(l.accepted, func(a accepted) bool { return !a.at.Before(ends) })
	for n, most := range []int{1, 3, 7, 12} { // one at a time, two, four, five
		at := l.accepted[first].at.Add(time.Duration(n) * 10 * time.Millisecond)
		got := 0
		for _, a := range l.accepted[first:] {
			if !a.at.After(at) {
				got++
			}
		}
		if got > most {
			l.t.Errorf("%d events accepted within %v of the first, want at most %d", got, at.Sub(l.accepted[first].at), most)
		}
	}
}

// TestStormOverALine has a receiver that rejects everything for half a day, slowly at
// first.
func TestStormOverALine(t *testing.T) {
	for _, batch := range []sinks.BatchOptions{{}, {MaxEvents: 100}} {
		synctest.Test(t, func(t *testing.T) { testStormOverALine(t, batch) })
	}
}

func testStormOverALine(t *testing.T, batch sinks.BatchOptions) {
	var l *line
	var begins, ends time.Time
	revived := 0
	o := &Options{Batch: batch, OnStorm: func(s []uint64) {
		n, err := l.cursor.Revive(t.Context(), sinks.DeadQuery{Sequences: s})
		if err != nil || n != len(s) {
			t.Errorf("%d of %v revived, %v", n, s, err)
		}
		revived += n
	}}
	l = run(t, o, func(sinks.Attempt, []*notifications.Event) error {
		if now := time.Now(); !now.Before(begins) && now.Before(ends) {
			return rejection
		}
		return nil
	})
	repositories := []string{"team/a", "team/b", "team/c", "team/d", "team/e", "team/f", "team/g", "team/h", "team/i"}
	events := notificationstest.Pushes(0, 10_100, repositories...)
	l.write(events[:100]...)
	pass(time.Minute)
	begins, ends = time.Now(), time.Now().Add(12*time.Hour)
	for _, e := range events[100:105] {
		l.write(e)
		pass(time.Minute)
	}
	l.mustEnd(map[sinks.Outcome]uint64{sinks.Delivered: 100, sinks.DeadLettered: 5}, 0)
	l.write(events[105:]...)
	pass(time.Hour)
	if s := l.policy.shown(); s.Name != StateRejecting || s.Cause != "answered 400 Bad Request" {
		t.Errorf("state %+v, want rejecting", s)
	}
	l.mustEnd(map[sinks.Outcome]uint64{sinks.Delivered: 100}, 10_000)
	if revived < 5 || revived > stormAfter {
		t.Errorf("%d dead letters were revived", revived)
	}
	pass(12 * time.Hour)
	l.end()
	l.mustEnd(map[sinks.Outcome]uint64{sinks.Delivered: 10_100}, 0)
	if len(l.attempts) > 10_100+500 {
		t.Errorf("%d requests", len(l.attempts))
	}
}

// TestParking has one event that fails for ever among those of a busy registry.
func TestParking(t *testing.T) {
	for _, c := range []struct {
		rule    BlockRule
		fault   *DeliveryError
		blocked time.Duration // how long later events of its repository wait, at most
		dead    time.Duration // when it is given up on, at the latest
	}{
		{BlockPark, &DeliveryError{Class: Transient, Status: 500}, defaultMaxBlock, 72*time.Hour + 16*time.Hour},
		{BlockPark, &DeliveryError{Class: Misdirected, Status: 404}, defaultMaxBlock, 72*time.Hour + 16*time.Hour},
		{BlockPark, &DeliveryError{Class: Transient, Fault: FaultReset, Err: errTimeout}, defaultMaxBlock, 72*time.Hour + 16*time.Hour},
		{BlockPark, &DeliveryError{Class: Throttled, Status: 429, Wait: time.Second}, 4 * defaultMaxBlock, 72*time.Hour + 16*time.Hour},
		{BlockHold, &DeliveryError{Class: Transient, Status: 500}, 72 * time.Hour, 72 * time.Hour},
		{BlockDeadLetter, &DeliveryError{Class: Transient, Status: 500}, defaultMaxBlock, defaultMaxBlock},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			l := run(t, &Options{OnBlock: c.rule}, func(_ sinks.Attempt, batch []*notifications.Event) error {
				if notificationstest.Number(batch[0]) == 0 {
					return c.fault
				}
				return nil
			})
			l.write(notificationstest.Push("team/poison", "v0", 0))
			for n := 1; n <= 60*100; n++ { // one of its repository every hour, of others every minute
				repo := "team/app"
				if n%60 == 1 {
					repo = "team/poison"
				}
				l.write(notificationstest.Push(repo, "v1", n))
				pass(time.Minute)
			}
			l.end()
			l.mustEnd(map[sinks.Outcome]uint64{sinks.Delivered: 6000, sinks.DeadLettered: 1}, 0)
			l.inOrder()
			first := slices.IndexFunc(l.accepted, func(a accepted) bool { return a.repository == "team/poison" })
			const slack = 15 * time.Minute // of some holds, as long as chance has it, until it is plain who is to blame
			if waited := l.accepted[first].at.Sub(began); waited > c.blocked+slack {
				t.Errorf("%s, %v: the repository was blocked for %v", c.rule, c.fault, waited)
			}
			dead, err := l.engine.DeadLetters(t.Context(), sinks.DeadQuery{})
			if err != nil || len(dead) != 1 || dead[0].Sequence != 1 || dead[0].Reason != sinks.DeadExpired || dead[0].Status != c.fault.Status {
				t.Errorf("%s, %v: dead letters %+v, %v", c.rule, c.fault, dead, err)
			}
			l.mustBeTried(c.rule, began.Add(c.dead+slack))
		})
	}
}

// mustBeTried checks the attempts with the event that failed.
func (l *line) mustBeTried(rule BlockRule, until time.Time) {
	l.t.Helper()
	var tried []sinks.Attempt
	for _, a := range l.attempts {
		if a.First == 1 {
			tried = append(tried, a)
		}
	}
	for i, a := range tried {
		if a.Number != i+1 || i > 0 && tried[i-1].OutOfOrder && !a.OutOfOrder {
			l.t.Errorf("%s: attempt %d is %+v", rule, i+1, a)
		}
	}
	last := tried[len(tried)-1]
	if last.OutOfOrder != (rule == BlockPark) || last.Started.After(until) {
		l.t.Errorf("%s: last attempt %+v, want it before %v", rule, last, until)
	}
}

// TestAPoisonInTheOnlyRepository has nothing else that might tell whose fault it is.
func TestAPoisonInTheOnlyRepository(t *testing.T) {
	for _, batch := range []sinks.BatchOptions{{}, {MaxEvents: 100}} {
		for _, fault := range []*DeliveryError{
			{Class: Transient, Status: 500}, {Class: Auth, Status: 403}, {Class: Throttled, Status: 429},
			{Class: Transient, Fault: FaultTimeout, Err: errTimeout},
		} {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				l := run(t, &Options{Batch: batch}, func(_ sinks.Attempt, batch []*notifications.Event) error {
					if notificationstest.Number(batch[0]) == 0 {
						return fault
					}
					return nil
				})
				l.write(notificationstest.Pushes(0, 50, "team/app")...)
				pass(24 * time.Hour)
				l.end()
				if len(l.accepted) != 49 {
					t.Fatalf("%v, batches of %d: %d of 49 sound events accepted", fault, batch.MaxEvents, len(l.accepted))
				}
				l.inOrder()
				if waited := l.accepted[0].at.Sub(began); batch.MaxEvents == 0 && waited > defaultMaxBlock+2*maxProbeLong {
					t.Errorf("%v: the first of them after %v", fault, waited)
				}
			})
		}
	}
}
