package sinktest

import (
	"context"
	"slices"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

var loanTests = []engineTest{
	{name: "loan/lends nothing twice", run: testLoans},
	{name: "loan/released comes again at once", run: testRelease},
	{name: "loan/parked comes when its time has come", run: testPark},
	{name: "loan/a parked event wakes a waiting claim in time", run: testParkOrder},
	{name: "loan/settled out of order", run: testOutOfOrder},
	{name: "loan/settling what is not on loan", run: testStrangeSettlements},
	{name: "loan/closing returns loans", run: testCloseReturns},
	{name: "loan/a former holder's loans first", run: testFormerHolder},
	{name: "loan/waiting claim", run: testWaitingClaim},
	{name: "loan/waiting claim and a cancelled context", run: testCancelledClaim},
	{name: "loan/waiting claim and a closed cursor", run: testClosedClaim},
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
	if early := time.Until(now.Add(2 * moment)); early > 0 {
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
