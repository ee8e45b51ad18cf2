package sinktest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

var cursorTests = []engineTest{
	{name: "cursor/a new one begins now", run: testFromNow},
	{name: "cursor/from the oldest, a sequence, a time", run: testPositions},
	{name: "cursor/names", run: testNames},
	{name: "cursor/one holder", run: testOneHolder},
	{name: "cursor/lends nothing twice", run: testLoans},
	{name: "cursor/released comes again at once", run: testRelease},
	{name: "cursor/parked comes when its time has come", run: testPark},
	{name: "cursor/a parked event wakes a waiting claim in time", run: testParkOrder},
	{name: "cursor/settled out of order", run: testOutOfOrder},
	{name: "cursor/settling what is not on loan", run: testStrangeSettlements},
	{name: "cursor/closing returns loans", run: testCloseReturns},
	{name: "cursor/a former holder's loans first", run: testFormerHolder},
	{name: "cursor/bounded", run: testBounded},
	{name: "cursor/bounded by what is not stored yet", run: testBoundedAhead},
	{name: "cursor/waiting claim", run: testWaitingClaim},
	{name: "cursor/waiting claim and a cancelled context", run: testCancelledClaim},
	{name: "cursor/waiting claim and a closed cursor", run: testClosedClaim},
	{name: "cursor/several cursors", run: testSeveralCursors},
	{name: "cursor/lag", run: testLag},
	{name: "cursor/retire and delete", run: testRetire},
	{name: "cursor/after shutdown", run: testAfterShutdown},
}

func testFromNow(tr *trial) {
	tr.push(0, 3)
	c := tr.cursor("c", nil)
	tr.claimNothing(c)
	tr.push(3, 2)
	tr.claimNumbers(c, 3, 4)
}

func testPositions(tr *trial) {
	tr.push(0, 3)
	all := tr.claimNumbers(tr.cursor("oldest", fromOldest()), 0, 1, 2)
	tr.claimNumbers(tr.cursor("sequence", &sinks.CursorOptions{From: sinks.AtSequence(all[1].Sequence)}), 1, 2)
	tr.claimNumbers(tr.cursor("low", &sinks.CursorOptions{From: sinks.AtSequence(0)}), 0, 1, 2)
	high := tr.cursor("high", &sinks.CursorOptions{From: sinks.AtSequence(all[2].Sequence + 1000)})

	tr.wait(moment / 10)
	between := time.Now()
	tr.wait(moment / 10)
	tr.push(3, 2)
	tr.claimNumbers(high, 3, 4)
	tr.claimNumbers(tr.cursor("time", &sinks.CursorOptions{From: sinks.Since(between)}), 3, 4)
	tr.claimNumbers(tr.cursor("early", &sinks.CursorOptions{From: sinks.Since(between.Add(-time.Hour))}), 0, 1, 2, 3, 4)
	late := tr.cursor("late", &sinks.CursorOptions{From: sinks.Since(time.Now().Add(time.Hour))})
	tr.claimNothing(late)
	tr.push(5, 1)
	tr.claimNumbers(late, 5)
}

// wait lets d pass.
func (tr *trial) wait(d time.Duration) {
	ctx, cancel := context.WithTimeout(tr.Context(), d)
	defer cancel()
	<-ctx.Done()
}

func testNames(tr *trial) {
	for _, name := range []string{"a", "0", "audit~job-7", "a.b_c-d", "a" + strings.Repeat("~", 126)} {
		tr.cursor(name, nil)
	}
	for _, name := range []string{"", "A", "-a", "~", "a b", "a/b", "é", "a" + strings.Repeat("b", 127)} {
		_, err := tr.engine.Cursor(tr.Context(), name, nil)
		tr.mustBe(err, sinks.ErrName, fmt.Sprintf("name %q", name))
	}
	infos, err := tr.engine.CursorInfos(tr.Context())
	tr.must(err)
	if len(infos) != 5 || !slices.IsSortedFunc(infos, func(x, y sinks.CursorInfo) int { return strings.Compare(x.Name, y.Name) }) {
		tr.Errorf("cursors %v, want 5 sorted by name", infos)
	}
}

func testOneHolder(tr *trial) {
	c := tr.cursor("c", nil)
	if c.Name() != "c" {
		tr.Errorf("name %q", c.Name())
	}
	_, err := tr.engine.Cursor(tr.Context(), "c", nil)
	tr.mustBe(err, sinks.ErrInUse, "second holder")
	if !tr.info("c").Held {
		tr.Error("not held")
	}
	tr.must(c.Close())
	if tr.info("c").Held {
		tr.Error("held after Close")
	}
	tr.must(c.Close())
	tr.must(tr.cursor("c", nil).Close())
}

