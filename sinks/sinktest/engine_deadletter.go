package sinktest

import (
	"bytes"
	"slices"
	"time"

	"github.com/regcast/regcast/sinks"
)

var deadTests = []engineTest{
	{name: "dead letters/kept whole", run: testDeadLetter},
	{name: "dead letters/without a letter", run: testNoDeadLetter},
	{name: "dead letters/list, count, drop", run: testDeadLetters},
}

func testDeadLetter(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 2)
	d := tr.claim(c, 2)[1]
	first := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	want := sinks.DeadLetter{
		Reason: sinks.DeadTooLarge, Event: d.Event, Attempts: 7, FirstAttempt: first, LastAttempt: first.Add(time.Hour),
		Status: 413, Error: "413 Request Entity Too Large", Excerpt: []byte("no\n"), Count: 1,
	}
	before := time.Now().Add(-time.Second)
	letter := want
	tr.must(c.Settle(sinks.Settlement{Sequence: d.Sequence, Outcome: sinks.DeadLettered, Dead: &letter}))
	got := tr.dead(sinks.DeadQuery{}, 1)[0]
	if got.ID == 0 || got.Cursor != "c" || got.Sequence != d.Sequence || got.Buried.Before(before) {
		tr.Errorf("ID %d, cursor %q, sequence %d, buried %v", got.ID, got.Cursor, got.Sequence, got.Buried)
	}
	if got.Event == nil || !bytes.Equal(got.Event.AppendJSON(nil), want.Event.AppendJSON(nil)) {
		tr.Errorf("event %+v, want %+v", got.Event, want.Event)
	}
	if got.Reason != want.Reason || got.Attempts != want.Attempts || !got.FirstAttempt.Equal(want.FirstAttempt) ||
		!got.LastAttempt.Equal(want.LastAttempt) || got.Status != want.Status || got.Error != want.Error ||
		!bytes.Equal(got.Excerpt, want.Excerpt) || got.Count != 1 || got.Last != 0 {
		tr.Errorf("came back as %+v, want %+v", got, want)
	}
	if info := tr.info("c"); info.Totals[sinks.DeadLettered] != 1 || info.Pending != 1 {
		tr.Errorf("%+v, want one dead and one pending", info)
	}
}

func testNoDeadLetter(tr *trial) {
	c := tr.cursor("c", nil)
	tr.push(0, 2)
	ds := tr.claim(c, 2)
	tr.must(c.Settle(
		sinks.Settlement{Sequence: ds[0].Sequence, Outcome: sinks.DeadLettered},
		sinks.Settlement{Sequence: ds[1].Sequence, Outcome: sinks.DeadLettered, Dead: &sinks.DeadLetter{Reason: sinks.DeadExpired}},
	))
	got := tr.dead(sinks.DeadQuery{}, 2)
	if got[0].Reason != sinks.DeadManual || got[1].Reason != sinks.DeadExpired {
		tr.Errorf("reasons %s and %s, want manual and expired", got[0].Reason, got[1].Reason)
	}
	for i, d := range got {
		if d.Count != 1 || d.Event == nil || d.Event.ID != ds[i].Event.ID {
			tr.Errorf("%+v, want event %s", d, ds[i].Event.ID)
		}
	}
}

// dead returns the dead letters that q selects, once they are want: they become visible
// with the commit of their settlements.
func (tr *trial) dead(q sinks.DeadQuery, want int) (found []sinks.DeadLetter) {
	tr.Helper()
	tr.eventually(func() bool {
		var err error
		found, err = tr.engine.DeadLetters(tr.Context(), q)
		tr.must(err)
		return len(found) >= want
	}, "dead letters as expected")
	if len(found) != want {
		tr.Fatalf("%d dead letters, want %d", len(found), want)
	}
	return found
}

func testDeadLetters(tr *trial) {
	ctx := tr.Context()
	tr.push(0, 6)
	for _, name := range []string{"c", "d"} {
		c := tr.cursor(name, fromOldest())
		for i, d := range tr.claim(c, 3) {
			reason := sinks.DeadRejected
			if i == 1 {
				reason = sinks.DeadExpired
			}
			tr.must(c.Settle(sinks.Settlement{Sequence: d.Sequence, Outcome: sinks.DeadLettered, Dead: &sinks.DeadLetter{Reason: reason, Event: d.Event, Count: 1}}))
		}
	}
	list := func(q sinks.DeadQuery) (ids []uint64) {
		tr.Helper()
		dead, err := tr.engine.DeadLetters(ctx, q)
		tr.must(err)
		for _, d := range dead {
			ids = append(ids, d.ID)
		}
		return ids
	}
	tr.dead(sinks.DeadQuery{}, 6)
	all := list(sinks.DeadQuery{})
	if !slices.IsSorted(all) {
		tr.Fatalf("dead letters %v, want them in order", all)
	}
	for _, test := range []struct {
		q    sinks.DeadQuery
		want []uint64
	}{
		{sinks.DeadQuery{Limit: 2}, all[:2]},
		{sinks.DeadQuery{After: all[3]}, all[4:]},
		{sinks.DeadQuery{Cursor: "d"}, all[3:]},
		{sinks.DeadQuery{Reason: sinks.DeadExpired}, []uint64{all[1], all[4]}},
		{sinks.DeadQuery{Cursor: "c", Reason: sinks.DeadRejected, After: all[0], Limit: 5}, all[2:3]},
		{sinks.DeadQuery{Cursor: "nobody"}, nil},
	} {
		if got := list(test.q); !slices.Equal(got, test.want) {
			tr.Errorf("%+v lists %v, want %v", test.q, got, test.want)
		}
	}
	count, err := tr.engine.DeadCount(ctx, "c")
	tr.must(err)
	if count[sinks.DeadRejected] != 2 || count[sinks.DeadExpired] != 1 {
		tr.Errorf("counted %v, want 2 rejected, 1 expired", count)
	}
	n, err := tr.engine.DropDead(ctx, all[0], all[4], 1<<40)
	if err != nil || n != 2 {
		tr.Errorf("dropped %d, %v; want 2", n, err)
	}
	if got, want := list(sinks.DeadQuery{}), []uint64{all[1], all[2], all[3], all[5]}; !slices.Equal(got, want) {
		tr.Errorf("left %v, want %v", got, want)
	}
	if info := tr.info("c"); info.Totals[sinks.DeadLettered] != 3 {
		tr.Errorf("dropping a dead letter changed the totals: %+v", info)
	}
}
