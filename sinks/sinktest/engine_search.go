package sinktest

import (
	"slices"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

var searchTests = []engineTest{
	{name: "search/by id", run: testSearchID},
	{name: "search/select and page", run: testSearch},
	{name: "search/by time", run: testSearchTime},
	{name: "search/settled", run: testSearchSettled},
	{name: "search/reopen", run: testSearchReopen, durable: true},
	{name: "search/after shutdown", run: testSearchShutdown},
}

// searcher returns the engine's, or leaves the test out.
func (tr *trial) searcher() sinks.Searcher {
	tr.Helper()
	s, ok := tr.engine.(sinks.Searcher)
	if !ok {
		tr.leaveOut("the engine finds no events")
	}
	return s
}

func testSearchID(tr *trial) {
	s, ctx := tr.searcher(), tr.Context()
	events := tr.push(0, 5)
	c := tr.cursor("c", fromOldest())
	ds := tr.claim(c, 5)
	tr.settle(c, sinks.Delivered, ds...)
	for i, e := range events {
		d, err := s.Event(ctx, e.ID)
		if err != nil || d.Event.ID != e.ID || d.Sequence != ds[i].Sequence || !d.Stored.Equal(ds[i].Stored) || d.Size != ds[i].Size {
			tr.Errorf("%+v, %v; want %+v", d, err, ds[i])
		}
	}
	_, err := s.Event(ctx, "nobody's")
	tr.mustBe(err, sinks.ErrNotFound, "an unknown id")
	other := notificationstest.Push("team/c", "other", 2) // of the same id
	other.ID = events[2].ID
	tr.write(other)
	if d, err := s.Event(ctx, other.ID); err != nil || d.Event.Repository != "team/c" {
		tr.Errorf("%+v, %v; want the newest of two", d, err)
	}
}

func testSearchSettled(tr *trial) {
	s, ctx := tr.searcher(), tr.Context()
	tr.push(0, 1)
	c := tr.cursor("c", nil)
	tr.push(1, 3)
	ds := tr.claim(c, 3)
	tr.settle(c, sinks.Delivered, ds[1])
	for sequence, want := range map[uint64]bool{
		ds[0].Sequence - 1: true, ds[0].Sequence: false, ds[1].Sequence: true, ds[2].Sequence: false,
	} {
		if got, err := s.Settled(ctx, "c", sequence); err != nil || got != want {
			tr.Errorf("event %d is settled: %t, %v; want %t", sequence, got, err, want)
		}
	}
	_, err := s.Settled(ctx, "nobody's", 1)
	tr.mustBe(err, sinks.ErrNotFound, "an unknown cursor")
}

func testSearch(tr *trial) {
	all := notificationstest.Pushes(0, 60, "team/a", "team/b", "team/c/d")
	for n := range all {
		switch n % 10 {
		case 3:
			all[n] = notificationstest.Delete("team/a", n)
		case 4:
			all[n] = notificationstest.Pull("team/b", "latest", n)
		case 5:
			all[n] = notificationstest.BlobPush("other", n)
		}
	}
	for batch := range slices.Chunk(all, 7) {
		tr.write(batch...)
	}
	actor := all[0].Actor
	for _, q := range []sinks.EventQuery{
		{}, {Repository: "team/a"}, {Repository: "team/*"}, {Repository: "**"}, {Repository: "nobody"}, {Repository: "team/**", Tag: "v1*"},
		{Tag: "latest"}, {Action: "delete"}, {Action: "push", Repository: "other"}, {Actor: actor}, {Actor: "nobody at all"},
		{Digest: string(all[21].Digest)}, {Repository: "team/a", Action: "delete", Digest: string(all[33].Digest)},
	} {
		match, err := q.Matcher()
		tr.must(err)
		var want []int
		for n, e := range all {
			if match.Match(e) {
				want = append(want, n)
			}
		}
		for _, oldest := range []bool{true, false} {
			for _, limit := range []int{0, 7} {
				q.OldestFirst, q.Limit = oldest, limit
				if got := tr.found(q); !slices.Equal(got, want) {
					tr.Errorf("%+v finds %v, want %v", q, got, want)
				}
			}
		}
	}
	_, err := tr.searcher().Events(tr.Context(), sinks.EventQuery{Tag: "***"})
	if !notifications.IsPermanent(err) {
		tr.Errorf("a bad pattern: %v, want a permanent error", err)
	}
}

// found lists the numbers of all events that q selects, page by page, and returns them
// oldest first.
func (tr *trial) found(q sinks.EventQuery) (ns []int) {
	tr.Helper()
	for range 10_000 {
		page, err := tr.searcher().Events(tr.Context(), q)
		tr.must(err)
		if q.Limit > 0 && len(page.Events) > q.Limit {
			tr.Fatalf("%+v lists %d", q, len(page.Events))
		}
		ns = append(ns, numbers(page.Events)...)
		if q.After = page.Next; q.After == 0 {
			if !q.OldestFirst {
				slices.Reverse(ns)
			}
			return ns
		}
	}
	tr.Fatalf("%+v never ends", q)
	return nil
}

func testSearchTime(tr *trial) {
	tr.push(0, 10)
	tr.wait(moment)
	noon := time.Now()
	tr.wait(moment)
	tr.push(10, 10)
	for _, test := range []struct {
		q    sinks.EventQuery
		want []int
	}{
		{sinks.EventQuery{Since: noon}, span(10, 10)},
		{sinks.EventQuery{Until: noon}, span(0, 10)},
		{sinks.EventQuery{Since: noon, Until: noon}, nil},
		{sinks.EventQuery{Since: noon.Add(-time.Hour), Until: noon.Add(time.Hour)}, span(0, 20)},
		{sinks.EventQuery{Since: noon.Add(time.Hour)}, nil},
		{sinks.EventQuery{Until: noon, Repository: "team/a"}, []int{0, 2, 4, 6, 8}},
		{sinks.EventQuery{Since: noon, Repository: "team/b"}, []int{11, 13, 15, 17, 19}},
	} {
		for _, oldest := range []bool{true, false} {
			for _, limit := range []int{0, 4} {
				test.q.OldestFirst, test.q.Limit = oldest, limit
				if got := tr.found(test.q); !slices.Equal(got, test.want) {
					tr.Errorf("%+v finds %v, want %v", test.q, got, test.want)
				}
			}
		}
	}
}

func testSearchReopen(tr *trial) {
	events := tr.push(0, 20)
	tr.reopen()
	tr.push(20, 20)
	if d, err := tr.searcher().Event(tr.Context(), events[3].ID); err != nil || d.Event.ID != events[3].ID {
		tr.Errorf("%+v, %v; want event 3", d, err)
	}
	want := []int{}
	for n := 1; n < 40; n += 2 {
		want = append(want, n)
	}
	for range 2 { // before and after indexes are built
		if got := tr.found(sinks.EventQuery{Repository: "team/b", Limit: 3}); !slices.Equal(got, want) {
			tr.Errorf("found %v, want %v", got, want)
		}
		tr.wait(moment)
	}
}

func testSearchShutdown(tr *trial) {
	s := tr.searcher()
	tr.shutdown()
	_, err := s.Event(tr.Context(), "id")
	tr.mustBe(err, notifications.ErrClosed, "event")
	_, err = s.Events(tr.Context(), sinks.EventQuery{})
	tr.mustBe(err, notifications.ErrClosed, "events")
}
