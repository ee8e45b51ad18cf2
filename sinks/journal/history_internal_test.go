package journal

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/regcast/regcast/sinks"
)

// TestHistoryLeavesCommitsSynced: after attempts were written without a sync, also in
// vain, commits are synced as before.
func TestHistoryLeavesCommitsSynced(t *testing.T) {
	j, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	synchronous := func() (mode int64) {
		t.Helper()
		err := j.outside(func() error {
			r, _, err := j.writer.db.get("PRAGMA synchronous")
			mode = r.int(0)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return mode
	}
	const full, normal = 2, 1
	j.RecordAttempts(sinks.AttemptRecord{Endpoint: "audit", At: time.Now(), Sequences: []uint64{1}})
	if err := j.flushHistory(); err != nil || synchronous() != full {
		t.Errorf("%v, synchronous is %d, want %d", err, synchronous(), full)
	}
	var during int64
	failed := j.outside(func() error {
		return j.writer.unsynced(func() error {
			r, _, err := j.writer.db.get("PRAGMA synchronous")
			if during = r.int(0); err != nil {
				return err
			}
			return context.Canceled
		})
	})
	if failed == nil || during != normal || synchronous() != full {
		t.Errorf("%v, synchronous was %d and is %d, want %d and %d", failed, during, synchronous(), normal, full)
	}
}

func TestPackSequences(t *testing.T) {
	for _, want := range [][]uint64{
		{1}, {1, 2}, {1, 2, 3}, {5, 5000, 5001, 1 << 40}, {0, math.MaxInt64}, {0, 1, math.MaxInt64 - 1, math.MaxInt64},
	} {
		first, last := want[0], want[len(want)-1]
		got, err := unpackSequences(first, last, packSequences(want))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v came back as %v, %v", want, got, err)
		}
	}
	for name, packed := range map[string][]byte{"cut": {0x80}, "past the last": {100}, "at the last": {9}} {
		if got, err := unpackSequences(1, 10, packed); err == nil {
			t.Errorf("%s: read as %v", name, got)
		}
	}
}
