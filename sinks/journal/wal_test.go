package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// A moment is what was acknowledged when the WAL had that many bytes.
type moment struct {
	wal    int64
	events uint64 // stored
	low    uint64 // settled by cursor c
	dead   int    // dead letters
}

// recorded makes a journal of small commits, and returns its files as a crash would leave
// them and what was acknowledged when.
func recorded(t *testing.T) (db, wal []byte, moments []moment) {
	t.Helper()
	dir := t.TempDir()
	smallPages(t, filepath.Join(dir, dbFile))
	j, err := Open(dir, &Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	j.indexed.Store(math.MaxUint64) // or there would be commits that nobody has asked for, on a slow disk
	ctx := context.Background()
	c, err := j.Cursor(ctx, "c", nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, dbFile)
	note := func(m moment) {
		st, err := os.Stat(file + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		m.wal = st.Size()
		moments = append(moments, m)
	}
	m := moment{}
	note(m)
	into := make([]sinks.Delivery, 1)
	for n := range 4 {
		e := &notifications.Event{ID: fmt.Sprint("id-", n), Action: "push", Repository: "team/app"}
		if err := j.Write(ctx, []*notifications.Event{e}); err != nil {
			t.Fatal(err)
		}
		m.events++
		note(m)
		if n == 3 {
			break
		}
		if _, err := c.Claim(ctx, into); err != nil {
			t.Fatal(err)
		}
		end := sinks.Settlement{Sequence: into[0].Sequence}
		if n == 1 {
			end.Outcome, end.Dead = sinks.DeadLettered, &sinks.DeadLetter{Reason: sinks.DeadRejected, Event: into[0].Event}
			m.dead++
		}
		if err := c.Settle(end); err != nil {
			t.Fatal(err)
		}
		if err := j.writer.flush(ctx); err != nil {
			t.Fatal(err)
		}
		m.low++
		note(m)
	}
	if wal, err = os.ReadFile(file + "-wal"); err != nil {
		t.Fatal(err)
	}
	if db, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	if err := j.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	return db, wal, moments
}

// smallPages makes the file with the smallest pages there are, for commits of few bytes.
func smallPages(t *testing.T, file string) {
	t.Helper()
	db, err := dial(file, writing, "page_size(512)", "auto_vacuum(2)", "journal_mode(wal)")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(migrate(db), db.close()); err != nil {
		t.Fatal(err)
	}
}

// TestCutWAL cuts the WAL at every byte of the last commit, and at every 251st before, as a
// power failure may: whatever was acknowledged by then is there, whole, in order.
func TestCutWAL(t *testing.T) {
	t.Parallel()
	db, wal, moments := recorded(t)
	if got, want := int64(len(wal)), moments[len(moments)-1].wal; got != want {
		t.Fatalf("the WAL has %d bytes, and had %d after the last acknowledgement", got, want)
	}
	dense := moments[len(moments)-2].wal // the last commit
	dir := t.TempDir()
	file := filepath.Join(dir, dbFile)
	if err := os.WriteFile(file, db, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+"-wal", wal, 0o600); err != nil {
		t.Fatal(err)
	}
	cuts := 0
	var last moment
	for cut := int64(len(wal)); cut >= moments[0].wal; {
		if err := os.Truncate(file+"-wal", cut); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(file + "-shm"); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		last = checkCut(t, dir, cut, moments, last)
		if t.Failed() {
			return
		}
		cuts++
		if cut > dense {
			cut--
		} else {
			cut -= 251
		}
	}
	t.Logf("%d cuts of %d bytes, %v", cuts, len(wal), moments)
}

func acknowledged(cut int64, moments []moment) (m moment) {
	for _, k := range moments {
		if k.wal <= cut {
			m = k
		}
	}
	return m
}

// checkCut looks at a cut copy without changing it, and returns what it has.
func checkCut(t *testing.T, dir string, cut int64, moments []moment, before moment) moment {
	t.Helper()
	db, err := dial(filepath.Join(dir, dbFile), reading)
	if err != nil {
		t.Fatalf("cut at %d: %v", cut, err)
	}
	defer func() {
		if err := db.close(); err != nil {
			t.Error(err)
		}
	}()
	r, _, err := db.get("SELECT (SELECT max(last) FROM chunk), low, dead FROM cursor")
	if err != nil {
		t.Fatalf("cut at %d: %v", cut, err)
	}
	want := acknowledged(cut, moments)
	got := moment{wal: want.wal, events: r.uint(0), low: r.uint(1), dead: int(r.int(2))}
	if got != want {
		t.Fatalf("cut at %d: %+v, want %+v", cut, got, want)
	}
	if got == before {
		return got
	}
	var report Report
	for _, check := range []func(context.Context, *conn, *Report) error{verifyFile, verifyChain, verifyCursors, verifyTallies} {
		if err := check(context.Background(), db, &report); err != nil {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	if !report.OK() || report.Events != got.events || report.DeadCount != uint64(got.dead) {
		t.Errorf("cut at %d: %+v, want %+v", cut, report, got)
	}
	return got
}

// TestOpenCut opens copies whose WAL was cut around the end of every page, and one in
// which what was not synced is garbage, and goes on with them.
func TestOpenCut(t *testing.T) {
	t.Parallel()
	db, wal, moments := recorded(t)
	const frame = 24 + 512
	check := func(cut int64, wal []byte) {
		dir := t.TempDir()
		file := filepath.Join(dir, dbFile)
		if err := os.WriteFile(file, db, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file+"-wal", wal, 0o600); err != nil {
			t.Fatal(err)
		}
		goOn(t, dir, acknowledged(cut, moments))
	}
	for end := moments[0].wal; end <= int64(len(wal)); end += frame {
		for _, cut := range []int64{end - 1, end, end + 1, end + frame/2} {
			if cut >= moments[0].wal && cut <= int64(len(wal)) {
				check(cut, wal[:cut])
			}
		}
		garbage := append([]byte(nil), wal...)
		for i := end; i < int64(len(garbage)); i += 7 {
			garbage[i] ^= 0x5a
		}
		check(end, garbage)
	}
}

// goOn opens a journal that a crash has left, and checks that it has what was
// acknowledged, delivers the rest in order and takes more.
func goOn(t *testing.T, dir string, want moment) {
	t.Helper()
	ctx := context.Background()
	j, err := Open(dir, &Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}()
	c, err := j.Cursor(ctx, "c", nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &notifications.Event{ID: "more", Action: "push", Repository: "team/app"}
	if err := j.Write(ctx, []*notifications.Event{e}); err != nil {
		t.Fatal(err)
	}
	into := make([]sinks.Delivery, 1)
	for next := want.low + 1; next <= want.events+1; next++ {
		if _, err := c.Claim(ctx, into); err != nil {
			t.Fatal(err)
		}
		if into[0].Sequence != next {
			t.Fatalf("claimed event %d, want %d", into[0].Sequence, next)
		}
	}
	if into[0].Event.ID != "more" {
		t.Errorf("the last event is %s, want the new one", into[0].Event.ID)
	}
}
