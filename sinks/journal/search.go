package journal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/sinks"
)

var _ sinks.Searcher = (*Journal)(nil)

// searchEvents bounds how many events one call of Events looks at, by whole chunks.
const searchEvents = 4096

// Event returns the newest stored event with that id, or sinks.ErrNotFound.
func (j *Journal) Event(ctx context.Context, id string) (sinks.Delivery, error) {
	want := idPrint(id)
	var firsts []uint64 // of chunks that may hold it, newest first
	err := j.read(ctx, func(db *conn) error {
		err := db.query(ctx, func(r row) error {
			list, err := prints(r.blob(1))
			if slices.ContainsFunc(list, func(p print) bool { return p.index() == want }) {
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
		}, "SELECT first FROM by_id WHERE print = ? ORDER BY first DESC", want)
	})
	if err != nil {
		return sinks.Delivery{}, fmt.Errorf("look up event %s: %w", id, err)
	}
	for _, first := range firsts {
		s, err := j.chunkAt(ctx, first)
		if err != nil {
			return sinks.Delivery{}, fmt.Errorf("look up event %s: %w", id, err)
		}
		if s == nil { // deleted meanwhile
			continue
		}
		for i, e := range slices.Backward(s.events) {
			if e.event.ID == id {
				return e.delivery(first + uint64(i)), nil
			}
		}
	}
	return sinks.Delivery{}, fmt.Errorf("event %s: %w", id, sinks.ErrNotFound)
}

// A window is what a search still has to look at: first <= sequence < next.
type window struct{ first, next uint64 }

// Events lists stored events; a query for one repository, without a wildcard, looks only
// at the chunks that have it.
func (j *Journal) Events(ctx context.Context, q sinks.EventQuery) (sinks.EventPage, error) {
	page, err := j.search(ctx, &q)
	if err != nil {
		return sinks.EventPage{}, fmt.Errorf("search events: %w", err)
	}
	return page, nil
}

func (j *Journal) search(ctx context.Context, q *sinks.EventQuery) (page sinks.EventPage, err error) {
	if err := j.open(ctx); err != nil {
		return page, err
	}
	match, err := q.Matcher()
	if err != nil {
		return page, err
	}
	w, err := j.windowOf(ctx, q)
	if err != nil {
		return page, err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = defaultList
	}
	for looked := 0; w.first < w.next && looked < searchEvents && len(page.Events) < limit; {
		first, s, err := j.candidate(ctx, q, w)
		if err != nil {
			return page, err
		}
		if s == nil && first > 0 && q.OldestFirst { // deleted meanwhile
			w.first = first + 1
			continue
		}
		if s == nil || s.end() <= w.first || s.first >= w.next {
			w.first = w.next
			break
		}
		looked += len(s.events)
		for w.first < w.next && len(page.Events) < limit {
			sequence := w.next - 1
			if q.OldestFirst {
				sequence = max(w.first, s.first)
			} else {
				sequence = min(sequence, s.end()-1)
			}
			if !s.has(sequence) {
				break
			}
			if e := &s.events[sequence-s.first]; match.Match(e.event) {
				page.Events = append(page.Events, e.delivery(sequence))
			}
			page.Next = sequence
			if q.OldestFirst {
				w.first = sequence + 1
			} else {
				w.next = sequence
			}
		}
	}
	if w.first >= w.next {
		page.Next = 0
	}
	return page, nil
}

func (j *Journal) windowOf(ctx context.Context, q *sinks.EventQuery) (w window, err error) {
	w = window{j.oldest.Load(), j.newest.Load() + 1}
	if !q.Since.IsZero() {
		if w.first, err = j.sequenceAt(ctx, q.Since); err != nil {
			return w, err
		}
	}
	if !q.Until.IsZero() {
		if w.next, err = j.sequenceAt(ctx, q.Until); err != nil {
			return w, err
		}
	}
	switch {
	case q.After != 0 && q.OldestFirst:
		w.first = max(w.first, q.After+1)
	case q.After != 0:
		w.next = min(w.next, q.After)
	}
	return w, nil
}

// candidate returns the next chunk of w, in the order of q, that may hold what q selects,
// and its first sequence, 0 if there is none.
func (j *Journal) candidate(ctx context.Context, q *sinks.EventQuery, w window) (first uint64, s *span, err error) {
	const (
		newest     = "SELECT max(first) FROM chunk WHERE first < ?2"
		oldest     = "SELECT coalesce((SELECT max(first) FROM chunk WHERE first <= ?1), (SELECT min(first) FROM chunk))"
		newestWith = `SELECT max(first) FROM (
			SELECT max(first) AS first FROM chunk WHERE first < ?2 AND first > (SELECT last FROM indexed)
			UNION ALL
			SELECT max(first) FROM by_repository WHERE repository = (SELECT id FROM repository WHERE name = ?3) AND first < ?2)`
		oldestWith = `SELECT min(first) FROM (
			SELECT min(first) AS first FROM chunk WHERE first >= (` + oldest + `) AND first > (SELECT last FROM indexed)
			UNION ALL
			SELECT min(first) FROM by_repository WHERE repository = (SELECT id FROM repository WHERE name = ?3)
				AND first >= (` + oldest + `))`
	)
	query := newest
	switch one := q.Repository != "" && !strings.Contains(q.Repository, "*"); {
	case one && q.OldestFirst:
		query = oldestWith
	case one:
		query = newestWith
	case q.OldestFirst:
		query = oldest
	}
	err = j.read(ctx, func(db *conn) error {
		r, ok, err := db.get(query, w.first, w.next, q.Repository)
		if ok {
			first = r.uint(0)
		}
		return err
	})
	if err == nil && first > 0 {
		s, err = j.chunkAt(ctx, first)
	}
	return first, s, err
}

// chunkAt returns the chunk that begins with first, nil if it was deleted.
func (j *Journal) chunkAt(ctx context.Context, first uint64) (s *span, err error) {
	if s = j.tail.find(first); s != nil {
		return s, nil
	}
	err = j.read(ctx, func(db *conn) error {
		r, ok, err := db.get("SELECT first, last, stored, body FROM chunk WHERE first = ?", first)
		if err != nil || !ok {
			return err
		}
		if s, err = decodeChunk(r.uint(0), r.uint(1), r.int(2), r.blob(3)); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		return nil
	})
	return s, err
}

func (j *Journal) sequenceAt(ctx context.Context, t time.Time) (sequence uint64, err error) {
	err = j.read(ctx, func(db *conn) error {
		sequence, err = sequenceAt(db, t, j.newest.Load()+1)
		return err
	})
	return sequence, err
}