func testLoans(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 6)
	tr.claimNumbers(c, 0, 1)
	tr.claimNumbers(c, 2, 3, 4, 5)
	tr.claimNothing(c)
}

func testRelease(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 6)
	ds := tr.claimNumbers(c, 0, 1, 2, 3)
	tr.settle(c, sinks.Released, ds[2], ds[1])
	again := tr.claimNumbers(c, 1, 2, 4, 5)
	if again[0].Tries != 1 || again[1].Tries != 1 || again[2].Tries != 0 || again[0].Parked {
		tr.Errorf("tries %d %d %d, parked %t; want 1 1 0, not parked", again[0].Tries, again[1].Tries, again[2].Tries, again[0].Parked)
	}
	tr.settle(c, sinks.Released, again[0])
	if third := tr.claimNumbers(c, 1); third[0].Tries != 2 {
		tr.Errorf("tries %d, want 2", third[0].Tries)
	}
}

func testPark(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 3)
	ds := tr.claimNumbers(c, 0, 1, 2)
	until := time.Now().Add(2 * moment)
	tr.park(c, until, ds[1])
	tr.settle(c, sinks.Delivered, ds[0], ds[2])
	if info := tr.info("c"); info.Parked != 1 || info.Pending != 1 || info.LowWater != ds[0].Sequence {
		tr.Errorf("%+v, want one parked and pending above %d", info, ds[0].Sequence)
	}
	tr.claimNothing(c)
	again := tr.claimNumbers(c, 1)
	if now := time.Now(); now.Before(until) {
		tr.Errorf("came %v early", until.Sub(now))
	}
	if again[0].Tries != 1 || !again[0].Parked {
		tr.Errorf("tries %d, parked %t; want 1, true", again[0].Tries, again[0].Parked)
	}
	if info := tr.info("c"); info.Parked != 0 {
		tr.Errorf("%d parked after it was claimed", info.Parked)
	}
	tr.settle(c, sinks.Delivered, again[0])
	if info := tr.info("c"); info.LowWater != ds[2].Sequence || info.Pending != 0 {
		tr.Errorf("%+v, want nothing pending up to %d", info, ds[2].Sequence)
	}
}

func testParkOrder(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 3)
	ds := tr.claimNumbers(c, 0, 1, 2)
	now := time.Now()
	tr.park(c, now.Add(moment), ds[2])
	tr.park(c, now.Add(2*moment), ds[0])
	tr.park(c, now.Add(-moment), ds[1])
	tr.claimNumbers(c, 1, 2, 0)
	if early := now.Add(2 * moment).Sub(time.Now()); early > 0 {
		tr.Errorf("came %v early", early)
	}
}

func testOutOfOrder(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 10)
	ds := tr.claim(c, 10)
	tr.settle(c, sinks.Delivered, ds[9], ds[3], ds[1])
	if info := tr.info("c"); info.LowWater != ds[0].Sequence-1 || info.Pending != 7 {
		tr.Errorf("%+v, want 7 pending above %d", info, ds[0].Sequence-1)
	}
	tr.settle(c, sinks.Filtered, ds[0])
	if info := tr.info("c"); info.LowWater != ds[1].Sequence {
		tr.Errorf("low water %d, want %d", info.LowWater, ds[1].Sequence)
	}
	tr.settle(c, sinks.Delivered, ds[2:9]...)
	info := tr.info("c")
	if info.LowWater != ds[9].Sequence || info.Pending != 0 || info.Totals[sinks.Delivered] != 9 || info.Totals[sinks.Filtered] != 1 {
		tr.Errorf("%+v, want 9 delivered, 1 filtered, none pending", info)
	}
}

func testStrangeSettlements(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 4)
	ds := tr.claimNumbers(c, 0, 1)
	tr.settle(c, sinks.Delivered, ds[0], ds[0])
	tr.park(c, time.Now().Add(time.Hour), ds[1])
	next := sinks.Delivery{Sequence: ds[1].Sequence + 1}
	for _, o := range []sinks.Outcome{sinks.Delivered, sinks.Filtered, sinks.DeadLettered, sinks.Parked, sinks.Released, sinks.Evicted, sinks.Dropped} {
		tr.settle(c, o, ds[0], ds[1], next, sinks.Delivery{Sequence: 1 << 40}, sinks.Delivery{})
	}
	info := tr.info("c")
	if info.Totals != [sinks.Outcomes]uint64{sinks.Delivered: 1} || info.Pending != 3 || info.Parked != 1 {
		tr.Errorf("%+v, want 1 delivered, 3 pending, 1 parked", info)
	}
	if dead, err := tr.engine.DeadLetters(tr.Context(), sinks.DeadQuery{}); err != nil || len(dead) != 0 {
		tr.Errorf("%d dead letters, %v", len(dead), err)
	}
	tr.claimNumbers(c, 2, 3)
}

