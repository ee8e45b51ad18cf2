package journal_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// logged keeps what is logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func infoOf(t *testing.T, j *journal.Journal, name string) sinks.CursorInfo {
	t.Helper()
	infos, err := j.CursorInfos(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Name == name {
			return info
		}
	}
	t.Fatalf("no cursor %s", name)
	return sinks.CursorInfo{}
}

func cursorOf(t *testing.T, j *journal.Journal, name string, opts *sinks.CursorOptions) sinks.Cursor {
	t.Helper()
	c, err := j.Cursor(context.Background(), name, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func oldest(t *testing.T, j *journal.Journal) (sequence uint64) {
	t.Helper()
	c := cursorOf(t, j, "oldest", &sinks.CursorOptions{From: sinks.Oldest()})
	sequence = infoOf(t, j, "oldest").LowWater + 1
	if err := errors.Join(c.Close(), j.DeleteCursor(context.Background(), "oldest")); err != nil {
		t.Fatal(err)
	}
	return sequence
}

// TestRetentionAge: what is settled is kept for retention_age, what is not is kept.
func TestRetentionAge(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		j := mustOpen(t, dir, &journal.Options{RetentionAge: time.Minute})
		defer mustShutdown(t, j)
		c := cursorOf(t, j, "c", nil)
		for n := range 10 {
			if err := j.Write(ctx, notificationstest.Pushes(n, 1, "team/a")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		if got := oldest(t, j); got != 1 {
			t.Errorf("unsettled events went by age: the oldest is %d", got)
		}
		settleAll(t, c, 8)
		time.Sleep(5 * time.Second)
		// 105 seconds have passed; what was stored in the first 45 is more than a minute old.
		if got := oldest(t, j); got < 4 || got > 6 {
			t.Errorf("the oldest event is %d, want about 5", got)
		}
		time.Sleep(3 * time.Minute)
		if got := oldest(t, j); got != 9 {
			t.Errorf("the oldest event is %d, want 9, which is not settled", got)
		}
		if d, err := j.Event(ctx, notificationstest.Pushes(3, 1, "team/a")[0].ID); !errors.Is(err, sinks.ErrNotFound) {
			t.Errorf("event 3 is still found: %v, %v", d, err)
		}
	})
	report, err := journal.Verify(context.Background(), dir)
	if err != nil || !report.OK() || report.First != 9 || report.Trimmed != 8 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestEviction: at retention_bytes the oldest unsettled events go, with a record for each
// cursor, a counter and an error in the log; bounds hold, and the journal stays whole.
func TestEviction(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	var log logged
	registry := prometheus.NewPedanticRegistry()
	j := mustOpen(t, dir, &journal.Options{RetentionBytes: 64 << 10, Logger: log.logger(), Registerer: registry})
	slow, fast := cursorOf(t, j, "slow", nil), cursorOf(t, j, "fast", nil)
	held := make([]sinks.Delivery, 3)
	const stored = 600
	for n := range stored {
		if err := j.Write(ctx, notificationstest.Pushes(n, 1, "team/a")); err != nil {
			t.Fatal(err)
		}
		settleAll(t, fast, 1)
		if n == 10 {
			if k, err := slow.Claim(ctx, held); k != 3 || err != nil {
				t.Fatal(k, err)
			}
			if err := slow.Settle(sinks.Settlement{Sequence: 2}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Loans of what was evicted are over.
	if err := slow.Settle(sinks.Settlement{Sequence: 1}); err != nil {
		t.Error(err)
	}
	info := infoOf(t, j, "slow")
	if info.Totals[sinks.Delivered] != 1 || info.Totals[sinks.Evicted] == 0 || info.Totals[sinks.Evicted]+1+info.Pending != stored {
		t.Errorf("%+v", info)
	}
	if info := infoOf(t, j, "fast"); info.Totals[sinks.Evicted] != 0 || info.Totals[sinks.Delivered] != stored {
		t.Errorf("%+v", info)
	}
	dead, err := j.DeadLetters(ctx, sinks.DeadQuery{})
	if err != nil || len(dead) != 1 || dead[0].Reason != sinks.DeadEvicted || dead[0].Cursor != "slow" ||
		dead[0].Sequence != 1 || dead[0].Count != info.Totals[sinks.Evicted] || dead[0].Last != dead[0].Count+1 {
		t.Errorf("%+v, %v", dead, err)
	}
	rest := cursorRest(t, slow, int(info.Pending))
	if rest[0].Sequence != dead[0].Last+1 || rest[len(rest)-1].Sequence != stored {
		t.Errorf("left are %d to %d", rest[0].Sequence, rest[len(rest)-1].Sequence)
	}
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "cursor=slow") {
		t.Errorf("logged:\n%s", log.String())
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	metrics := make(map[string]float64)
	for _, f := range families {
		m := f.GetMetric()[0]
		metrics[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	if got := metrics["regcast_engine_evicted_events_total"]; got != float64(info.Totals[sinks.Evicted]) {
		t.Errorf("counted %v evicted, want %d", got, info.Totals[sinks.Evicted])
	}
	for _, name := range []string{"regcast_engine_commit_seconds", "regcast_engine_bytes", "regcast_engine_disk_free_bytes"} {
		if metrics[name] <= 0 {
			t.Errorf("%s is %v", name, metrics[name])
		}
	}
	mustShutdown(t, j)
	report, err := journal.Verify(ctx, dir)
	if err != nil || !report.OK() || report.Trimmed != dead[0].Last {
		t.Errorf("%+v, %v", report, err)
	}
}

func cursorRest(t *testing.T, c sinks.Cursor, count int) (all []sinks.Delivery) {
	t.Helper()
	for len(all) < count {
		into := make([]sinks.Delivery, count-len(all))
		n, err := c.Claim(context.Background(), into)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, into[:n]...)
	}
	return all
}

// TestNoEviction: required cursors, or on_full = "refuse", make the journal refuse events
// instead, and it takes them again when the cursor has gone on.
func TestNoEviction(t *testing.T) {
	for name, opts := range map[string]struct {
		onFull   journal.OnFull
		required bool
	}{
		"required": {journal.Evict, true},
		"refuse":   {journal.Refuse, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			dir := t.TempDir()
			o := &journal.Options{RetentionBytes: 64 << 10, OnFull: opts.onFull}
			j := mustOpen(t, dir, o)
			if err := cursorOf(t, j, "c", &sinks.CursorOptions{Required: opts.required}).Close(); err != nil {
				t.Fatal(err)
			}
			mustShutdown(t, j)
			j = mustOpen(t, dir, o) // it is remembered, and nobody need hold the cursor
			defer func() { mustShutdown(t, j) }()
			taken := fillUp(t, j, 0)
			c := cursorOf(t, j, "c", &sinks.CursorOptions{Required: opts.required})
			mustBeFull(t, j)
			settleAll(t, c, taken)
			if err := j.Write(ctx, notificationstest.Pushes(taken, 20, "team/a")); err != nil {
				t.Error(err)
			}
			if info := infoOf(t, j, "c"); info.Totals[sinks.Evicted] != 0 || info.Pending != 20 {
				t.Errorf("%+v", info)
			}
		})
	}
}

// TestBounds: dead letters and quarantine are bounded in bytes, the oldest go.
func TestBounds(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var log logged
	j := mustOpen(t, t.TempDir(), &journal.Options{DeadBytes: 20 << 10, QuarantineBytes: 20 << 10, Logger: log.logger()})
	defer mustShutdown(t, j)
	c := cursorOf(t, j, "c", nil)
	const count = 200
	if err := j.Write(ctx, notificationstest.Pushes(0, count, "team/a")); err != nil {
		t.Fatal(err)
	}
	for _, d := range cursorRest(t, c, count) {
		end := sinks.Settlement{Sequence: d.Sequence, Outcome: sinks.DeadLettered, Dead: &sinks.DeadLetter{Reason: sinks.DeadRejected}}
		if err := c.Settle(end); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Record(ctx, nil, []notifications.Quarantined{{Reason: notifications.ReasonSyntax, Body: make([]byte, 500)}}); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := j.DeadLetters(ctx, sinks.DeadQuery{})
	if err != nil || len(dead) == 0 || len(dead) > 60 || dead[len(dead)-1].Sequence != count {
		t.Errorf("%d dead letters, %v", len(dead), err)
	}
	for _, d := range dead {
		if d.Event == nil || d.Event.ID != notificationstest.Pushes(int(d.Sequence-1), 1, "team/a")[0].ID {
			t.Errorf("dead letter %d does not have its event", d.ID)
		}
	}
	bad, err := j.Quarantined(ctx, 0, 0)
	if err != nil || len(bad) == 0 || len(bad) > 30 || bad[len(bad)-1].ID != count {
		t.Errorf("%d quarantined, %v", len(bad), err)
	}
	if info := infoOf(t, j, "c"); info.Totals[sinks.DeadLettered] != count {
		t.Errorf("%+v", info)
	}
	for _, table := range []string{"table=dead", "table=quarantine"} {
		if !strings.Contains(log.String(), table) {
			t.Errorf("nothing logged of %s", table)
		}
	}
}

// TestSettledWithin100ms: a copy of the files taken 100 ms after Settle has what was
// settled, and its dead letter.
func TestSettledWithin100ms(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, dir, nil)
		defer mustShutdown(t, j)
		c := cursorOf(t, j, "c", nil)
		if err := j.Write(context.Background(), notificationstest.Pushes(0, 3, "team/a")); err != nil {
			t.Fatal(err)
		}
		ds := cursorRest(t, c, 3)
		if err := c.Settle(
			sinks.Settlement{Sequence: ds[0].Sequence},
			sinks.Settlement{Sequence: ds[1].Sequence, Outcome: sinks.DeadLettered, Dead: &sinks.DeadLetter{Reason: sinks.DeadRejected}},
		); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		for _, suffix := range []string{"", "-wal"} {
			b, err := os.ReadFile(dbFile(dir) + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dbFile(copied)+suffix, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	j := mustOpen(t, copied, nil)
	defer mustShutdown(t, j)
	if info := infoOf(t, j, "c"); info.LowWater != 2 || info.Totals[sinks.DeadLettered] != 1 {
		t.Errorf("%+v", info)
	}
	if dead, err := j.DeadLetters(context.Background(), sinks.DeadQuery{}); err != nil || len(dead) != 1 {
		t.Errorf("%v, %v", dead, err)
	}
}

// TestFileShrinks: pages of deleted events are given back.
func TestFileShrinks(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { // for its clock, which the next one has again
		j := mustOpen(t, dir, nil)
		for n := 0; n < 10_000; n += 1000 {
			if err := j.Write(ctx, notificationstest.Pushes(n, 1000, "team/a")); err != nil {
				t.Fatal(err)
			}
		}
		mustShutdown(t, j)
	})
	before, err := os.Stat(dbFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, dir, &journal.Options{RetentionAge: time.Millisecond})
		time.Sleep(5 * time.Second)
		mustShutdown(t, j)
	})
	after, err := os.Stat(dbFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	if after.Size() > before.Size()/2 {
		t.Errorf("%d bytes, %d before", after.Size(), before.Size())
	}
	report, err := journal.Verify(ctx, dir)
	if err != nil || !report.OK() || report.Last != 10_000 {
		t.Errorf("%+v, %v", report, err)
	}
}
