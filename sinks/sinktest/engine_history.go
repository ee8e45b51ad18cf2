package sinktest

import (
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

var historyTests = []engineTest{
	{name: "history/kept whole", run: testAttempt},
	{name: "history/select and page", run: testAttempts},
	{name: "history/reopen", run: testReopenAttempts, durable: true},
	{name: "history/goes by age", run: testAttemptAge},
	{name: "history/after shutdown", run: testHistoryShutdown},
}

// history returns the engine's, or leaves the test out.
func (tr *trial) history() sinks.History {
	tr.Helper()
	h, ok := tr.engine.(sinks.History)
	if !ok {
		tr.leaveOut("the engine keeps no history")
	}
	return h
}

// attempts returns what q selects, once that are want: they become visible with a commit.
func (tr *trial) attempts(q sinks.AttemptQuery, want int) (found []sinks.AttemptRecord) {
	tr.Helper()
	tr.eventually(func() bool {
		var err error
		found, err = tr.history().Attempts(tr.Context(), q)
		tr.must(err)
		return len(found) == want
	}, "history as expected")
	return found
}

func testAttempt(tr *trial) {
	want := sinks.AttemptRecord{
		Endpoint: "audit", At: time.Now().UTC().Truncate(time.Microsecond), Sequences: []uint64{3, 4, 900, 1 << 40},
		Number: 7, Status: 502, Fault: "transient", Duration: 1234567 * time.Microsecond,
		Error: "502 Bad Gateway", Excerpt: []byte("no\n\x00"), Replay: "job7",
	}
	tr.history().RecordAttempts(want)
	got := tr.attempts(sinks.AttemptQuery{}, 1)[0]
	if got.ID == 0 {
		tr.Error("an attempt without an ID")
	}
	got.ID = 0
	if diff := cmp.Diff(want, got); diff != "" {
		tr.Errorf("came back as (-want +got):\n%s", diff)
	}
	long := sinks.AttemptRecord{Endpoint: "long", At: want.At, Sequences: []uint64{5}, Excerpt: []byte(strings.Repeat("x", 2*sinks.MaxExcerpt))}
	tr.history().RecordAttempts(long)
	if got := tr.attempts(sinks.AttemptQuery{Endpoint: "long"}, 1)[0]; len(got.Excerpt) != sinks.MaxExcerpt {
		tr.Errorf("excerpt of %d bytes, want %d", len(got.Excerpt), sinks.MaxExcerpt)
	}
}

func testAttempts(tr *trial) {
	const count = 40
	now := time.Now()
	var all []sinks.AttemptRecord
	for n := range count {
		a := sinks.AttemptRecord{Endpoint: "a", At: now, Sequences: []uint64{uint64(n + 1)}, Number: n, Status: 200}
		if n%3 == 0 {
			a.Endpoint = "b"
		}
		if n%4 == 0 {
			a.Status, a.Error = 500, "500 Internal Server Error"
		}
		if n%5 == 0 { // a batch
			a.Sequences = append(a.Sequences, uint64(n+2), uint64(n+30), 1000)
		}
		all = append(all, a)
	}
	tr.history().RecordAttempts(all[:7]...)
	tr.history().RecordAttempts(all[7:]...)
	tr.attempts(sinks.AttemptQuery{}, count)
	for _, q := range []sinks.AttemptQuery{
		{}, {Endpoint: "b"}, {Endpoint: "nobody"}, {Failures: true}, {Endpoint: "a", Failures: true},
		{Sequence: 1}, {Sequence: 2}, {Sequence: 31}, {Sequence: 36}, {Sequence: 1000}, {Sequence: 1001}, {Sequence: 900},
		{Sequence: 1000, Endpoint: "b", Failures: true},
	} {
		var want []int
		for n := range all {
			if q.Match(&all[n]) {
				want = append(want, n)
			}
		}
		for _, oldest := range []bool{true, false} {
			for _, limit := range []int{0, 3} {
				q.OldestFirst, q.Limit = oldest, limit
				if got := tr.pages(q); !slices.Equal(got, want) {
					tr.Errorf("%+v lists attempts %v, want %v", q, got, want)
				}
			}
		}
	}
}

// pages lists the numbers of all attempts that q selects, page by page, and returns them
// oldest first.
func (tr *trial) pages(q sinks.AttemptQuery) (ns []int) {
	tr.Helper()
	for {
		page, err := tr.history().Attempts(tr.Context(), q)
		tr.must(err)
		if q.Limit > 0 && len(page) > q.Limit {
			tr.Fatalf("%+v lists %d", q, len(page))
		}
		for _, a := range page {
			ns = append(ns, a.Number)
			q.After = a.ID
		}
		if len(page) == 0 || q.Limit == 0 {
			break
		}
	}
	if !q.OldestFirst {
		slices.Reverse(ns)
	}
	return ns
}

func testReopenAttempts(tr *trial) {
	tr.history().RecordAttempts(sinks.AttemptRecord{Endpoint: "a", At: time.Now(), Sequences: []uint64{1}, Number: 1})
	tr.reopen()
	tr.history().RecordAttempts(sinks.AttemptRecord{Endpoint: "a", At: time.Now(), Sequences: []uint64{1}, Number: 2})
	if got := tr.attempts(sinks.AttemptQuery{Sequence: 1}, 2); got[0].Number != 2 || got[1].Number != 1 {
		tr.Errorf("%+v, want the newest first", got)
	}
}

func testAttemptAge(tr *trial) {
	now := time.Now()
	tr.history().RecordAttempts(
		sinks.AttemptRecord{Endpoint: "old", At: now.Add(-sinks.HistoryAge - time.Minute), Sequences: []uint64{1}},
		sinks.AttemptRecord{Endpoint: "new", At: now.Add(-sinks.HistoryAge + time.Hour), Sequences: []uint64{1}},
	)
	tr.attempts(sinks.AttemptQuery{Endpoint: "new"}, 1)
	tr.attempts(sinks.AttemptQuery{}, 1)
}

func testHistoryShutdown(tr *trial) {
	h := tr.history()
	tr.shutdown()
	h.RecordAttempts(sinks.AttemptRecord{Endpoint: "a", At: time.Now(), Sequences: []uint64{1}})
	_, err := h.Attempts(tr.Context(), sinks.AttemptQuery{})
	tr.mustBe(err, notifications.ErrClosed, "attempts")
}