func testCloseReturns(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 5)
	ds := tr.claim(c, 5)
	tr.settle(c, sinks.Delivered, ds[1])
	tr.must(c.Close())
	_, err := c.Claim(tr.Context(), make([]sinks.Delivery, 1))
	tr.mustBe(err, notifications.ErrClosed, "claim after Close")
	_ = c.Settle(sinks.Settlement{Sequence: ds[0].Sequence})
	if info := tr.info("c"); info.Pending != 4 {
		tr.Errorf("%d pending after a former holder settled, want 4", info.Pending)
	}
	c = tr.cursor("c", nil)
	_ = tr.claimNumbers(c, 0, 2, 3, 4)
}

func testFormerHolder(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 4)
	ds := tr.claim(c, 3)
	tr.settle(c, sinks.Delivered, ds[0], ds[2])
	tr.must(c.Close())
	tr.push(4, 2)
	c = tr.cursor("c", nil)
	tr.claimNumbers(c, 1, 3, 4, 5)
}

func testBounded(tr *trial) {
	tr.push(0, 6)
	all := tr.claim(tr.cursor("all", fromOldest()), 6)
	c := tr.cursor("c", &sinks.CursorOptions{From: sinks.AtSequence(all[1].Sequence), To: all[3].Sequence})
	if info := tr.info("c"); info.Pending != 3 {
		tr.Errorf("%d pending, want 3", info.Pending)
	}
	ds := tr.claimNumbers(c, 1, 2, 3)
	tr.claimNothing(c)
	tr.settle(c, sinks.Delivered, ds[2], ds[0])
	tr.settle(c, sinks.Released, ds[1])
	ds = tr.claimNumbers(c, 2)
	tr.settle(c, sinks.Delivered, ds[0])
	for range 2 {
		n, err := c.Claim(tr.Context(), make([]sinks.Delivery, 1))
		if n != 0 || err != io.EOF {
			tr.Fatalf("claimed %d and %v past the end, want 0 and EOF", n, err)
		}
	}
	if info := tr.info("c"); info.Pending != 0 || info.Totals[sinks.Delivered] != 3 {
		tr.Errorf("%+v, want 3 delivered, none pending", info)
	}
}

func testBoundedAhead(tr *trial) {
	tr.push(0, 1)
	first := tr.claim(tr.cursor("all", fromOldest()), 1)[0].Sequence
	c := tr.cursor("c", &sinks.CursorOptions{To: first + 2})
	tr.claimNothing(c)
	tr.push(1, 4)
	ds := tr.claimNumbers(c, 1, 2)
	// The last settlement has to wake a claim that waits for the end.
	ended := make(chan error, 1)
	go func() {
		_, err := c.Claim(tr.Context(), make([]sinks.Delivery, 1))
		ended <- err
	}()
	tr.wait(moment / 10)
	tr.settle(c, sinks.Delivered, ds...)
	if err := <-ended; err != io.EOF {
		tr.Errorf("claim returned %v, want EOF", err)
	}
}

func testWaitingClaim(tr *trial) {
	c := tr.cursor("c", nil)
	for i := range 3 {
		got := make(chan []sinks.Delivery, 1)
		go func() {
			into := make([]sinks.Delivery, 4)
			n, err := c.Claim(tr.Context(), into)
			if err != nil {
				tr.Error(err)
			}
			got <- into[:n]
		}()
		tr.wait(moment / 10)
		tr.push(i, 1)
		if ns := numbers(<-got); !slices.Equal(ns, []int{i}) {
			tr.Fatalf("claimed %v, want [%d]", ns, i)
		}
	}
}

func testCancelledClaim(tr *trial) {
	c := tr.cursor("c", nil)
	ctx, cancel := context.WithCancel(tr.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := c.Claim(ctx, make([]sinks.Delivery, 1))
		ended <- err
	}()
	tr.wait(moment / 10)
	cancel()
	tr.mustBe(<-ended, context.Canceled, "claim")
	_, err := c.Claim(ctx, make([]sinks.Delivery, 1))
	tr.mustBe(err, context.Canceled, "claim with an ended context")
	tr.push(0, 1)
	tr.claimNumbers(c, 0)
}

func testClosedClaim(tr *trial) {
	c := tr.cursor("c", nil)
	ended := make(chan error, 1)
	go func() {
		_, err := c.Claim(tr.Context(), make([]sinks.Delivery, 1))
		ended <- err
	}()
	tr.wait(moment / 10)
	tr.must(c.Close())
	tr.mustBe(<-ended, notifications.ErrClosed, "claim")
}

