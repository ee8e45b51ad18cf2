package journal_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// TestDeadCount: what is settled as dead is counted at once, without a commit, and only
// once when it is in the file; dropping, another start and a forgotten cursor are followed.
func TestDeadCount(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		registry := prometheus.NewPedanticRegistry()
		j := mustOpen(t, dir, &journal.Options{Registerer: registry})
		c := cursorOf(t, j, "c", nil)
		if err := j.Write(ctx, notificationstest.Pushes(0, 3, "team/a")); err != nil {
			t.Fatal(err)
		}
		expect := func(when string, want map[sinks.DeadReason]uint64) {
			t.Helper()
			before := commits(t, registry)
			got, err := j.DeadCount(ctx, "c")
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
			if n := commits(t, registry) - before; n != 0 {
				t.Errorf("%s: counting took %d commits", when, n)
			}
		}
		expect("none", map[sinks.DeadReason]uint64{})
		ds := cursorRest(t, c, 3)
		for i, reason := range []sinks.DeadReason{sinks.DeadRejected, sinks.DeadRejected, sinks.DeadExpired} {
			end := sinks.Settlement{Sequence: ds[i].Sequence, Outcome: sinks.DeadLettered, Dead: &sinks.DeadLetter{Reason: reason}}
			if err := c.Settle(end); err != nil {
				t.Fatal(err)
			}
		}
		all := map[sinks.DeadReason]uint64{sinks.DeadRejected: 2, sinks.DeadExpired: 1}
		expect("settled", all)
		time.Sleep(time.Second)
		expect("committed", all)
		if n, err := j.DropDead(ctx, 1); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		left := map[sinks.DeadReason]uint64{sinks.DeadRejected: 1, sinks.DeadExpired: 1}
		expect("one dropped", left)
		mustShutdown(t, j)
		registry = prometheus.NewPedanticRegistry()
		j = mustOpen(t, dir, &journal.Options{Registerer: registry})
		defer func() { mustShutdown(t, j) }()
		expect("opened again", left)
		if err := j.DeleteCursor(ctx, "c"); err != nil {
			t.Fatal(err)
		}
		expect("without its cursor", left)
	})
}

// commits returns how many commits there were.
func commits(t *testing.T, registry *prometheus.Registry) (n uint64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "regcast_engine_commit_seconds" {
			n = f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	return n
}
