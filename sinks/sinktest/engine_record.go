package sinktest

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

var recordTests = []engineTest{
	{name: "record/returns what was written", run: testRoundTrip},
	{name: "record/repeats are not stored again", run: testRepeats},
	{name: "record/same id with other content is stored", run: testConflict},
	{name: "record/repeat within one batch", run: testRepeatInBatch},
	{name: "record/nothing is no error", run: testRecordNothing},
	{name: "record/ended context", run: testRecordEnded},
	{name: "record/events and quarantine in one call", run: testRecordBoth},
	{name: "record/concurrent writers", run: testConcurrentWriters},
}

func testRoundTrip(tr *trial) {
	c := tr.cursor("c", nil)
	before := time.Now().Add(-time.Second)
	events := tr.push(0, 5)
	var last uint64
	for i, d := range tr.claimNumbers(c, 0, 1, 2, 3, 4) {
		want := events[i].AppendJSON(nil)
		if got := d.Event.AppendJSON(nil); !bytes.Equal(got, want) {
			tr.Errorf("event %d came back as %s, want %s", i, got, want)
		}
		if d.Size != len(want) {
			tr.Errorf("event %d: Size %d, want %d", i, d.Size, len(want))
		}
		if d.Event.Repository != events[i].Repository || d.Event.Tag != events[i].Tag || d.Event.ID != events[i].ID {
			tr.Errorf("event %d came back with other fields: %+v", i, d.Event)
		}
		if d.Sequence <= last {
			tr.Errorf("event %d: sequence %d after %d", i, d.Sequence, last)
		}
		last = d.Sequence
		if d.Stored.Before(before) || d.Stored.After(time.Now().Add(time.Second)) || d.Stored.Location() != time.UTC {
			tr.Errorf("event %d: stored %v", i, d.Stored)
		}
		if d.Tries != 0 || d.Parked {
			tr.Errorf("event %d: %d tries, parked %t at its first loan", i, d.Tries, d.Parked)
		}
	}
}

func testRepeats(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 3)
	receipt, err := tr.engine.Record(tr.Context(), notificationstest.Pushes(0, 5, "team/a", "team/b"), nil)
	tr.must(err)
	if want := (notifications.Receipt{Accepted: 2, Duplicates: 3}); receipt != want {
		tr.Errorf("receipt %+v, want %+v", receipt, want)
	}
	tr.claimNumbers(c, 0, 1, 2, 3, 4)
	tr.claimNothing(c)
}

func testConflict(tr *trial) {
	c := tr.cursor("c", nil)
	first, other := notificationstest.Push("team/a", "v1", 7), notificationstest.Push("team/a", "v1", 7)
	other.Timestamp = other.Timestamp.Add(time.Second)
	for i, want := range []notifications.Receipt{{Accepted: 1}, {Accepted: 1}, {Duplicates: 1}, {Duplicates: 1}} {
		e := []*notifications.Event{first, other, other, first}[i]
		receipt, err := tr.engine.Record(tr.Context(), []*notifications.Event{e}, nil)
		tr.must(err)
		if receipt != want {
			tr.Errorf("write %d: receipt %+v, want %+v", i, receipt, want)
		}
	}
	tr.claimNumbers(c, 7, 7)
	tr.claimNothing(c)
}

func testRepeatInBatch(tr *trial) {
	c := tr.cursor("c", nil)
	e, f := notificationstest.Push("team/a", "v1", 1), notificationstest.Push("team/a", "v2", 2)
	receipt, err := tr.engine.Record(tr.Context(), []*notifications.Event{e, f, e}, nil)
	tr.must(err)
	if want := (notifications.Receipt{Accepted: 2, Duplicates: 1}); receipt != want {
		tr.Errorf("receipt %+v, want %+v", receipt, want)
	}
	tr.claimNumbers(c, 1, 2)
}

func testRecordNothing(tr *trial) {
	c := tr.cursor("c", nil)
	receipt, err := tr.engine.Record(tr.Context(), nil, nil)
	if err != nil || receipt != (notifications.Receipt{}) {
		tr.Errorf("%+v, %v", receipt, err)
	}
	tr.claimNothing(c)
}

func testRecordEnded(tr *trial) {
	ctx, cancel := context.WithCancel(tr.Context())
	cancel()
	if err := tr.engine.Write(ctx, notificationstest.Pushes(0, 1, "team/a")); err == nil {
		tr.Error("no error although the context had ended")
	}
	_, err := tr.engine.Cursor(ctx, "c", nil)
	tr.mustBe(err, context.Canceled, "cursor")
}

func testRecordBoth(tr *trial) {
	c := tr.cursor("c", nil)
	bad := []notifications.Quarantined{
		{Reason: notifications.ReasonSyntax, Detail: "no JSON", Body: []byte("?"), Size: 1, Provenance: notifications.Provenance{Format: "distribution", Sender: "token"}},
		{Reason: notifications.ReasonDigest, Body: bytes.Repeat([]byte("x"), notifications.MaxQuarantinedBody), Size: 1 << 20},
	}
	receipt, err := tr.engine.Record(tr.Context(), notificationstest.Pushes(0, 2, "team/a"), bad)
	tr.must(err)
	if want := (notifications.Receipt{Accepted: 2, Quarantined: 2}); receipt != want {
		tr.Errorf("receipt %+v, want %+v", receipt, want)
	}
	tr.claimNumbers(c, 0, 1)
	got, err := tr.engine.Quarantined(tr.Context(), 0, 0)
	tr.must(err)
	if len(got) != 2 {
		tr.Fatalf("%d quarantined bodies, want 2", len(got))
	}
	for i, q := range got {
		if q.ID == 0 || i > 0 && q.ID <= got[i-1].ID || q.Received.IsZero() {
			tr.Errorf("body %d: ID %d, received %v", i, q.ID, q.Received)
		}
		want := bad[i]
		if q.Reason != want.Reason || q.Detail != want.Detail || !bytes.Equal(q.Body, want.Body) || q.Size != want.Size || q.Provenance != want.Provenance {
			tr.Errorf("body %d came back as %+v", i, q)
		}
	}
}

func testConcurrentWriters(tr *trial) {
	const writers, each = 8, 50
	c := tr.cursor("c", nil)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := tr.engine.Write(tr.Context(), notificationstest.Pushes(w*each+i, 1, "team/a")); err != nil {
					tr.Error(err)
					return
				}
			}
		})
	}
	got := tr.claim(c, writers*each)
	wg.Wait()
	next := make([]int, writers)
	for _, n := range numbers(got) {
		if w := n / each; n%each != next[w] {
			tr.Fatalf("writer %d: event %d came before event %d", w, n%each, next[w])
		}
		next[n/each]++
	}
	if !slices.IsSortedFunc(got, func(x, y sinks.Delivery) int { return int(x.Sequence) - int(y.Sequence) }) {
		tr.Error("claimed out of order")
	}
	tr.settle(c, sinks.Delivered, got...)
	if info := tr.info("c"); info.Totals[sinks.Delivered] != writers*each || info.Pending != 0 {
		tr.Errorf("%+v", info)
	}
}
