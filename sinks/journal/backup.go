package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Backup writes a consistent copy of the journal in dir to file, which must not exist.
// The journal may be in use, by this process or another one: the copy is of one moment
// and holds everything acknowledged before Backup was called. To restore, stop regcast
// and put the copy in the place of regcast.db, and remove regcast.db-wal and
// regcast.db-shm.
//
// The copy is written beside file and renamed once it is synced.
func Backup(ctx context.Context, dir, file string) (err error) {
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("back up journal: %w: %s", os.ErrExist, file)
	}
	db, err := peek(dir)
	if err != nil {
		return fmt.Errorf("back up journal: %w", err)
	}
	defer func() { err = errors.Join(err, db.close()) }()
	part := file + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("back up journal: %w", err)
	}
	// The file exists, empty, before SQLite writes to it, so that nobody else may read it.
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("back up journal: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(part) // may be gone already
		}
	}()
	if err := db.script(ctx, "VACUUM INTO ?", part); err != nil {
		return fmt.Errorf("back up journal: %w", damaged(dir, err))
	}
	if err := errors.Join(f.Sync(), os.Rename(part, file), syncDir(filepath.Dir(file))); err != nil {
		return fmt.Errorf("back up journal: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// peek opens the journal in dir for reading, in use or not.
func peek(dir string) (*conn, error) {
	file := filepath.Join(dir, dbFile)
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("no journal in %s: %w", dir, err)
	}
	db, err := dial(file, reading)
	if err != nil {
		return nil, damaged(dir, err)
	}
	v, err := version(db)
	if err == nil && v == 0 {
		err = fmt.Errorf("%w: it is empty", errDamaged)
	}
	if err != nil {
		return nil, errors.Join(damaged(dir, err), db.close())
	}
	return db, nil
}

// Export writes the events of the journal in dir to w, oldest first, one JSON object a
// line. The journal may be in use.
func Export(ctx context.Context, dir string, w io.Writer) (err error) {
	db, err := peek(dir)
	if err != nil {
		return fmt.Errorf("export journal: %w", err)
	}
	defer func() { err = errors.Join(err, db.close()) }()
	out := bufio.NewWriterSize(w, 64<<10)
	// A query for each chunk, so that a slow reader of w does not hold back the journal's
	// checkpoints.
	for after := uint64(0); ; {
		r, ok, err := db.get("SELECT first, last, stored, body FROM chunk WHERE first > ? ORDER BY first LIMIT 1", after)
		if err != nil {
			return fmt.Errorf("export journal: %w", damaged(dir, err))
		}
		if !ok {
			break
		}
		err = scanChunk(r.blob(3), r.int(2), func(e record) error {
			if _, err := out.Write(e.json); err != nil {
				return err
			}
			return out.WriteByte('\n')
		})
		if err = errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("export journal: chunk %d: %w", r.uint(0), err)
		}
		after = r.uint(1)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("export journal: %w", err)
	}
	return nil
}
