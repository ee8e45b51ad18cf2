package sinks_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

func TestDeliverBisects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bad = 61
		r := &receiver{answer: func(_ context.Context, a sinks.Attempt, batch []*notifications.Event) error {
			if time.Sleep(time.Second); a.Held != 0 {
				t.Errorf("attempt %+v of a part waits for nothing but those before it", a)
			}
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

func TestDeliverLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
			if ns := notificationstest.Numbers(batch); !slices.IsSorted(ns) {
				t.Errorf("batch of events %v, want them in the cursor's order", ns)
			}
			return nil
		}}
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
