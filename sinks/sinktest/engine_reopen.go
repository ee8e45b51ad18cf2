package sinktest

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

var reopenTests = []engineTest{
	{name: "reopen/loans of the former holder first", run: testReopenLoans, durable: true},
	{name: "reopen/totals and sequences go on", run: testReopenTotals, durable: true},
	{name: "reopen/parked stays parked", run: testReopenParked, durable: true},
	{name: "reopen/repeats are still known", run: testReopenRepeats, durable: true},
	{name: "reopen/dead letters, quarantine, state", run: testReopenRecords, durable: true},
	{name: "reopen/a retired cursor keeps its place", run: testReopenRetired, durable: true},
}

func testReopenLoans(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 6)
	ds := tr.claimNumbers(c, 0, 1, 2, 3)
	tr.settle(c, sinks.Delivered, ds[1], ds[3])
	tr.reopen()
	tr.push(6, 1)
	c = tr.cursor("c", nil)
	tr.claimNumbers(c, 0, 2, 4, 5, 6)
}

func testReopenTotals(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 10)
	ds := tr.claim(c, 6)
	tr.settle(c, sinks.Delivered, ds[0], ds[1], ds[4])
	tr.settle(c, sinks.Filtered, ds[5])
	tr.settle(c, sinks.DeadLettered, ds[2])
	before := tr.info("c")
	tr.reopen()
	after := tr.info("c")
	before.Held = false
	if after != before {
		tr.Errorf("%+v after the engine was reopened, %+v before", after, before)
	}
	c = tr.cursor("c", nil)
	tr.push(10, 1)
	again := tr.claimNumbers(c, 3, 6, 7, 8, 9, 10)
	if again[0].Sequence != ds[3].Sequence || again[5].Sequence <= again[4].Sequence {
		tr.Errorf("sequences %d and %d, want %d and one above %d", again[0].Sequence, again[5].Sequence, ds[3].Sequence, again[4].Sequence)
	}
	tr.settle(c, sinks.Delivered, again...)
	if info := tr.info("c"); info.Pending != 0 || info.Totals[sinks.Delivered] != 9 {
		tr.Errorf("%+v, want 9 delivered, none pending", info)
	}
}

func testReopenParked(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 2)
	ds := tr.claim(c, 2)
	until := time.Now().Add(3 * time.Second)
	tr.park(c, until, ds[0])
	tr.settle(c, sinks.Delivered, ds[1])
	tr.reopen()
	c = tr.cursor("c", nil)
	if info := tr.info("c"); info.Parked != 1 || info.Pending != 1 {
		tr.Errorf("%+v, want one parked", info)
	}
	tr.claimNothing(c)
	if again := tr.claimNumbers(c, 0); !again[0].Parked || again[0].Tries != 1 {
		tr.Errorf("parked %t, tries %d; want true, 1", again[0].Parked, again[0].Tries)
	}
	if now := time.Now(); now.Before(until.Add(-time.Millisecond)) {
		tr.Errorf("came %v early", until.Sub(now))
	}
}

func testReopenRepeats(tr *trial) {
	tr.push(0, 5)
	tr.reopen()
	c := tr.cursor("c", nil)
	receipt, err := tr.engine.Record(tr.Context(), notificationstest.Pushes(3, 4, "team/a", "team/b"), nil)
	tr.must(err)
	if want := (notifications.Receipt{Accepted: 2, Duplicates: 2}); receipt != want {
		tr.Errorf("receipt %+v, want %+v", receipt, want)
	}
	tr.claimNumbers(c, 5, 6)
}

func testReopenRecords(tr *trial) {
	ctx := tr.Context()
	c := tr.cursor("c", nil)
	tr.push(0, 1)
	d := tr.claim(c, 1)[0]
	tr.settle(c, sinks.DeadLettered, d)
	_, err := tr.engine.Record(ctx, nil, []notifications.Quarantined{{Reason: notifications.ReasonName, Body: []byte("body")}})
	tr.must(err)
	tr.must(tr.engine.SetState(ctx, "k", []byte("v")))
	tr.reopen()
	dead, err := tr.engine.DeadLetters(ctx, sinks.DeadQuery{})
	if err != nil || len(dead) != 1 || dead[0].Event == nil || !bytes.Equal(dead[0].Event.AppendJSON(nil), d.Event.AppendJSON(nil)) {
		tr.Errorf("dead letters %+v, %v", dead, err)
	}
	bad, err := tr.engine.Quarantined(ctx, 0, 0)
	if err != nil || len(bad) != 1 || string(bad[0].Body) != "body" {
		tr.Errorf("quarantine %+v, %v", bad, err)
	}
	if v, err := tr.engine.State(ctx, "k"); err != nil || string(v) != "v" {
		tr.Errorf("state %q, %v", v, err)
	}
}

func testReopenRetired(tr *trial) {
	tr.must(tr.cursor("c", nil).Close())
	tr.must(tr.engine.RetireCursor(tr.Context(), "c"))
	tr.push(0, 2)
	tr.reopen()
	c := tr.cursor("c", nil)
	tr.claimNumbers(c, 0, 1)
}

