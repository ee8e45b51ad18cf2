package journal

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

const (
	indexEvery  = 100 * time.Millisecond
	indexEvents = 512 // in one step, more only for a larger chunk
)

// An entry is what the indexes get of one chunk.
type entry struct {
	first, last  uint64
	ids          []int64
	repositories []string
}

// index builds the indexes from the chunks, beside the appender: it reads and decodes
// here, and has the appender write a small step between two commits. What it has done
// is in the same transaction, so that it goes on where it was after a crash. While events
// keep coming it takes one step at a time; it catches up when they pause.
func (j *Journal) index() {
	ticker := time.NewTicker(indexEvery)
	defer ticker.Stop()
	var seen uint64
	for {
		select {
		case <-j.stopping:
			return
		case <-ticker.C:
		}
		newest := j.newest.Load()
		busy := newest != seen
		seen = newest
		if j.writer.health() != nil {
			continue
		}
		for more := true; more; more = more && !busy {
			var err error
			if more, err = j.indexStep(); err != nil {
				if j.open(context.Background()) == nil {
					j.log.Error("build indexes", "error", damaged(j.dir, err))
				}
				break
			}
		}
	}
}

// indexStep indexes the next few chunks and tells whether there are more.
func (j *Journal) indexStep() (more bool, err error) {
	done := max(j.indexed.Load(), j.oldest.Load()-1)
	if done >= j.newest.Load() {
		return false, nil
	}
	entries, err := j.unindexed(done)
	if err != nil || len(entries) == 0 {
		return false, err
	}
	last := entries[len(entries)-1].last
	err = j.outside(func() error {
		return j.writer.db.transact(func() error {
			for i := range entries {
				if err := addEntry(j.writer.db, &entries[i]); err != nil {
					return err
				}
			}
			_, err := j.writer.db.exec("UPDATE indexed SET last = ?", last)
			return err
		})
	})
	if err != nil {
		return false, err
	}
	j.indexed.Store(last)
	return last < j.newest.Load(), nil
}

// unindexed reads the chunks that follow the event done, about indexEvents events.
func (j *Journal) unindexed(done uint64) (entries []entry, err error) {
	events := uint64(0)
	err = j.read(context.Background(), func(db *conn) error {
		return db.query(context.Background(), func(r row) error {
			e, err := entryOf(r)
			if err != nil {
				return err
			}
			entries = append(entries, e)
			if events += e.last - e.first + 1; events >= indexEvents {
				return errStop
			}
			return nil
		}, "SELECT first, last, stored, prints, body FROM chunk WHERE first > ? ORDER BY first LIMIT ?", done, indexEvents)
	})
	return entries, err
}

// entryOf reads a row of first, last, stored, prints, body.
func entryOf(r row) (entry, error) {
	e := entry{first: r.uint(0), last: r.uint(1)}
	list, err := prints(r.blob(3))
	if err != nil {
		return e, fmt.Errorf("%w: chunk %d: %w", errDamaged, e.first, err)
	}
	for _, p := range list {
		e.ids = append(e.ids, p.index())
	}
	s, err := decodeChunk(e.first, e.last, r.int(2), r.blob(4))
	if err != nil {
		return e, fmt.Errorf("%w: %w", errDamaged, err)
	}
	seen := make(map[string]struct{})
	for i := range s.events {
		name := s.events[i].event.Repository
		if _, ok := seen[name]; !ok {
			seen[name] = struct{}{}
			e.repositories = append(e.repositories, name)
		}
	}
	return e, nil
}

func addEntry(db *conn, e *entry) error {
	for _, id := range e.ids {
		if _, err := db.exec("INSERT OR IGNORE INTO by_id (print, first) VALUES (?, ?)", id, e.first); err != nil {
			return err
		}
	}
	for _, name := range e.repositories {
		if _, err := db.exec("INSERT OR IGNORE INTO repository (name) VALUES (?)", name); err != nil {
			return err
		}
		if _, err := db.exec("INSERT OR IGNORE INTO by_repository (repository, first) SELECT id, ? FROM repository WHERE name = ?", e.first, name); err != nil {
			return err
		}
	}
	return nil
}

// unindex takes the chunks up to last out of the indexes, in the current transaction.
func (a *appender) unindex(last uint64) error {
	last = min(last, a.j.indexed.Load())
	var entries []entry
	err := a.db.query(context.Background(), func(r row) error {
		e, err := entryOf(r)
		if err != nil {
			// The row goes in any case; an entry for it that stays is passed over.
			a.j.log.Error("delete a damaged chunk", "first", r.uint(0), "error", err)
			return nil
		}
		entries = append(entries, e)
		return nil
	}, "SELECT first, last, stored, prints, body FROM chunk WHERE first <= ? ORDER BY first", last)
	if err != nil {
		return err
	}
	names := make(map[string]struct{})
	for _, e := range entries {
		for _, id := range e.ids {
			if _, err := a.db.exec("DELETE FROM by_id WHERE print = ? AND first = ?", id, e.first); err != nil {
				return err
			}
		}
		for _, name := range e.repositories {
			names[name] = struct{}{}
		}
	}
	for name := range names {
		if _, err := a.db.exec("DELETE FROM by_repository WHERE repository = (SELECT id FROM repository WHERE name = ?) AND first <= ?", name, last); err != nil {
			return err
		}
		if _, err := a.db.exec("DELETE FROM repository WHERE name = ? AND NOT EXISTS (SELECT 1 FROM by_repository WHERE repository = repository.id)", name); err != nil {
			return err
		}
	}
	return nil
}

