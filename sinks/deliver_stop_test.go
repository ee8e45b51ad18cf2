package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

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

// A negative drain time cuts writes off at once.
func TestDeliverDoesNotDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, _ sinks.Attempt, _ []*notifications.Event) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		d := deliver(t, r, &sinks.DeliverOptions{Drain: -1})
		d.write(notificationstest.Pushes(0, 3, repositories(3)...)...)
		pass(time.Second)
		begin := time.Now()
		d.end()
		if took := time.Since(begin); took != 0 {
			t.Errorf("ended after %v, want at once", took)
		}
		if info := d.info(); info.Pending != 3 {
			t.Errorf("%+v, want 3 pending", info)
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

// What Deliver held when it ended is free at once, not only when the cursor is closed: in
// lanes, in parts of a split batch, waiting for a retry.
func TestDeliverReleasesWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a sinks.Attempt, batch []*notifications.Event) error {
			if batch[0].Repository == "team/b" {
				return errBusy
			}
			if a.Events == 8 {
				return notifications.Permanent(errBusy)
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		engine := sinks.NewMemory(nil)
		cur, err := engine.Cursor(t.Context(), "c", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer cur.Close()
		for i, repo := range []string{"team/a", "team/b"} {
			if err := engine.Write(t.Context(), notificationstest.Pushes(20*i, 20, repo)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if err := sinks.Deliver(ctx, cur, r, &sinks.DeliverOptions{Batch: sinks.BatchOptions{MaxEvents: 8}}); err != nil {
			t.Fatal(err)
		}
		into := make([]sinks.Delivery, 50)
		n, err := cur.Claim(t.Context(), into)
		if n != 40 || err != nil {
			t.Errorf("claimed %d events, %v; want all 40", n, err)
		}
		for _, d := range into[:n] {
			if d.Tries != 1 {
				t.Errorf("event %d was lent %d times before, want once", d.Sequence, d.Tries)
			}
		}
	})
}
