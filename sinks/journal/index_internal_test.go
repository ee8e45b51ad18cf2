package journal

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/regcast/regcast/notifications/notificationstest"
)

// TestIndexOfTrimmedChunks has retention delete chunks after the indexer has read them and
// before it writes.
func TestIndexOfTrimmedChunks(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { // its clock stands still, so that nothing is indexed by itself
		ctx := context.Background()
		j, err := Open(dir, &Options{RetentionBytes: 64 << 10, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		write := func(from, to int) {
			for n := from; n < to; n++ {
				if err := j.Write(ctx, notificationstest.Pushes(n, 1, "team/a", "team/b")); err != nil {
					t.Fatal(err)
				}
			}
		}
		write(0, 50)
		read, err := j.unindexed(0)
		if err != nil || len(read) != 50 {
			t.Fatalf("%d chunks read, %v", len(read), err)
		}
		write(50, 90)
		if oldest := j.oldest.Load(); oldest < 10 || oldest > 40 {
			t.Fatalf("the oldest event is %d; some of those that were read have to go", oldest)
		}
		if err := j.addEntries(read); err != nil {
			t.Fatal(err)
		}
		last := notificationstest.Pushes(49, 1, "team/a", "team/b")[0]
		if d, err := j.Event(ctx, last.ID); err != nil || d.Sequence != 50 {
			t.Errorf("%+v, %v", d, err)
		}
		if err := j.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
	})
	report, err := Verify(context.Background(), dir)
	if err != nil || !report.OK() {
		t.Errorf("%v, %q", err, report.Problems)
	}
}

// TestCatchUpPauses has events come in while the indexer catches up.
func TestCatchUpPauses(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { // its clock stands still, so that nothing is indexed by itself
		ctx := context.Background()
		j, err := Open(dir, &Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		const batches = 3
		for n := range batches { // each takes a step
			if err := j.Write(ctx, notificationstest.Pushes(n*indexEvents, indexEvents, "team/a")); err != nil {
				t.Fatal(err)
			}
		}
		newest := j.newest.Load()
		if err := j.catchUp(newest - 1); err != nil || j.indexed.Load() != indexEvents {
			t.Errorf("indexed up to %d although there were newer events, %v; want one step, %d", j.indexed.Load(), err, indexEvents)
		}
		if err := j.catchUp(newest); err != nil || j.indexed.Load() != batches*indexEvents {
			t.Errorf("indexed up to %d in a pause, %v; want %d", j.indexed.Load(), err, batches*indexEvents)
		}
		if err := j.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
	})
}