// Event returns the newest stored event with that id, or sinks.ErrNotFound.
func (j *Journal) Event(ctx context.Context, id string) (sinks.Delivery, error) {
	want := printOf(id, nil)
	var firsts []uint64 // of chunks that may hold it, newest first
	err := j.read(ctx, func(db *conn) error {
		err := db.query(ctx, func(r row) error {
			list, err := prints(r.blob(1))
			if slices.ContainsFunc(list, func(p print) bool { return p.id == want.id }) {
				firsts = append(firsts, r.uint(0))
			}
			return err
		}, "SELECT first, prints FROM chunk WHERE first > (SELECT last FROM indexed) ORDER BY first DESC")
		if err != nil {
			return err
		}
		return db.query(ctx, func(r row) error {
			firsts = append(firsts, r.uint(0))
			return nil
		}, "SELECT first FROM by_id WHERE print = ? ORDER BY first DESC", int64(binary.BigEndian.Uint64(want.id[:])))
	})
	if err != nil {
		return sinks.Delivery{}, fmt.Errorf("look up event %s: %w", id, err)
	}
	for _, first := range firsts {
		found, err := j.newestIn(ctx, first, func(e *notifications.Event) bool { return e.ID == id }, forever, 1)
		if err != nil {
			return sinks.Delivery{}, fmt.Errorf("look up event %s: %w", id, err)
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return sinks.Delivery{}, fmt.Errorf("event %s: %w", id, sinks.ErrNotFound)
}

// A Query selects stored events.
type Query struct {
	Repository string    // exactly; "" for all
	Since      time.Time // stored then or later; zero for all
	Until      time.Time // stored before; zero for all
	Before     uint64    // only sequences below: for the next page, that of the last event of this one; 0 for all
	Limit      int       // 0: 1000
}

// Events lists stored events, newest first.
func (j *Journal) Events(ctx context.Context, q Query) ([]sinks.Delivery, error) {
	if q.Limit <= 0 {
		q.Limit = defaultList
	}
	if q.Before == 0 {
		q.Before = forever
	}
	match := func(e *notifications.Event) bool { return q.Repository == "" || e.Repository == q.Repository }
	var found []sinks.Delivery
	before := q.Before
	if !q.Until.IsZero() {
		end, err := j.sequenceAt(ctx, q.Until)
		if err != nil {
			return nil, fmt.Errorf("list events: %w", err)
		}
		before = min(before, end)
	}
	oldest := uint64(1)
	if !q.Since.IsZero() {
		var err error
		if oldest, err = j.sequenceAt(ctx, q.Since); err != nil {
			return nil, fmt.Errorf("list events: %w", err)
		}
	}
	for len(found) < q.Limit {
		first, ok, err := j.chunkBefore(ctx, q.Repository, before)
		if err != nil {
			return nil, fmt.Errorf("list events: %w", err)
		}
		if !ok {
			break
		}
		in, err := j.newestIn(ctx, first, match, before, q.Limit-len(found))
		if err != nil {
			return nil, fmt.Errorf("list events: %w", err)
		}
		for _, d := range in {
			if d.Sequence >= oldest {
				found = append(found, d)
			}
		}
		if first <= oldest {
			break
		}
		before = first
	}
	return found, nil
}

// chunkBefore returns the newest chunk that begins before that sequence and may hold an
// event of the repository.
func (j *Journal) chunkBefore(ctx context.Context, repository string, before uint64) (first uint64, ok bool, err error) {
	err = j.read(ctx, func(db *conn) error {
		query := "SELECT max(first) FROM chunk WHERE first < ?1"
		if repository != "" {
			query = `SELECT max(first) FROM (
				SELECT first FROM (SELECT first FROM chunk WHERE first < ?1 AND first > (SELECT last FROM indexed) ORDER BY first DESC LIMIT 1)
				UNION ALL
				SELECT max(first) FROM by_repository WHERE repository = (SELECT id FROM repository WHERE name = ?2) AND first < ?1)`
		}
		r, _, err := db.get(query, before, repository)
		if err == nil && r[0] != nil {
			first, ok = r.uint(0), true
		}
		return err
	})
	return first, ok, err
}

// newestIn returns events of the chunk that begins with first, those below before that
// match, newest first.
func (j *Journal) newestIn(ctx context.Context, first uint64, match func(*notifications.Event) bool, before uint64, limit int) (found []sinks.Delivery, err error) {
	var s *span
	err = j.read(ctx, func(db *conn) error {
		r, ok, err := db.get("SELECT first, last, stored, body FROM chunk WHERE first = ?", first)
		if err != nil || !ok { // deleted meanwhile
			return err
		}
		if s, err = decodeChunk(r.uint(0), r.uint(1), r.int(2), r.blob(3)); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		return nil
	})
	if s == nil || err != nil {
		return nil, err
	}
	for i, e := range slices.Backward(s.events) {
		sequence := first + uint64(i)
		if sequence < before && len(found) < limit && match(e.event) {
			found = append(found, e.delivery(sequence))
		}
	}
	return found, nil
}

func (j *Journal) sequenceAt(ctx context.Context, t time.Time) (sequence uint64, err error) {
	err = j.read(ctx, func(db *conn) error {
		sequence, err = sequenceAt(db, t, j.newest.Load()+1)
		return err
	})
	return sequence, err
}
