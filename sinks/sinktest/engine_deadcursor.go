package sinktest

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

var deadCursorTests = []engineTest{
	{name: "dead cursor/what is delivered is no dead letter any more", run: testDeadCursor},
	{name: "dead cursor/lends what is selected, to one holder", run: testDeadCursorSelects},
	{name: "dead cursor/waits for what is on loan or parked", run: testDeadCursorWaits},
	{name: "dead cursor/deliver", run: testDeadCursorDeliver},
	{name: "dead cursor/after shutdown", run: testDeadCursorShutdown},
	{name: "dead cursor/reopen", run: testDeadCursorReopen, durable: true},
}

// bury stores count events, and settles them as dead for the cursor "c".
func (tr *trial) bury(count int) []sinks.Delivery {
	tr.Helper()
	c := tr.cursor("c", nil)
	tr.push(0, count)
	ds := tr.claim(c, count)
	tr.settle(c, sinks.DeadLettered, ds...)
	tr.must(c.Close())
	tr.dead(sinks.DeadQuery{}, count)
	return ds
}

func (tr *trial) deadCursor(name string, q sinks.DeadQuery) sinks.Cursor {
	tr.Helper()
	c, err := tr.engine.DeadCursor(tr.Context(), name, q)
	tr.must(err)
	return c
}

// atEnd checks that c has nothing left.
func (tr *trial) atEnd(c sinks.Cursor) {
	tr.Helper()
	ctx, cancel := context.WithTimeout(tr.Context(), patience)
	defer cancel()
	into := make([]sinks.Delivery, 8)
	if n, err := c.Claim(ctx, into); n != 0 || err != io.EOF {
		tr.Fatalf("claimed %v and %v, want EOF", numbers(into[:n]), err)
	}
}

func testDeadCursor(tr *trial) {
	buried := tr.bury(6)
	before := tr.info("c")
	c := tr.deadCursor("c~replay", sinks.DeadQuery{Cursor: "c"})
	if c.Name() != "c~replay" {
		tr.Errorf("name %q", c.Name())
	}
	ds := tr.claimNumbers(c, 0, 1, 2, 3, 4, 5)
	for i, d := range ds {
		if d.Sequence != buried[i].Sequence || d.Size != d.Event.Size() || !d.Parked || d.Tries != 0 || d.Stored.IsZero() {
			tr.Errorf("%+v, want event %d", d, buried[i].Sequence)
		}
	}
	tr.settle(c, sinks.Delivered, ds[0], ds[5])
	tr.settle(c, sinks.DeadLettered, ds[1])
	tr.settle(c, sinks.Filtered, ds[2])
	tr.settle(c, sinks.Released, ds[4], ds[3])
	tr.settle(c, sinks.Delivered, ds[1], sinks.Delivery{Sequence: 1 << 40}) // not on loan
	again := tr.claim(c, 2)
	if ns := numbers(again); !slices.Contains(ns, 3) || !slices.Contains(ns, 4) || again[0].Tries != 1 {
		tr.Errorf("claimed %v, %d tries before; want 3 and 4, 1", ns, again[0].Tries)
	}
	tr.settle(c, sinks.Delivered, again[0])
	tr.settle(c, sinks.DeadLettered, again[1])
	tr.atEnd(c)
	left := tr.dead(sinks.DeadQuery{}, 3)
	if want := []uint64{ds[1].Sequence, ds[2].Sequence, again[1].Sequence}; !slices.Equal(sequencesOf(left), want) {
		tr.Errorf("left are %v, want %v", sequencesOf(left), want)
	}
	tr.revive(c, sinks.DeadQuery{}, 0)
	tr.must(c.Close())
	tr.must(c.Close())
	if after := tr.info("c"); after != before {
		tr.Errorf("%+v after, %+v before", after, before)
	}
	if infos, err := tr.engine.CursorInfos(tr.Context()); err != nil || len(infos) != 1 {
		tr.Errorf("cursors %v, %v; want one", infos, err)
	}
}

func sequencesOf(letters []sinks.DeadLetter) []uint64 {
	sequences := make([]uint64, len(letters))
	for i, d := range letters {
		sequences[i] = d.Sequence
	}
	return sequences
}