func testSeveralCursors(tr *trial) {
	c, d := tr.cursor("c", nil), tr.cursor("d", nil)
	tr.push(0, 3)
	ds := tr.claimNumbers(c, 0, 1, 2)
	tr.settle(c, sinks.Delivered, ds...)
	tr.claimNumbers(d, 0, 1, 2)
	if c, d := tr.info("c"), tr.info("d"); c.Pending != 0 || d.Pending != 3 {
		tr.Errorf("%d and %d pending, want 0 and 3", c.Pending, d.Pending)
	}
}

func testLag(tr *trial) {
	c := tr.cursor("c", nil)
	if info := tr.info("c"); info.Pending != 0 || !info.OldestPending.IsZero() {
		tr.Errorf("%+v of a new cursor", info)
	}
	tr.push(0, 1)
	tr.wait(moment / 10)
	tr.push(1, 2)
	ds := tr.claim(c, 3)
	for i := range ds {
		if info := tr.info("c"); info.Pending != uint64(3-i) || !info.OldestPending.Equal(ds[i].Stored) {
			tr.Errorf("%d pending since %v, want %d since %v", info.Pending, info.OldestPending, 3-i, ds[i].Stored)
		}
		tr.settle(c, sinks.Delivered, ds[i])
	}
	if info := tr.info("c"); info.Pending != 0 || !info.OldestPending.IsZero() {
		tr.Errorf("%+v of a cursor that has settled everything", info)
	}
}

func testRetire(tr *trial) {
	ctx := tr.Context()
	tr.mustBe(tr.engine.RetireCursor(ctx, "c"), sinks.ErrNotFound, "retire")
	tr.must(tr.engine.DeleteCursor(ctx, "c"))
	c := tr.cursor("c", nil)
	tr.mustBe(tr.engine.RetireCursor(ctx, "c"), sinks.ErrInUse, "retire")
	tr.mustBe(tr.engine.DeleteCursor(ctx, "c"), sinks.ErrInUse, "delete")
	tr.push(0, 3)
	tr.settle(c, sinks.DeadLettered, tr.claim(c, 1)...)
	tr.must(c.Close())
	tr.must(tr.engine.RetireCursor(ctx, "c"))
	tr.push(3, 1)
	c = tr.cursor("c", nil)
	tr.claimNumbers(c, 1, 2, 3)
	tr.must(c.Close())
	tr.must(tr.engine.DeleteCursor(ctx, "c"))
	if infos, err := tr.engine.CursorInfos(ctx); err != nil || len(infos) != 0 {
		tr.Errorf("cursors %v, %v after the only one was deleted", infos, err)
	}
	tr.dead(sinks.DeadQuery{Cursor: "c"}, 1) // outlives its cursor
	tr.claimNothing(tr.cursor("c", nil))
}

func testAfterShutdown(tr *trial) {
	ctx := tr.Context()
	c := tr.cursor("c", nil)
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
	tr.must(c.Close())

	e := tr.engine
	_, err = e.Record(ctx, nil, nil)
	tr.mustBe(err, notifications.ErrClosed, "record")
	tr.mustBe(e.Write(ctx, nil), notifications.ErrClosed, "write")
	_, err = e.Cursor(ctx, "d", nil)
	tr.mustBe(err, notifications.ErrClosed, "cursor")
	_, err = e.CursorInfos(ctx)
	tr.mustBe(err, notifications.ErrClosed, "cursor infos")
	tr.mustBe(e.RetireCursor(ctx, "c"), notifications.ErrClosed, "retire")
	tr.mustBe(e.DeleteCursor(ctx, "c"), notifications.ErrClosed, "delete")
	_, err = e.DeadLetters(ctx, sinks.DeadQuery{})
	tr.mustBe(err, notifications.ErrClosed, "dead letters")
	_, err = e.DropDead(ctx, 1)
	tr.mustBe(err, notifications.ErrClosed, "drop dead letters")
	_, err = e.DeadCount(ctx, "c")
	tr.mustBe(err, notifications.ErrClosed, "count dead letters")
	_, err = e.Quarantined(ctx, 0, 0)
	tr.mustBe(err, notifications.ErrClosed, "quarantined")
	_, err = e.DropQuarantined(ctx, 1)
	tr.mustBe(err, notifications.ErrClosed, "drop quarantined")
	_, err = e.State(ctx, "k")
	tr.mustBe(err, notifications.ErrClosed, "state")
	tr.mustBe(e.SetState(ctx, "k", nil), notifications.ErrClosed, "set state")
	_, err = e.StateKeys(ctx, "")
	tr.mustBe(err, notifications.ErrClosed, "state keys")
}
