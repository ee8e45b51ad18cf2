package journal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	indexLook   = 100 * time.Millisecond
	indexBusy   = 250 * time.Millisecond // between two steps while events keep coming
	indexEvents = 1024                   // in one step, more only for a larger chunk
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
// keep coming it takes few steps, and catches up while they pause. The prints of ids are
// random: a step writes most pages of a small index, so that fewer steps write less.
func (j *Journal) index() {
	ticker := time.NewTicker(indexLook)
	defer ticker.Stop()
	var seen uint64
	var last time.Time // when a step was taken
	var failing complaint
	for {
		select {
		case <-j.stopping:
			return
		case <-ticker.C:
		}
		newest := j.newest.Load()
		busy := newest != seen
		seen = newest
		if j.writer.health() != nil || busy && time.Since(last) < indexBusy {
			continue
		}
		last = time.Now()
		var err error
		if busy {
			_, err = j.indexStep()
		} else {
			err = j.catchUp(seen)
		}
		if failing.news(err) && j.open(context.Background()) == nil {
			j.log.Error("build indexes", "error", damaged(j.dir, err))
		}
	}
}

// catchUp takes steps until all is indexed, or until there are events after seen: between
// two steps no more than one commit gets its turn, so that the rest can wait for the next
// pause.
func (j *Journal) catchUp(seen uint64) error {
	for {
		more, err := j.indexStep()
		if err != nil || !more || j.newest.Load() != seen {
			return err
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
	if err := j.addEntries(entries); err != nil {
		return false, err
	}
	return j.indexed.Load() < j.newest.Load(), nil
}

// addEntries has the appender put entries, which follow what is indexed, into the indexes.
// Chunks that retention has deleted since they were read are left out: nobody would take
// them out again.
func (j *Journal) addEntries(entries []entry) error {
	last := entries[len(entries)-1].last
	return j.outside(func() error {
		db := j.writer.db
		err := db.transact(func() error {
			add := indexRows{repositories: make(map[string][]int64)}
			for i := range entries {
				if entries[i].last >= j.oldest.Load() {
					add.addEntry(&entries[i])
				}
			}
			if err := add.insert(db); err != nil {
				return err
			}
			_, err := db.exec("UPDATE indexed SET last = ?", last)
			return err
		})
		if err == nil {
			j.indexed.Store(last) // before retention goes on
		}
		return err
	})
}

// unindexed returns what the indexes need of the chunks that follow the event done, about
// indexEvents events: from the tail if they are still there, else from the file.
func (j *Journal) unindexed(done uint64) (entries []entry, err error) {
	events := uint64(0)
	for events < indexEvents {
		s := j.tail.find(done + 1)
		if s == nil {
			break
		}
		entries = append(entries, s.entry())
		events += s.end() - s.first
		done = s.end() - 1
	}
	if events > 0 {
		return entries, nil
	}
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
	s, err := decodeChunk(r.uint(0), r.uint(1), r.int(2), r.blob(4))
	if err != nil {
		return entry{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	e := s.entry()
	list, err := prints(r.blob(3))
	if err != nil || len(list) != len(s.events) {
		return e, fmt.Errorf("%w: chunk %d: its prints do not fit its events", errDamaged, e.first)
	}
	for i, p := range list {
		e.ids[i] = p.index()
	}
	return e, nil
}

// entry returns what the indexes get of s, which is one chunk.
func (s *span) entry() entry {
	e := entry{first: s.first, last: s.end() - 1, ids: make([]int64, len(s.events))}
	seen := make(map[string]struct{})
	for i := range s.events {
		event := s.events[i].event
		e.ids[i] = idPrint(event.ID)
		if _, ok := seen[event.Repository]; !ok {
			seen[event.Repository] = struct{}{}
			e.repositories = append(e.repositories, event.Repository)
		}
	}
	return e
}

// addEntry adds e's rows to those of the indexes.
func (x *indexRows) addEntry(e *entry) {
	for _, id := range e.ids {
		x.ids = append(x.ids, indexRow{id, int64(e.first)})
	}
	for _, name := range e.repositories {
		x.repositories[name] = append(x.repositories[name], int64(e.first))
	}
}

// indexRows are what one step adds to the indexes.
type indexRows struct {
	ids          []indexRow
	repositories map[string][]int64 // their chunks
}

// An indexRow is what is looked up, an id's print or a repository, and chunk.first.
type indexRow [2]int64

func (x *indexRows) insert(db *conn) error {
	if err := insertRows(db, "INSERT OR IGNORE INTO by_id (print, first) VALUES ", x.ids); err != nil {
		return err
	}
	var rows []indexRow
	for name, chunks := range x.repositories {
		id, err := repositoryID(db, name)
		if err != nil {
			return err
		}
		for _, first := range chunks {
			rows = append(rows, indexRow{id, first})
		}
	}
	return insertRows(db, "INSERT OR IGNORE INTO by_repository (repository, first) VALUES ", rows)
}

// repositoryID returns the row of a repository, which it makes if there is none.
func repositoryID(db *conn, name string) (int64, error) {
	r, ok, err := db.get("SELECT id FROM repository WHERE name = ?", name)
	if err != nil {
		return 0, err
	}
	if ok {
		return r.int(0), nil
	}
	return db.insert("INSERT INTO repository (name) VALUES (?)", name)
}

// insertRows adds rows with the statement that begins with insert, in the order of the
// index and many at a time: running a statement takes longer than adding a row.
func insertRows(db *conn, insert string, rows []indexRow) error {
	const atOnce = 32
	slices.SortFunc(rows, func(a, b indexRow) int { return slices.Compare(a[:], b[:]) })
	one, many := insert+"(?, ?)", insert+"(?, ?)"+strings.Repeat(", (?, ?)", atOnce-1)
	args := make([]any, 0, 2*atOnce)
	for len(rows) > 0 {
		query, n := many, atOnce
		if len(rows) < atOnce {
			query, n = one, 1
		}
		args = args[:0]
		for _, row := range rows[:n] {
			args = append(args, row[0], row[1])
		}
		if _, err := db.exec(query, args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// unindex takes the chunks up to last out of the indexes, in the current transaction.
func (a *appender) unindex(last uint64) error {
	last = min(last, a.j.indexed.Load())
	var entries []entry
	var unreadable []uint64
	err := a.db.query(context.Background(), func(r row) error {
		e, err := entryOf(r)
		if err != nil { // the row goes in any case
			a.j.log.Error("delete a damaged chunk", "first", r.uint(0), "error", err)
			unreadable = append(unreadable, r.uint(0))
			return nil
		}
		entries = append(entries, e)
		return nil
	}, "SELECT first, last, stored, prints, body FROM chunk WHERE first <= ? ORDER BY first", last)
	if err != nil {
		return err
	}
	for _, first := range unreadable { // a walk through the indexes: who was in it cannot be read
		for _, q := range []string{"DELETE FROM by_id WHERE first = ?", "DELETE FROM by_repository WHERE first = ?"} {
			if _, err := a.db.exec(q, first); err != nil {
				return err
			}
		}
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
