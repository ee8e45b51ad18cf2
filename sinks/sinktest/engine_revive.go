package sinktest

import (
	"slices"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

var reviveTests = []engineTest{
	{name: "revive/comes again and counts as pending", run: testRevive},
	{name: "revive/selects", run: testReviveSelects},
	{name: "revive/only what is its own", run: testReviveStrange},
	{name: "revive/wakes a waiting claim", run: testReviveWakes},
	{name: "revive/only what is still stored", run: testReviveGone, small: true},
	{name: "revive/reopen, far below the mark", run: testReviveReopen, durable: true},
}

// revive brings back what q selects and checks how much that was.
func (tr *trial) revive(c sinks.Cursor, q sinks.DeadQuery, want int) {
	tr.Helper()
	n, err := c.Revive(tr.Context(), q)
	if err != nil || n != want {
		tr.Fatalf("revived %d, %v; want %d", n, err, want)
	}
}

func testRevive(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 6)
	ds := tr.claim(c, 6)
	tr.settle(c, sinks.DeadLettered, ds[1], ds[3])
	tr.settle(c, sinks.Delivered, ds[0], ds[2], ds[4], ds[5])
	letters := tr.dead(sinks.DeadQuery{}, 2)
	tr.revive(c, sinks.DeadQuery{IDs: []uint64{letters[0].ID}}, 1)
	info := tr.info("c")
	if info.LowWater != ds[0].Sequence || info.Pending != 1 || info.Totals[sinks.DeadLettered] != 1 || !info.OldestPending.Equal(ds[1].Stored) {
		tr.Errorf("%+v, want one pending above %d, one dead", info, ds[0].Sequence)
	}
	if left := tr.dead(sinks.DeadQuery{}, 1); left[0].ID != letters[1].ID {
		tr.Errorf("dead letter %d is left, want %d", left[0].ID, letters[1].ID)
	}
	tr.revive(c, sinks.DeadQuery{IDs: []uint64{letters[0].ID}}, 0)
	again := tr.claimNumbers(c, 1)
	if !again[0].Parked || again[0].Tries != 0 || again[0].Sequence != ds[1].Sequence {
		tr.Errorf("%+v, want event %d as new, but overtaken", again[0], ds[1].Sequence)
	}
	tr.settle(c, sinks.Delivered, again...)
	info = tr.info("c")
	if info.LowWater != ds[5].Sequence || info.Pending != 0 || info.Totals[sinks.Delivered] != 5 || info.Totals[sinks.DeadLettered] != 1 {
		tr.Errorf("%+v, want all settled, one of them dead", info)
	}
	tr.push(6, 1)
	tr.claimNumbers(c, 6)
}

func testReviveSelects(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 8) // even ones to team/a, odd ones to team/b
	ds := tr.claim(c, 8)
	tr.settle(c, sinks.DeadLettered, ds...)
	tr.revive(c, sinks.DeadQuery{Sequences: []uint64{ds[1].Sequence, ds[2].Sequence, 1 << 40}}, 2)
	tr.claimNumbers(c, 1, 2)
	tr.revive(c, sinks.DeadQuery{Repository: "*/b", Limit: 2}, 2)
	tr.claimNumbers(c, 3, 5)
	tr.revive(c, sinks.DeadQuery{Reason: sinks.DeadExpired}, 0)
	_, err := c.Revive(tr.Context(), sinks.DeadQuery{Repository: "***"})
	if !notifications.IsPermanent(err) {
		tr.Errorf("a bad pattern: %v, want a permanent error", err)
	}
	tr.revive(c, sinks.DeadQuery{Cursor: "c", Reason: sinks.DeadRejected}, 4)
	tr.claimNumbers(c, 0, 4, 6, 7)
	if info := tr.info("c"); info.Pending != 8 || info.LowWater != ds[0].Sequence-1 || info.Totals[sinks.DeadLettered] != 0 {
		tr.Errorf("%+v, want all pending again", info)
	}
}