var fullTests = []engineTest{
	{name: "full/refuses for a required cursor and recovers", run: testFull, small: true},
	{name: "full/a batch that can never fit", run: testTooLarge, small: true},
	{name: "full/a retired cursor holds nothing back", run: testFullRetired, small: true},
	{name: "full/history goes silently", run: testFullHistory, small: true},
}

func required() *sinks.CursorOptions { return &sinks.CursorOptions{Required: true} }

// fill stores one event after the other until the engine refuses, and returns how many
// it took.
func (tr *trial) fill(first int) int {
	tr.Helper()
	for n := range 10_000 {
		err := tr.engine.Write(tr.Context(), notificationstest.Pushes(first+n, 1, "team/a"))
		if errors.Is(err, notifications.ErrFull) {
			return n
		}
		tr.must(err)
	}
	tr.Fatal("10 000 events and still room")
	return 0
}

func testFull(tr *trial) {
	c := tr.cursor("c", required())
	taken := tr.fill(0)
	if taken < 10 {
		tr.Fatalf("full after %d events", taken)
	}
	if _, err := tr.engine.Record(tr.Context(), notificationstest.Pushes(0, 2, "team/a"), nil); err != nil {
		tr.Errorf("full engine refused repeats: %v", err)
	}
	bad := []notifications.Quarantined{{Reason: notifications.ReasonSyntax}}
	_, err := tr.engine.Record(tr.Context(), notificationstest.Pushes(taken, 1, "team/a"), bad)
	tr.mustBe(err, notifications.ErrFull, "record")
	if kept, err := tr.engine.Quarantined(tr.Context(), 0, 0); err != nil || len(kept) != 0 {
		tr.Errorf("%d bodies in quarantine, %v; want none without the events they came with", len(kept), err)
	}
	ds := tr.claim(c, taken)
	if ns := numbers(ds); !slices.Equal(ns, span(0, taken)) {
		tr.Fatalf("claimed %v, want all that were stored", ns)
	}
	tr.settle(c, sinks.Delivered, ds...)
	tr.eventually(func() bool {
		return tr.engine.Write(tr.Context(), notificationstest.Pushes(taken, 1, "team/a")) == nil
	}, "room after everything was settled")
	tr.claimNumbers(c, taken)
}

// eventually waits until ok.
func (tr *trial) eventually(ok func() bool, what string) {
	tr.Helper()
	for end := time.Now().Add(patience); !ok(); tr.wait(moment / 30) {
		if time.Now().After(end) {
			tr.Fatalf("no %s", what)
		}
	}
}

func testTooLarge(tr *trial) {
	err := tr.engine.Write(tr.Context(), notificationstest.Pushes(0, 20_000, "team/a"))
	if err == nil {
		tr.Fatal("20 000 events fit a small engine")
	}
	if !notifications.IsPermanent(err) && !errors.Is(err, notifications.ErrFull) {
		tr.Errorf("%v is neither permanent nor ErrFull", err)
	}
	c := tr.cursor("c", fromOldest())
	tr.claimNothing(c)
}

func testFullRetired(tr *trial) {
	tr.must(tr.cursor("c", nil).Close())
	tr.must(tr.engine.RetireCursor(tr.Context(), "c"))
	const stored = 250
	for i := range stored {
		tr.eventually(func() bool {
			return tr.engine.Write(tr.Context(), notificationstest.Pushes(i, 1, "team/a")) == nil
		}, "room although only a retired cursor is behind")
	}
	info := tr.info("c")
	if info.Totals[sinks.Evicted]+info.Pending != stored || info.Totals[sinks.Evicted] == 0 {
		tr.Errorf("%+v, want %d evicted or pending", info, stored)
	}
	tr.eventually(func() bool {
		dead, err := tr.engine.DeadLetters(tr.Context(), sinks.DeadQuery{Cursor: "c", Reason: sinks.DeadEvicted})
		tr.must(err)
		var recorded uint64
		for _, d := range dead {
			recorded += d.Count
		}
		return recorded == info.Totals[sinks.Evicted]
	}, "record of each evicted event")
	c := tr.cursor("c", nil)
	info = tr.info("c")
	if ns, want := numbers(tr.claim(c, int(info.Pending))), span(stored-int(info.Pending), int(info.Pending)); !slices.Equal(ns, want) {
		tr.Errorf("claimed %v, want the newest %v", ns, want)
	}
}

func testFullHistory(tr *trial) {
	for i := range 250 {
		tr.eventually(func() bool {
			return tr.engine.Write(tr.Context(), notificationstest.Pushes(i, 1, "team/a")) == nil
		}, "room although nobody is behind")
	}
	c := tr.cursor("c", fromOldest())
	pending := int(tr.info("c").Pending)
	if pending == 0 || pending > 249 {
		tr.Fatalf("%d events of history", pending)
	}
	if ns := numbers(tr.claim(c, pending)); ns[len(ns)-1] != 249 {
		tr.Errorf("history ends with event %d, want 249", ns[len(ns)-1])
	}
}
