package journal_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // to look at the file as an operator would

	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

func dbFile(dir string) string { return filepath.Join(dir, "regcast.db") }

// sqlExec changes a journal's file behind its back.
func sqlExec(t *testing.T, dir, query string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", dbFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// filled makes a journal with count events and shuts it down.
func filled(t *testing.T, count int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	j := mustOpen(t, dir, nil)
	for n := 0; n < count; n += 10 {
		if err := j.Write(context.Background(), notificationstest.Pushes(n, min(10, count-n), "team/a", "team/b")); err != nil {
			t.Fatal(err)
		}
	}
	mustShutdown(t, j)
	return dir
}

// mustRefuse checks that Open refuses dir, and that its error says what to do.
func mustRefuse(t *testing.T, dir string, want error, advice string) {
	t.Helper()
	j, err := journal.Open(dir, &journal.Options{Logger: quiet})
	if err == nil {
		mustShutdown(t, j)
	}
	if !errors.Is(err, want) {
		t.Fatalf("Open = %v, want %v", err, want)
	}
	if !strings.Contains(err.Error(), advice) {
		t.Errorf("%q does not say %q", err, advice)
	}
}

func TestOpenRefusesAJournalInUse(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, nil)
	mustRefuse(t, dir, journal.ErrLocked, "stop that process first")
	if _, err := journal.Verify(context.Background(), dir); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("Verify = %v, want %v", err, journal.ErrLocked)
	}
	mustShutdown(t, j)
	mustShutdown(t, mustOpen(t, dir, nil))
}

func TestOpenRefusesANewerFormat(t *testing.T) {
	dir := filled(t, 1)
	sqlExec(t, dir, "PRAGMA user_version = 99")
	mustRefuse(t, dir, journal.ErrNewer, "use the regcast that wrote it, or a later one")
	if err := journal.Export(context.Background(), dir, &strings.Builder{}); !errors.Is(err, journal.ErrNewer) {
		t.Errorf("Export = %v, want %v", err, journal.ErrNewer)
	}
	sqlExec(t, dir, "PRAGMA user_version = 2")
	mustShutdown(t, mustOpen(t, dir, nil)) // it was left alone
}

func TestOpenRefusesADamagedFile(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, file []byte){
		"not a database": func(_ *testing.T, file []byte) { copy(file, "a text file that someone put here") },
		"schema page":    func(_ *testing.T, file []byte) { clear(file[100:4096]) },
		"all other pages": func(_ *testing.T, file []byte) {
			for i := 4096; i < len(file); i++ {
				file[i] = 0xa5
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t, 100)
			file, err := os.ReadFile(dbFile(dir))
			if err != nil {
				t.Fatal(err)
			}
			damage(t, file)
			if err := os.WriteFile(dbFile(dir), file, 0o600); err != nil {
				t.Fatal(err)
			}
			mustRefuse(t, dir, journal.ErrCorrupt, "restore the last backup")
		})
	}
}

// A page that is damaged is found when it is read, or by Verify.
func TestDamagedPage(t *testing.T) {
	dir := filled(t, 1000)
	file, err := os.ReadFile(dbFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(file), notificationstest.Pushes(508, 1, "team/a", "team/b")[0].ID)
	if at < 0 {
		t.Fatal("event 508 is not in the file")
	}
	page := at &^ 4095
	for i := page; i < page+4096; i++ {
		file[i] ^= 0x5a
	}
	if err := os.WriteFile(dbFile(dir), file, 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := journal.Verify(context.Background(), dir)
	if err == nil && report.OK() {
		t.Error("Verify has found nothing")
	}
	if err != nil && !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("Verify = %v, want %v", err, journal.ErrCorrupt)
	}
	j := mustOpen(t, dir, nil)
	defer mustShutdown(t, j)
	c, err := j.Cursor(context.Background(), "c", &sinks.CursorOptions{From: sinks.Oldest()})
	if err != nil {
		t.Fatal(err)
	}
	into := make([]sinks.Delivery, 1000)
	for err == nil {
		_, err = c.Claim(context.Background(), into)
	}
	if !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), "journal verify") {
		t.Errorf("Claim = %v, want %v and what to do", err, journal.ErrCorrupt)
	}
}

func TestVerifyFindsWhatWasChanged(t *testing.T) {
	for name, change := range map[string]string{
		"a body":            "UPDATE chunk SET body = CAST(replace(CAST(body AS TEXT), 'team/a', 'team/z') AS BLOB) WHERE first = 21",
		"a hash":            "UPDATE chunk SET hash = zeroblob(32) WHERE first = 21",
		"a chunk is gone":   "DELETE FROM chunk WHERE first = 21",
		"the first is gone": "DELETE FROM chunk WHERE first = 1",
		"a time":            "UPDATE chunk SET stored = stored + 3600000000 WHERE first = 21",
		"a print":           "UPDATE chunk SET prints = zeroblob(240) WHERE first = 21",
		"a cursor":          "INSERT INTO cursor VALUES (1, 'c', 1, 5000, 0, 0, 5000, 0, 0, 0, 0)",
		"a total":           "INSERT INTO cursor VALUES (1, 'c', 1, 50, 0, 0, 7, 0, 0, 0, 0)",
		"a tally":           "UPDATE quarantine_tally SET count = 7",
		"an index":          "INSERT INTO by_id VALUES (7, 999)",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t, 50)
			report, err := journal.Verify(context.Background(), dir)
			if err != nil || !report.OK() || report.Events != 50 || report.Chunks != 5 {
				t.Fatalf("before: %+v, %v", report, err)
			}
			sqlExec(t, dir, change)
			if report, err = journal.Verify(context.Background(), dir); err != nil || report.OK() {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	j := mustOpen(t, dir, nil)
	defer mustShutdown(t, j)
	if err := j.Write(context.Background(), notificationstest.Pushes(0, 1, "team/a")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 4 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, name := range append([]os.DirEntry{nil}, entries...) {
		path := dir
		if name != nil {
			path = filepath.Join(dir, name.Name())
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, st.Mode())
		}
	}
}

// A file that comes from elsewhere, as a backup that was copied back, is for its owner only
// from then on.
func TestOpenTakesFilesFromOthers(t *testing.T) {
	dir := filled(t, 1)
	if err := os.WriteFile(dbFile(dir)+"-wal", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		if err := os.Chmod(dbFile(dir)+suffix, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mustShutdown(t, mustOpen(t, dir, nil))
	j := mustOpen(t, dir, nil)
	defer mustShutdown(t, j)
	if err := j.Write(context.Background(), notificationstest.Pushes(1, 1, "team/a")); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		st, err := os.Stat(dbFile(dir) + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", dbFile(dir)+suffix, st.Mode())
		}
	}
}

func TestOpenSaysWhatIsWrongWithOptions(t *testing.T) {
	if _, err := journal.Open(t.TempDir(), &journal.Options{OnFull: "explode"}); err == nil || !strings.Contains(err.Error(), "explode") {
		t.Errorf("Open = %v", err)
	}
}