func testReviveStrange(tr *trial) {
	c, d := tr.cursor("c", nil), tr.cursor("d", nil)
	tr.push(0, 3)
	cs, ds := tr.claim(c, 3), tr.claim(d, 3)
	tr.settle(c, sinks.DeadLettered, cs[0])
	tr.settle(d, sinks.DeadLettered, ds[1])
	letters := tr.dead(sinks.DeadQuery{}, 2)
	tr.revive(c, sinks.DeadQuery{IDs: []uint64{letters[1].ID}}, 0)
	tr.revive(c, sinks.DeadQuery{Cursor: "d"}, 1) // its own all the same
	if left := tr.dead(sinks.DeadQuery{}, 1); left[0].Cursor != "d" {
		tr.Errorf("%+v is left, want the letter of d", left[0])
	}
	tr.must(d.Close())
	if _, err := d.Revive(tr.Context(), sinks.DeadQuery{}); err == nil {
		tr.Error("a closed cursor revives")
	}
	// A cursor that was made again has not settled what the former one did.
	tr.must(tr.engine.DeleteCursor(tr.Context(), "d"))
	d = tr.cursor("d", nil)
	tr.revive(d, sinks.DeadQuery{}, 0)
	tr.claimNothing(d)
	if info := tr.info("d"); info.Pending != 0 {
		tr.Errorf("%+v, want nothing pending", info)
	}
}

func testReviveWakes(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 2)
	tr.settle(c, sinks.DeadLettered, tr.claim(c, 2)...)
	tr.dead(sinks.DeadQuery{}, 2)
	got := make(chan []int, 1)
	go func() {
		into := make([]sinks.Delivery, 2)
		n, err := c.Claim(tr.Context(), into)
		if err != nil {
			tr.Error(err)
		}
		got <- numbers(into[:n])
	}()
	tr.wait(moment / 10)
	tr.revive(c, sinks.DeadQuery{}, 2)
	if ns := <-got; !slices.Equal(ns, []int{0, 1}) {
		tr.Errorf("claimed %v, want both", ns)
	}
}

func testReviveGone(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 1)
	tr.settle(c, sinks.DeadLettered, tr.claim(c, 1)...)
	for n := 1; n < 150; n++ {
		tr.eventually(func() bool {
			return tr.engine.Write(tr.Context(), notificationstest.Pushes(n, 1, "team/a")) == nil
		}, "room although everything is settled")
		tr.settle(c, sinks.Delivered, tr.claim(c, 1)...)
	}
	tr.revive(c, sinks.DeadQuery{}, 0)
	tr.dead(sinks.DeadQuery{}, 1)
	if info := tr.info("c"); info.Pending != 0 || info.Totals[sinks.DeadLettered] != 1 {
		tr.Errorf("%+v, want one dead, none pending", info)
	}
}

func testReviveReopen(tr *trial) {
	const many = sinks.ProgressBlock + 100
	c := tr.cursor("c", nil)
	for n := 0; n < many; n += many / 4 {
		tr.push(n, many/4)
	}
	ds := tr.claim(c, many)
	tr.settle(c, sinks.DeadLettered, ds[7], ds[many/2])
	tr.settle(c, sinks.Delivered, append(slices.Clone(ds[:7]), ds[8:]...)...)
	tr.reopen()
	if info := tr.info("c"); info.LowWater != ds[many-1].Sequence {
		tr.Fatalf("%+v, want all settled", info)
	}
	c = tr.cursor("c", nil)
	tr.revive(c, sinks.DeadQuery{}, 2)
	tr.reopen()
	info := tr.info("c")
	if info.LowWater != ds[7].Sequence-1 || info.Pending != 2 || info.Totals[sinks.DeadLettered] != 0 {
		tr.Errorf("%+v, want two pending above %d", info, ds[7].Sequence-1)
	}
	tr.dead(sinks.DeadQuery{}, 0)
	c = tr.cursor("c", nil)
	tr.settle(c, sinks.Delivered, tr.claimNumbers(c, 7, many/2)...)
	tr.claimNothing(c)
	tr.reopen()
	if info := tr.info("c"); info.LowWater != ds[many-1].Sequence || info.Totals[sinks.Delivered] != many {
		tr.Errorf("%+v, want all delivered", info)
	}
}
