package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// A Report says what [Verify] found.
type Report struct {
	Chunks    int
	Events    uint64
	First     uint64   // first sequence stored; 0 without events
	Last      uint64   // last sequence stored
	Trimmed   uint64   // last sequence that retention has deleted; 0 for none
	Hash      []byte   // of the last chunk: compare it with one noted before to prove that nothing was changed since
	DeadCount uint64   // dead letters
	Problems  []string // what is wrong, at most 100; empty if nothing is
}

// OK tells whether nothing is wrong.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

const maxProblems = 100

func (r *Report) problem(format string, args ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// Verify checks the journal in dir, which must not be in use: SQLite's structures, the
// hash chain, that every event can be read, that sequences have no gap, that what is
// counted beside is right, and that indexes name only what is there. It reads everything and changes nothing.
//
// Errors: ErrLocked; ErrCorrupt if so much is damaged that nothing can be said. What else
// is wrong is in the report.
func Verify(ctx context.Context, dir string) (report Report, err error) {
	db, err := peek(dir)
	if err != nil {
		return report, fmt.Errorf("verify journal: %w", err)
	}
	defer func() { err = errors.Join(err, db.close()) }()
	l, err := lockDir(dir)
	if err != nil {
		return report, fmt.Errorf("verify journal: %w", err)
	}
	defer func() { err = errors.Join(err, l.release()) }()
	for _, check := range []func(context.Context, *conn, *Report) error{verifyFile, verifyChain, verifyCursors, verifyTallies, verifyIndexes} {
		if err := check(ctx, db, &report); err != nil {
			return report, fmt.Errorf("verify journal: %w", damaged(dir, err))
		}
	}
	return report, nil
}

// verifyFile has SQLite check the structures of the file.
func verifyFile(ctx context.Context, db *conn, report *Report) error {
	return db.query(ctx, func(r row) error {
		if r.text(0) != "ok" {
			report.problem("sqlite: %s", r.text(0))
		}
		return nil
	}, "PRAGMA integrity_check")
}

// verifyChain walks all chunks from the hash of what was deleted before them.
func verifyChain(ctx context.Context, db *conn, report *Report) error {
	t, ok, err := db.get("SELECT last, bytes, hash FROM trimmed")
	if err != nil || !ok {
		return errors.Join(err, errDamaged)
	}
	report.Trimmed = t.uint(0)
	hash, last, bytesBefore, stored := t.blob(2), t.uint(0), t.int(1), int64(0)
	report.Hash = hash
	return db.query(ctx, func(r row) error {
		first, body := r.uint(0), r.blob(6)
		if first != last+1 {
			report.problem("chunk %d: follows event %d, there are events missing", first, last)
		}
		if !bytes.Equal(chain(hash, first, body), r.blob(4)) {
			report.problem("chunk %d: its hash does not continue the chain, it or one before it was changed", first)
		}
		if r.int(2) < stored {
			report.problem("chunk %d: stored before the one that it follows", first)
		}
		if r.int(3) <= bytesBefore {
			report.problem("chunk %d: the sum of bytes does not grow", first)
		}
		verifyEvents(r, report)
		if report.Chunks++; report.Chunks == 1 {
			report.First = first
		}
		last = r.uint(1)
		report.Events += last - first + 1
		report.Last, report.Hash = last, r.blob(4)
		hash, stored, bytesBefore = r.blob(4), r.int(2), r.int(3)
		return nil
	}, "SELECT first, last, stored, bytes, hash, prints, body FROM chunk ORDER BY first")
}

// verifyEvents decodes a chunk and compares it with its prints.
func verifyEvents(r row, report *Report) {
	s, err := decodeChunk(r.uint(0), r.uint(1), r.int(2), r.blob(6))
	if err != nil {
		report.problem("%v", err)
		return
	}
	list, err := prints(r.blob(5))
	if err != nil || len(list) != len(s.events) {
		report.problem("chunk %d: prints do not fit its events", s.first)
		return
	}
	for i := range s.events {
		e := s.events[i].event
		if printOf(e.ID, e.AppendJSON(nil)).content != list[i].content {
			report.problem("event %d: its print is another's", s.first+uint64(i))
		}
	}
}

// verifyCursors checks that cursors are where they may be.
func verifyCursors(ctx context.Context, db *conn, report *Report) error {
	next := max(report.Last, report.Trimmed) + 1
	return db.query(ctx, func(r row) error {
		start, low := r.uint(1), r.uint(2)
		if low+1 < start || low >= next && low+1 != start {
			report.problem("cursor %s: settled up to %d, begun with %d, and the next event is %d", r.text(0), low, start, next)
		}
		if settled := r.uint(3); low+1 >= start && settled < low+1-start {
			report.problem("cursor %s: %d events settled, but its mark says %d", r.text(0), settled, low+1-start)
		}
		return nil
	}, "SELECT name, start, low, delivered + filtered + dead + evicted + dropped FROM cursor ORDER BY name")
}

// verifyTallies checks what triggers count.
func verifyTallies(ctx context.Context, db *conn, report *Report) error {
	for _, t := range []struct{ table, query string }{
		{"dead", "SELECT count(*), coalesce(sum(bytes), 0), (SELECT coalesce(sum(count), 0) FROM dead_tally), (SELECT coalesce(sum(bytes), 0) FROM dead_tally) FROM dead"},
		{"quarantine", "SELECT count(*), coalesce(sum(bytes), 0), (SELECT count FROM quarantine_tally), (SELECT bytes FROM quarantine_tally) FROM quarantine"},
	} {
		err := db.query(ctx, func(r row) error {
			if r.int(0) != r.int(2) || r.int(1) != r.int(3) {
				report.problem("%s: %d entries of %d bytes, counted as %d of %d", t.table, r.int(0), r.int(1), r.int(2), r.int(3))
			}
			if t.table == "dead" {
				report.DeadCount = r.uint(0)
			}
			return nil
		}, t.query)
		if err != nil {
			return err
		}
	}
	return nil
}

// verifyIndexes counts the entries of indexes for chunks that are gone.
func verifyIndexes(ctx context.Context, db *conn, report *Report) error {
	for _, t := range []struct{ table, query string }{
		{"by_id", "SELECT count(*) FROM by_id WHERE NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.first = by_id.first)"},
		{"by_repository", "SELECT count(*) FROM by_repository WHERE NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.first = by_repository.first)"},
		{"repository", "SELECT count(*) FROM repository WHERE NOT EXISTS (SELECT 1 FROM by_repository WHERE by_repository.repository = repository.id)"},
	} {
		err := db.query(ctx, func(r row) error {
			if n := r.int(0); n > 0 {
				report.problem("%s: %d entries of chunks that are gone; they take room and do no harm", t.table, n)
			}
			return nil
		}, t.query)
		if err != nil {
			return err
		}
	}
	return nil
}