func testDeadCursorSelects(tr *trial) {
	ctx := tr.Context()
	tr.bury(7) // even ones of team/a, odd ones of team/b
	d := tr.cursor("d", fromOldest())
	tr.settle(d, sinks.DeadLettered, tr.claim(d, 1)...)
	letters := tr.dead(sinks.DeadQuery{}, 8)

	c := tr.deadCursor("r", sinks.DeadQuery{Cursor: "c", Repository: "team/b", Limit: 2})
	_, err := tr.engine.DeadCursor(ctx, "r", sinks.DeadQuery{})
	tr.mustBe(err, sinks.ErrInUse, "a second holder")
	tr.claimNumbers(c, 1, 3)
	tr.must(c.Close())
	_, err = c.Claim(ctx, make([]sinks.Delivery, 1))
	tr.mustBe(err, notifications.ErrClosed, "claim after Close")

	c = tr.deadCursor("r", sinks.DeadQuery{Cursor: "c", IDs: []uint64{letters[2].ID, letters[6].ID, letters[7].ID}})
	tr.settle(d, sinks.DeadLettered, tr.claim(d, 1)...) // meanwhile
	tr.dead(sinks.DeadQuery{}, 9)
	tr.settle(c, sinks.DeadLettered, tr.claimNumbers(c, 2, 6)...)
	tr.atEnd(c)
	tr.must(c.Close())

	c = tr.deadCursor("r", sinks.DeadQuery{Reason: sinks.DeadExpired})
	tr.atEnd(c)
	tr.must(c.Close())
	_, err = tr.engine.DeadCursor(ctx, "r", sinks.DeadQuery{Repository: "***"})
	if !notifications.IsPermanent(err) {
		tr.Errorf("a bad pattern: %v, want a permanent error", err)
	}
	_, err = tr.engine.DeadCursor(ctx, "No Name", sinks.DeadQuery{})
	tr.mustBe(err, sinks.ErrName, "a bad name")
}

func testDeadCursorWaits(tr *trial) {
	tr.bury(3)
	c := tr.deadCursor("r", sinks.DeadQuery{})
	ds := tr.claimNumbers(c, 0, 1, 2)
	late := tr.cursor("c", nil) // what dies now is not this cursor's
	tr.push(3, 1)
	tr.settle(late, sinks.DeadLettered, tr.claim(late, 1)...)
	tr.dead(sinks.DeadQuery{}, 4)

	until := time.Now().Add(2 * moment)
	tr.park(c, until, ds[1])
	tr.settle(c, sinks.Delivered, ds[2])
	tr.claimNothing(c)
	parked := tr.claimNumbers(c, 1)
	if early := time.Until(until); early > 0 || parked[0].Tries != 1 {
		tr.Errorf("came %v early, %d tries before", early, parked[0].Tries)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := c.Claim(tr.Context(), make([]sinks.Delivery, 1))
		ended <- err
	}()
	tr.wait(moment / 10)
	tr.settle(c, sinks.Delivered, ds[0], parked[0])
	if err := <-ended; err != io.EOF {
		tr.Errorf("claim returned %v, want EOF", err)
	}
	tr.dead(sinks.DeadQuery{}, 1)
}

func testDeadCursorDeliver(tr *trial) {
	const count = 300
	tr.bury(count)
	recorder := new(notificationstest.Recorder)
	dst := notificationstest.NewFaulty(recorder, notificationstest.Reject(func(e *notifications.Event) bool {
		return notificationstest.Number(e)%100 == 7
	}, notifications.Permanent(io.ErrUnexpectedEOF)))
	c := tr.deadCursor("r", sinks.DeadQuery{Cursor: "c"})
	tr.must(sinks.Deliver(tr.Context(), c, dst, &sinks.DeliverOptions{Replay: "r"}))
	tr.must(c.Close())
	if got := len(recorder.Events()); got != count-count/100 {
		tr.Errorf("%d delivered, want %d", got, count-count/100)
	}
	tr.dead(sinks.DeadQuery{}, count/100)
}

func testDeadCursorShutdown(tr *trial) {
	ctx := tr.Context()
	tr.bury(1)
	c := tr.deadCursor("r", sinks.DeadQuery{})
	d := tr.claim(c, 1)[0]
	ended := make(chan error, 1)
	go func() {
		_, err := c.Claim(ctx, make([]sinks.Delivery, 1))
		ended <- err
	}()
	tr.wait(moment / 10)
	tr.shutdown()
	tr.mustBe(<-ended, notifications.ErrClosed, "waiting claim")
	_, err := c.Claim(ctx, make([]sinks.Delivery, 1))
	tr.mustBe(err, notifications.ErrClosed, "claim")
	tr.mustBe(c.Settle(sinks.Settlement{Sequence: d.Sequence}), notifications.ErrClosed, "settle")
	_, err = tr.engine.DeadCursor(ctx, "s", sinks.DeadQuery{})
	tr.mustBe(err, notifications.ErrClosed, "dead cursor")
	tr.must(c.Close())
}

func testDeadCursorReopen(tr *trial) {
	tr.bury(4)
	c := tr.deadCursor("r", sinks.DeadQuery{})
	ds := tr.claim(c, 3)
	tr.settle(c, sinks.Delivered, ds[0], ds[2])
	tr.reopen()
	c = tr.deadCursor("r", sinks.DeadQuery{})
	tr.settle(c, sinks.Delivered, tr.claimNumbers(c, 1, 3)...)
	tr.atEnd(c)
	tr.dead(sinks.DeadQuery{}, 0)
}
