package journal_test

import (
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// TestMigrate opens a file of format 1, as the first version of this package left it: ten
// events, of which a cursor "audit" has settled five as delivered and two as dead, and
// parked one; a quarantined body; a state.
func TestMigrate(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	unzip(t, filepath.Join("testdata", "format1.db.gz"), filepath.Join(dir, "regcast.db"))
	if report, err := journal.Verify(ctx, dir); err != nil || !report.OK() || report.Events != 10 {
		t.Fatalf("%+v, %v before it was migrated", report, err)
	}
	// As retention could leave it.
	sqlExec(t, dir, "INSERT INTO by_id VALUES (7, 999); INSERT INTO repository VALUES (99, 'team/gone'); INSERT INTO by_repository VALUES (99, 999)")
	if report, err := journal.Verify(ctx, dir); err != nil || len(report.Problems) != 2 {
		t.Errorf("%v, %q; want entries of chunks that are gone, of two indexes", err, report.Problems)
	}
	j := mustOpen(t, dir, nil)
	info := infoOf(t, j, "audit")
	if info.Pending != 3 || info.Parked != 1 || info.LowWater != 5 || info.Totals[sinks.Delivered] != 5 || info.Totals[sinks.DeadLettered] != 2 {
		t.Errorf("%+v, want 3 of 10 pending", info)
	}
	if v, err := j.State(ctx, "endpoint/audit"); err != nil || string(v) != "ok" {
		t.Errorf("state %q, %v", v, err)
	}
	if bad, err := j.Quarantined(ctx, 0, 0); err != nil || len(bad) != 1 {
		t.Errorf("quarantine %v, %v", bad, err)
	}
	c, err := j.Cursor(ctx, "audit", nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Revive(ctx, sinks.DeadQuery{Sequences: []uint64{3}}); n != 1 || err != nil {
		t.Errorf("revived %d, %v", n, err)
	}
	if err := j.Write(ctx, notificationstest.Pushes(9, 2, "team/b")); err != nil { // one is a repeat if its time has not passed
		t.Fatal(err)
	}
	j.RecordAttempts(sinks.AttemptRecord{Endpoint: "audit", At: time.Now(), Sequences: []uint64{3}, Status: 200})
	mustShutdown(t, j)

	report, err := journal.Verify(ctx, dir)
	if err != nil || !report.OK() || report.DeadCount != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	sqlExec(t, dir, "CREATE TEMP TABLE must_be_2 (v INTEGER CHECK (v = 2)); INSERT INTO must_be_2 SELECT user_version FROM pragma_user_version")
	j = mustOpen(t, dir, nil)
	defer mustShutdown(t, j)
	if info := infoOf(t, j, "audit"); info.LowWater != 2 || info.Totals[sinks.DeadLettered] != 1 {
		t.Errorf("%+v, want event 3 pending", info)
	}
	if list, err := j.Attempts(ctx, sinks.AttemptQuery{Sequence: 3}); err != nil || len(list) != 1 {
		t.Errorf("attempts %+v, %v", list, err)
	}
}

func unzip(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, all, 0o600); err != nil {
		t.Fatal(err)
	}
}
