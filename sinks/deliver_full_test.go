package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// fullCursor is a cursor of an engine that has no room for dead letters while full, and
// whose disk is broken while broken.
type fullCursor struct {
	sinks.Cursor
	full, broken atomic.Bool
	refused      atomic.Int64
}

var errDisk = errors.New("input/output error")

func (c *fullCursor) Settle(s ...sinks.Settlement) error {
	if c.broken.Load() {
		return errDisk
	}
	if c.full.Load() && slices.ContainsFunc(s, func(s sinks.Settlement) bool { return s.Dead != nil }) {
		c.refused.Add(1)
		return fmt.Errorf("settle: %w", notifications.ErrFull)
	}
	return c.Cursor.Settle(s...)
}

// refusesOdd refuses every other event for good.
func refusesOdd(_ context.Context, _ sinks.Attempt, batch []*notifications.Event) error {
	if notificationstest.Number(batch[0])%2 == 1 {
		return notifications.Permanent(errors.New("poison"))
	}
	return nil
}

func openFull(t *testing.T) (*sinks.Memory, *fullCursor) {
	engine := sinks.NewMemory(nil)
	cur, err := engine.Cursor(t.Context(), "c", nil)
	if err != nil {
		t.Fatal(err)
	}
	return engine, &fullCursor{Cursor: cur}
}

func TestDeliverWaitsForRoomForDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, cur := openFull(t)
		cur.full.Store(true)
		told := make(map[sinks.Outcome]int)
		ctx, stop := context.WithCancel(t.Context())
		d := &delivery{T: t, engine: engine, r: &receiver{answer: refusesOdd}, stop: stop, ended: make(chan error, 1)}
		go func() {
			d.ended <- sinks.Deliver(ctx, cur, d.r, &sinks.DeliverOptions{
				Window:   20,
				OnSettle: func(o sinks.Outcome, settled []sinks.Delivery) { told[o] += len(settled) },
			})
		}()
		d.write(notificationstest.Pushes(0, 200, "team/a", "team/b")...)
		pass(time.Minute)
		info := d.info()
		if delivered := info.Totals[sinks.Delivered]; delivered < 15 || delivered > 25 || info.Totals[sinks.DeadLettered] != 0 {
			t.Errorf("%+v, want a delivered one for each of the 20 that fill the window", info)
		}
		if n := cur.refused.Load(); n < 10 || n > 60 {
			t.Errorf("tried to settle %d times in a minute", n)
		}
		cur.full.Store(false)
		pass(10 * time.Second)
		d.settled(map[sinks.Outcome]uint64{sinks.Delivered: 100, sinks.DeadLettered: 100})
		if told[sinks.Delivered] != 100 || told[sinks.DeadLettered] != 100 {
			t.Errorf("OnSettle was told of %v", told)
		}
		d.end()
		cur.Close()
	})
}

// What could not be settled is not lost to a second Deliver from the same cursor.
func TestDeliverLeavesNothingOnLoan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, cur := openFull(t)
		defer cur.Close()
		d := &delivery{T: t, engine: engine, r: &receiver{answer: refusesOdd}}
		d.write(notificationstest.Pushes(0, 100, "team/a", "team/b")...)
		for _, full := range []bool{true, false} {
			cur.full.Store(full)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := sinks.Deliver(ctx, cur, d.r, nil); err != nil {
				t.Error(err)
			}
			cancel()
		}
		d.settled(map[sinks.Outcome]uint64{sinks.Delivered: 50, sinks.DeadLettered: 50})
	})
}

func TestDeliverEndsWhenItCannotSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, cur := openFull(t)
		cur.broken.Store(true)
		d := &delivery{T: t, engine: engine, r: &receiver{answer: refusesOdd}}
		d.write(notificationstest.Pushes(0, 10, "team/a")...)
		if err := sinks.Deliver(t.Context(), cur, d.r, nil); !errors.Is(err, errDisk) {
			t.Errorf("ended with %v", err)
		}
		if err := cur.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := engine.Cursor(t.Context(), "c", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := sinks.Deliver(ctx, again, d.r, nil); err != nil {
			t.Error(err)
		}
		d.settled(map[sinks.Outcome]uint64{sinks.Delivered: 5, sinks.DeadLettered: 5})
	})
}
