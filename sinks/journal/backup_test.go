package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

const backupDir = "JOURNAL_BACKUP_DIR" // makes this test binary the process that backs up

// TestBackup copies a journal that is written to, from another process, and restores the
// copy.
func TestBackup(t *testing.T) {
	if dir := os.Getenv(backupDir); dir != "" {
		if err := journal.Backup(context.Background(), dir, os.Getenv("JOURNAL_BACKUP_FILE")); err != nil {
			t.Fatal(err)
		}
		return
	}
	ctx := context.Background()
	dir := t.TempDir()
	j := mustOpen(t, dir, nil)
	c, err := j.Cursor(ctx, "c", nil)
	if err != nil {
		t.Fatal(err)
	}
	var acked atomic.Int64
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		into := make([]sinks.Delivery, 8)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := j.Write(ctx, notificationstest.Pushes(n, 1, "team/a")); err != nil {
				t.Error(err)
				return
			}
			acked.Store(int64(n + 1))
			k, err := c.Claim(ctx, into)
			if err != nil {
				t.Error(err)
				return
			}
			for _, d := range into[:k] {
				if err := c.Settle(sinks.Settlement{Sequence: d.Sequence}); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for acked.Load() < 200 {
		<-time.After(time.Millisecond) // polls: nobody says when
	}
	before := acked.Load()
	file := filepath.Join(t.TempDir(), "copy.db")
	cmd := exec.Command(os.Args[0], "-test.run=^TestBackup$")
	cmd.Env = append(os.Environ(), backupDir+"="+dir, "JOURNAL_BACKUP_FILE="+file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	close(stop)
	<-ended
	mustShutdown(t, j)
	if err := journal.Backup(ctx, dir, file); !errors.Is(err, os.ErrExist) {
		t.Errorf("Backup over a file = %v, want %v", err, os.ErrExist)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}

	restored := t.TempDir()
	if err := os.Rename(file, dbFile(restored)); err != nil {
		t.Fatal(err)
	}
	report, err := journal.Verify(ctx, restored)
	if err != nil || !report.OK() || int64(report.Events) < before || int64(report.Events) > acked.Load() {
		t.Errorf("%+v, %v; want from %d to %d events", report, err, before, acked.Load())
	}
	j = mustOpen(t, restored, nil)
	defer mustShutdown(t, j)
	if err := j.Write(ctx, notificationstest.Pushes(1_000_000, 1, "team/a")); err != nil {
		t.Error(err)
	}
	rest := drain(t, j, "c", &sinks.CursorOptions{To: report.Last + 1})
	if len(rest) == 0 || rest[len(rest)-1].Sequence != report.Last+1 {
		t.Errorf("%d events left for the cursor", len(rest))
	}
}

func TestExport(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	j := mustOpen(t, dir, nil)
	defer mustShutdown(t, j)
	var want bytes.Buffer
	for n := 0; n < 3; n++ {
		batch := notificationstest.Pushes(n*10, 10, "team/a", "team/b")
		for _, e := range batch {
			fmt.Fprintf(&want, "%s\n", e.AppendJSON(nil))
		}
		if err := j.Write(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	var got bytes.Buffer
	if err := journal.Export(ctx, dir, &got); err != nil { // of one in use
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("%d bytes, want %d", got.Len(), want.Len())
	}
	if err := journal.Export(ctx, dir, brokenPipe{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Export to a closed pipe = %v", err)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if err := journal.Export(ended, dir, &got); !errors.Is(err, context.Canceled) {
		t.Errorf("Export with an ended context = %v", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestNoJournalThere(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	_, verifyErr := journal.Verify(ctx, dir)
	for what, err := range map[string]error{
		"Backup": journal.Backup(ctx, dir, filepath.Join(dir, "copy")),
		"Export": journal.Export(ctx, dir, &bytes.Buffer{}),
		"Verify": verifyErr,
	} {
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "no journal in "+dir) {
			t.Errorf("%s = %v", what, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v were left", left, err)
	}
}
