package sinktest

import (
	"errors"
	"slices"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

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
