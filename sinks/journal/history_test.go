package journal_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// tried makes count attempts, numbered from first, each with an event of its own.
func tried(first, count int) []sinks.AttemptRecord {
	list := make([]sinks.AttemptRecord, count)
	for i := range list {
		list[i] = sinks.AttemptRecord{Endpoint: "audit", At: time.Now(), Sequences: []uint64{uint64(first + i + 1)}, Number: first + i, Status: 200}
	}
	return list
}

func numbersOf(t *testing.T, j *journal.Journal, q sinks.AttemptQuery) (ns []int) {
	t.Helper()
	q.OldestFirst, q.Limit = true, 100_000
	list, err := j.Attempts(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		ns = append(ns, a.Number)
	}
	return ns
}

// TestHistoryBound writes more than fits: the oldest go, by steps, and are counted.
func TestHistoryBound(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		metrics := prometheus.NewRegistry()
		j := mustOpen(t, dir, &journal.Options{HistoryBytes: 100_000, Registerer: metrics})
		const count = 5000
		for n := 0; n < count; n += 50 {
			j.RecordAttempts(tried(n, 50)...)
		}
		time.Sleep(3 * time.Second)
		check := func(first int) {
			t.Helper()
			ns := numbersOf(t, j, sinks.AttemptQuery{})
			if len(ns) < 500 || len(ns) > 1000 || ns[len(ns)-1] != count+first-1 || ns[0] != count+first-len(ns) {
				t.Errorf("%d attempts are left, want the newest that 100 000 bytes hold", len(ns))
			}
		}
		check(0)
		if cut := gathered(t, metrics, "regcast_engine_attempts_cut_total"); int(cut) != count-len(numbersOf(t, j, sinks.AttemptQuery{})) {
			t.Errorf("%v counted as cut", cut)
		}
		mustShutdown(t, j)
		j = mustOpen(t, dir, &journal.Options{HistoryBytes: 100_000})
		j.RecordAttempts(tried(count, 10)...)
		time.Sleep(3 * time.Second)
		check(10)
		mustShutdown(t, j)
	})
}

// TestHistoryKeepsUp has more attempts come at once than memory may hold.
func TestHistoryKeepsUp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		metrics := prometheus.NewRegistry()
		j := mustOpen(t, dir, &journal.Options{Registerer: metrics})
		defer mustShutdown(t, j)
		long := tried(0, 6000)
		for i := range long {
			long[i].Excerpt = make([]byte, 4*sinks.MaxExcerpt) // counts for what is kept of it
		}
		j.RecordAttempts(long...)
		dropped := int(gathered(t, metrics, "regcast_engine_attempts_dropped_total"))
		ns := numbersOf(t, j, sinks.AttemptQuery{})
		if dropped == 0 || len(ns)+dropped != len(long) || len(ns) < 3000 || ns[len(ns)-1] != len(ns)-1 {
			t.Errorf("%d kept, %d dropped, want the first of %d", len(ns), dropped, len(long))
		}
		j.RecordAttempts(tried(7000, 1)...)
		if ns := numbersOf(t, j, sinks.AttemptQuery{Sequence: 7001}); !slices.Equal(ns, []int{7000}) {
			t.Errorf("%v, want what came when there was room again", ns)
		}
	})
}

// TestHistoryMode keeps what it is told to.
func TestHistoryMode(t *testing.T) {
	for mode, want := range map[sinks.HistoryMode][]int{
		sinks.HistoryAll: {0, 1, 2}, sinks.HistoryFailures: {1, 2}, sinks.HistoryOff: nil,
	} {
		j := mustOpen(t, t.TempDir(), &journal.Options{History: mode})
		list := tried(0, 3)
		list[1].Error, list[2].Fault = "500 Internal Server Error", "timeout"
		j.RecordAttempts(list...)
		if got := numbersOf(t, j, sinks.AttemptQuery{}); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", mode, got, want)
		}
		mustShutdown(t, j)
	}
	if j, err := journal.Open(t.TempDir(), &journal.Options{History: "some"}); err == nil {
		mustShutdown(t, j)
		t.Error("an unknown mode is no error")
	}
}

// TestDeadAge forgets dead letters when their time has come.
func TestDeadAge(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		metrics := prometheus.NewRegistry()
		j := mustOpen(t, dir, &journal.Options{DeadAge: time.Minute, Registerer: metrics})
		defer mustShutdown(t, j)
		bury(t, j, 0, 100)
		time.Sleep(30 * time.Second)
		bury(t, j, 100, 3)
		time.Sleep(32 * time.Second)
		letters, err := j.DeadLetters(ctx, sinks.DeadQuery{})
		if err != nil || len(letters) != 3 {
			t.Errorf("%d dead letters, %v; want the newest 3", len(letters), err)
		}
		if cut := gathered(t, metrics, "regcast_engine_dead_letters_cut_total"); cut != 100 {
			t.Errorf("%v counted as cut, want 100", cut)
		}
		if infos, err := j.DeadCount(ctx, "c"); err != nil || infos[sinks.DeadRejected] != 3 {
			t.Errorf("counted %v, %v", infos, err)
		}
	})
}

// bury stores count events, numbered from first, and has the cursor "c" give up on them.
func bury(t *testing.T, j *journal.Journal, first, count int) (sequences []uint64) {
	t.Helper()
	c := cursorOf(t, j, "c", nil)
	if err := j.Write(context.Background(), notificationstest.Pushes(first, count, "team/a", "team/b")); err != nil {
		t.Fatal(err)
	}
	for _, d := range cursorRest(t, c, count) {
		sequences = append(sequences, d.Sequence)
		err := c.Settle(sinks.Settlement{Sequence: d.Sequence, Outcome: sinks.DeadLettered, Dead: &sinks.DeadLetter{Reason: sinks.DeadRejected, Event: d.Event}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return sequences
}

// gathered returns the value of a counter.
func gathered(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
