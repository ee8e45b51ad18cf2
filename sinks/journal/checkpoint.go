package journal

import (
	"fmt"
	"path/filepath"
	"time"
)

const (
	checkpointLook  = 100 * time.Millisecond
	checkpointBytes = 16 << 20        // of WAL from which on it is written back
	checkpointIdle  = 5 * time.Second // without a commit, after which any WAL is
	checkpointLimit = 64 << 20        // of WAL from which on the appender lends a hand
	pageBytes       = 4096
)

// checkpoint writes the WAL back into the file, on a connection of its own, so that no
// commit waits for it. SQLite begins the WAL anew when a commit finds all of it written
// back; under a load that never pauses there is always a little left, and once the WAL
// is large the appender writes that little back itself, between two commits.
func (j *Journal) checkpoint() {
	ticker := time.NewTicker(checkpointLook)
	defer ticker.Stop()
	db, err := dial(filepath.Join(j.dir, dbFile), checking, "synchronous(full)", "wal_autocheckpoint(0)")
	if err != nil {
		j.log.Error("no checkpoints", "error", damaged(j.dir, err))
		return
	}
	defer func() {
		if err := db.close(); err != nil {
			j.log.Warn("close checkpoint connection", "error", err)
		}
	}()
	var done, seen int64 // WAL bytes written by commits: at the last checkpoint, at the last look
	changed := time.Now()
	for {
		select {
		case <-j.stopping:
			return
		case now := <-ticker.C:
			written := j.written.Load()
			if written != seen {
				seen, changed = written, now
			}
			if written == done || written-done < checkpointBytes && now.Sub(changed) < checkpointIdle {
				continue
			}
			if err := j.writeBack(db); err != nil {
				j.log.Error("checkpoint", "error", damaged(j.dir, err))
			}
			done = written
		}
	}
}

func (j *Journal) writeBack(db *conn) error {
	left, total, err := passive(db)
	if err != nil || left == 0 || total*pageBytes < checkpointLimit {
		return err
	}
	if left, _, err = passive(db); err != nil || left == 0 {
		return err
	}
	return j.outside(func() error {
		_, _, err := passive(j.writer.db)
		return err
	})
}

// passive writes back what it can without waiting for anybody, and returns how many of
// the WAL's pages are left to be.
func passive(db *conn) (left, total int64, err error) {
	r, ok, err := db.get("PRAGMA wal_checkpoint(PASSIVE)")
	if err == nil && !ok {
		err = fmt.Errorf("checkpoint: no answer")
	}
	if err != nil {
		return 0, 0, err
	}
	return r.int(1) - r.int(2), r.int(1), nil
}
