package sinktest

import (
	"bytes"
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
