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
	{name: "cursor/bounded", run: testBounded},
	{name: "cursor/bounded by what is not stored yet", run: testBoundedAhead},
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
	_, err = c.Revive(ctx, sinks.DeadQuery{})
	tr.mustBe(err, notifications.ErrClosed, "revive")
	_, err = e.DeadCursor(ctx, "d", sinks.DeadQuery{})
	tr.mustBe(err, notifications.ErrClosed, "dead cursor")
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
