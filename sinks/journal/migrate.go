package journal

import (
	"context"
	_ "embed" // schema.sql and those after it
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/regcast/regcast/sinks"
)

//go:embed schema.sql
var schema string

//go:embed schema2.sql
var schema2 string

// schemaVersion is the version of the format that this package writes: the number of
// entries of migrations.
const schemaVersion = 2

// migrations lead from each version of the format to the next: entry i from i to i+1.
// A new file goes through all of them.
func migrations() [schemaVersion]string { return [...]string{schema, schema2} }

var (
	// ErrNewer says that a later version of regcast wrote the journal.
	ErrNewer = errors.New("journal of a newer version")
	// ErrCorrupt says that the journal's file is damaged, or not a journal.
	ErrCorrupt = errors.New("journal is damaged")
)

// errDamaged marks what this package finds wrong with the file, beside what SQLite does.
var errDamaged = errors.New("unexpected content")

// damaged makes an ErrCorrupt, with what to do about it, of an error that comes of a
// damaged file, and leaves others alone.
func damaged(dir string, err error) error {
	switch code(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
	default:
		if !errors.Is(err, errDamaged) || errors.Is(err, ErrCorrupt) {
			return err
		}
	}
	return fmt.Errorf("%w: %w; stop regcast, see what is left with: regcast journal verify %s, and restore the last backup of %s", ErrCorrupt, err, dir, dbFile)
}

// openDB opens the writing connection. Even that needs some room on the disk.
func (j *Journal) openDB() (*conn, error) {
	file := filepath.Join(j.dir, dbFile)
	db, err := openDB(file, j.opts.MaxPages)
	switch code(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		if j.disk.drop() {
			return openDB(file, j.opts.MaxPages)
		}
	}
	return db, err
}

// openDB opens file for writing and brings it to the present version.
func openDB(file string, maxPages int) (*conn, error) {
	if err := ownersOnly(file); err != nil {
		return nil, err
	}
	db, err := dial(file, writing,
		"page_size(4096)", "auto_vacuum(2)", // before there is anything in the file
		"journal_mode(wal)", "synchronous(full)", "wal_autocheckpoint(0)",
		"journal_size_limit(67108864)", "cache_size(-8192)", "temp_store(memory)")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(migrate(db), limitPages(db, maxPages)); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return db, nil
}

// ownersOnly makes sure that file is there and that nobody but its owner may read it. SQLite
// gives new files beside it the same mode; those that are there may come from elsewhere.
func ownersOnly(file string) error {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		st, err := os.Stat(file + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil && st.Mode().Perm()&0o077 != 0 {
			err = os.Chmod(file+suffix, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func limitPages(db *conn, n int) error {
	if n <= 0 {
		return nil
	}
	return db.script(context.Background(), fmt.Sprintf("PRAGMA max_page_count(%d)", n))
}

// version returns the format's version of db, 0 for a new file.
func version(db *conn) (int, error) {
	r, _, err := db.get("PRAGMA user_version")
	if err != nil {
		return 0, err
	}
	v := int(r.int(0))
	if v > schemaVersion {
		return 0, fmt.Errorf("%w: its format is %d, this regcast knows up to %d; use the regcast that wrote it, or a later one", ErrNewer, v, schemaVersion)
	}
	return v, nil
}

func migrate(db *conn) error {
	v, err := version(db)
	if err != nil || v == schemaVersion {
		return err
	}
	return db.transact(func() error {
		for ; v < schemaVersion; v++ {
			if err := db.script(context.Background(), migrations()[v]); err != nil {
				return fmt.Errorf("migrate to format %d: %w", v+1, err)
			}
		}
		return db.script(context.Background(), fmt.Sprintf("PRAGMA user_version = %d", schemaVersion))
	})
}

// restore finds the appender's place in the file.
func (a *appender) restore() error {
	r, ok, err := a.db.get("SELECT last, bytes, hash FROM trimmed")
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: no row in trimmed", errDamaged)
	}
	a.trimmed = mark{last: r.uint(0), bytes: r.int(1), hash: r.blob(2)}
	a.head.next, a.head.bytes, a.head.hash = a.trimmed.last+1, a.trimmed.bytes, a.trimmed.hash
	r, ok, err = a.db.get("SELECT last, bytes, hash, stored FROM chunk ORDER BY first DESC LIMIT 1")
	if err != nil {
		return err
	}
	if ok {
		a.head.next, a.head.bytes, a.head.hash, a.lastAt = r.uint(0)+1, r.int(1), r.blob(2), r.int(3)
	}
	if r, ok, err = a.db.get("SELECT bytes FROM attempt ORDER BY id DESC LIMIT 1"); err != nil {
		return err
	}
	if ok {
		a.j.history.total = r.int(0)
	}
	a.j.oldest.Store(a.trimmed.last + 1)
	a.j.newest.Store(a.next - 1)
	if r, ok, err = a.db.get("SELECT last FROM indexed"); err != nil {
		return err
	}
	if ok {
		a.j.indexed.Store(r.uint(0))
	}
	if err := a.countDead(); err != nil {
		return fmt.Errorf("count dead letters: %w", err)
	}
	return a.restoreRepeats()
}

// restoreRepeats rebuilds the window of repeats from the prints of the newest chunks. It
// reads no more than the window holds, and none of the bodies: they are stored behind.
func (a *appender) restoreRepeats() error {
	type column struct {
		at     int64
		prints []byte
	}
	var newest []column
	events := 0
	since := time.Now().Add(-sinks.RepeatsAge).UnixMicro()
	err := a.db.query(context.Background(), func(r row) error {
		if r.int(0) < since || events >= sinks.RepeatsMax {
			return errStop
		}
		newest = append(newest, column{r.int(0), r.blob(1)})
		events += len(r.blob(1)) / printBytes
		return nil
	}, "SELECT stored, prints FROM chunk ORDER BY first DESC")
	if err != nil {
		return fmt.Errorf("rebuild the window of repeats: %w", err)
	}
	for _, k := range slices.Backward(newest) {
		list, err := prints(k.prints)
		if err != nil {
			return fmt.Errorf("%w: prints: %w", errDamaged, err)
		}
		for _, p := range list {
			a.repeats.Add(p.key(a.repeats), time.UnixMicro(k.at))
		}
	}
	return nil
}
