package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

const (
	defaultList = 1000 // entries of a listing whose query does not say
	cutRows     = 64   // dead letters or bodies that one step of a cut removes
)

// bury stores the dead letters of a cursor, in the current transaction.
func (a *appender) bury(cursor string, dead []*sinks.DeadLetter) error {
	now := time.Now().UnixMicro()
	for _, d := range dead {
		if d.Reason == sinks.DeadEvicted && d.Event == nil {
			n, err := a.db.exec("UPDATE dead SET last = ?1, count = count + ?2, buried = ?3 WHERE id = (SELECT max(id) FROM dead WHERE cursor = ?4) AND reason = ?5 AND event IS NULL AND last = ?6 - 1",
				d.Last, d.Count, now, cursor, string(d.Reason), d.Sequence)
			if err != nil {
				return err
			}
			if n > 0 {
				continue // cuts that follow each other are one record
			}
		}
		var event []byte
		var from notifications.Provenance
		if d.Event != nil {
			event, from = d.Event.AppendJSON(nil), d.Event.Provenance
		}
		_, err := a.db.exec(`INSERT INTO dead (cursor, reason, sequence, last, count, attempts, first_attempt, last_attempt, status, error, excerpt, buried, format, sender, event, bytes)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			cursor, string(d.Reason), d.Sequence, d.Last, d.Count, d.Attempts, micros(d.FirstAttempt), micros(d.LastAttempt),
			d.Status, d.Error, d.Excerpt, now, from.Format, from.Sender, event, deadCost(d))
		if err != nil {
			return err
		}
	}
	if len(dead) == 0 {
		return nil
	}
	a.deadChanged = true
	return a.cut(bounded{
		limit: a.j.opts.DeadBytes, cut: a.j.metrics.cutDead, notice: &a.notices.cutDead,
		size:   "SELECT coalesce(sum(bytes), 0) FROM dead_tally",
		oldest: "SELECT id, bytes FROM dead ORDER BY id LIMIT ?",
		remove: "DELETE FROM dead WHERE id <= ?",
	})
}

// quarantine stores what could not be read, in the current transaction.
func (a *appender) quarantine(bad []notifications.Quarantined) error {
	if len(bad) == 0 {
		return nil
	}
	for i := range bad {
		q := &bad[i]
		_, err := a.db.exec("INSERT INTO quarantine (received, reason, detail, size, format, sender, bytes, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			micros(q.Received), string(q.Reason), q.Detail, q.Size, q.Provenance.Format, q.Provenance.Sender, quarantineCost(q), q.Body)
		if err != nil {
			return err
		}
	}
	return a.cut(bounded{
		limit: a.j.opts.QuarantineBytes, cut: a.j.metrics.cutQuarantined, notice: &a.notices.cutQuarantine,
		size:   "SELECT bytes FROM quarantine_tally",
		oldest: "SELECT id, bytes FROM quarantine ORDER BY id LIMIT ?",
		remove: "DELETE FROM quarantine WHERE id <= ?",
	})
}

// quarantineCost is what a body counts for, in bytes.
func quarantineCost(q *notifications.Quarantined) int { return 256 + len(q.Detail) + len(q.Body) }

// A bounded is a table whose oldest rows go when it takes more than its bound.
type bounded struct {
	limit  int64 // bytes
	cut    addable
	notice *notice
	size   string // a query for the bytes that it takes
	oldest string // a query for id and bytes of at most ? rows
	remove string // a statement that deletes the rows up to id ?
}

// cut removes the oldest rows of t until it is within its bound.
func (a *appender) cut(t bounded) error {
	r, _, err := a.db.get(t.size)
	over, removed := r.int(0)-t.limit, 0
	if err != nil || over <= 0 {
		return err
	}
	for over > 0 {
		last := int64(0)
		err := a.db.query(context.Background(), func(r row) error {
			if over <= 0 {
				return errStop
			}
			last = r.int(0)
			over -= r.int(1)
			return nil
		}, t.oldest, cutRows)
		if err != nil {
			return err
		}
		n, err := a.db.exec(t.remove, last)
		if err != nil {
			return err
		}
		if removed += n; n == 0 {
			break
		}
	}
	t.cut.Add(float64(removed))
	t.notice.add(removed)
	return nil
}

// addable is what cut needs of a counter.
type addable interface{ Add(float64) }

// readSettled calls f with a reading connection, after what is settled was made durable.
// On a full disk what was settled last may be missing.
func (j *Journal) readSettled(ctx context.Context, f func(*conn) error) error {
	if err := j.writer.flush(ctx); err != nil && !errors.Is(err, notifications.ErrFull) {
		return err
	}
	return j.read(ctx, f)
}

// DeadLetters lists dead letters, oldest first.
func (j *Journal) DeadLetters(ctx context.Context, q sinks.DeadQuery) (list []sinks.DeadLetter, err error) {
	match, err := deadMatcher(&q)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = defaultList
	}
	query, args := deadQuery(&q)
	err = j.readSettled(ctx, func(db *conn) error {
		return db.query(ctx, func(r row) error {
			d, err := deadLetter(r)
			if err != nil {
				return err
			}
			if match(&d) {
				list = append(list, d)
			}
			if len(list) == limit {
				return errStop
			}
			return nil
		}, query, args...)
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
}

// deadQuery returns the query that finds dead letters by the index that q allows. What q
// selects beyond that is left to deadMatcher.
func deadQuery(q *sinks.DeadQuery) (query string, args []any) {
	const (
		letters = `SELECT id, cursor, reason, sequence, last, count, attempts, first_attempt, last_attempt, status, error, excerpt, buried, format, sender, event
			FROM dead WHERE (?3 = '' OR reason = ?3)`
		between = " AND id > ?1 AND id <= ?2"
		among   = " AND +id > ?1 AND +id <= ?2" // "+": not the index to use
		order   = " ORDER BY id"
		sort    = " ORDER BY +id"
	)
	to := q.To
	if to == 0 {
		to = forever
	}
	args = []any{min(q.After, forever), min(to, forever), string(q.Reason), q.Cursor, ""}
	switch {
	case len(q.IDs) > 0:
		args[4] = list(q.IDs)
		return letters + among + " AND (?4 = '' OR cursor = ?4) AND id IN (SELECT value FROM json_each(?5))" + order, args
	case len(q.Sequences) > 0:
		args[4] = list(q.Sequences)
		return letters + among + " AND (?4 = '' OR cursor = ?4) AND sequence IN (SELECT value FROM json_each(?5))" + sort, args
	case q.Cursor != "":
		return letters + between + " AND cursor = ?4 AND ?5 = ''" + order, args
	}
	return letters + between + " AND ?4 = '' AND ?5 = ''" + order, args
}

// list makes a JSON array, as json_each reads it.
func list(numbers []uint64) string {
	text := []byte{'['}
	for i, n := range numbers {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendUint(text, n, 10)
	}
	return string(append(text, ']'))
}

// deadMatcher returns what tells whether q selects a dead letter, as far as the database
// does not.
func deadMatcher(q *sinks.DeadQuery) (func(*sinks.DeadLetter) bool, error) {
	repository := sinks.MatcherFunc(func(*notifications.Event) bool { return true })
	if q.Repository != "" {
		glob, err := sinks.ParseGlob(q.Repository)
		if err != nil {
			return nil, notifications.Permanent(fmt.Errorf("repository %q: %w", q.Repository, err))
		}
		repository = func(e *notifications.Event) bool { return e != nil && glob.Match(e.Repository) }
	}
	both := len(q.IDs) > 0 && len(q.Sequences) > 0 // the query has looked for the IDs alone
	return func(d *sinks.DeadLetter) bool {
		return repository(d.Event) && (!both || slices.Contains(q.Sequences, d.Sequence))
	}, nil
}

func deadLetter(r row) (sinks.DeadLetter, error) {
	d := sinks.DeadLetter{
		ID: r.uint(0), Cursor: r.text(1), Reason: sinks.DeadReason(r.text(2)),
		Sequence: r.uint(3), Last: r.uint(4), Count: r.uint(5),
		Attempts: int(r.int(6)), FirstAttempt: fromMicros(r.int(7)), LastAttempt: fromMicros(r.int(8)),
		Status: int(r.int(9)), Error: r.text(10), Excerpt: r.blob(11), Buried: fromMicros(r.int(12)),
	}
	json := r.blob(15)
	if json == nil {
		return d, nil
	}
	e, err := notifications.RestoreEvent(string(json))
	if err != nil {
		return d, fmt.Errorf("%w: dead letter %d: %w", errDamaged, d.ID, err)
	}
	e.Provenance = notifications.Provenance{Format: r.text(13), Sender: r.text(14)}
	d.Event = e
	return d, nil
}

// DropDead forgets the dead letters with these IDs.
func (j *Journal) DropDead(ctx context.Context, ids ...uint64) (int, error) {
	return j.drop(ctx, "DELETE FROM dead WHERE id = ?", ids)
}

// DropQuarantined forgets the bodies with these IDs.
func (j *Journal) DropQuarantined(ctx context.Context, ids ...uint64) (int, error) {
	return j.drop(ctx, "DELETE FROM quarantine WHERE id = ?", ids)
}

// drop runs remove for each id, in steps that do not hold up events for long.
func (j *Journal) drop(ctx context.Context, remove string, ids []uint64) (dropped int, err error) {
	for step := range slices.Chunk(ids, cutRows) {
		n := 0
		err := j.writer.write(ctx, func(db *conn) error {
			n, j.writer.deadChanged = 0, true
			for _, id := range step {
				removed, err := db.exec(remove, id)
				if err != nil {
					return err
				}
				n += removed
			}
			return nil
		})
		if err != nil {
			return dropped, fmt.Errorf("drop: %w", err)
		}
		dropped += n
	}
	return dropped, j.open(ctx)
}

// Quarantined lists bodies with an ID above after, oldest first.
func (j *Journal) Quarantined(ctx context.Context, after uint64, limit int) (list []notifications.Quarantined, err error) {
	if limit <= 0 {
		limit = defaultList
	}
	err = j.read(ctx, func(db *conn) error {
		return db.query(ctx, func(r row) error {
			list = append(list, notifications.Quarantined{
				ID: r.uint(0), Received: fromMicros(r.int(1)), Reason: notifications.Reason(r.text(2)), Detail: r.text(3),
				Size: int(r.int(4)), Provenance: notifications.Provenance{Format: r.text(5), Sender: r.text(6)}, Body: r.blob(7),
			})
			return nil
		}, "SELECT id, received, reason, detail, size, format, sender, body FROM quarantine WHERE id > ? ORDER BY id LIMIT ?", after, limit)
	})
	if err != nil {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	return list, nil
}

// State returns the value under key, or sinks.ErrNotFound.
func (j *Journal) State(ctx context.Context, key string) (value []byte, err error) {
	err = j.read(ctx, func(db *conn) error {
		r, ok, err := db.get("SELECT value FROM state WHERE key = ?", key)
		if err == nil && !ok {
			err = sinks.ErrNotFound
		}
		if ok {
			value = append([]byte{}, r.blob(0)...)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("state %q: %w", key, err)
	}
	return value, nil
}

// SetState stores value under key; nil deletes.
func (j *Journal) SetState(ctx context.Context, key string, value []byte) error {
	if err := sinks.CheckState(key, value); err != nil {
		return err
	}
	kept := append([]byte{}, value...) // the commit may come after ctx's end
	err := j.writer.write(ctx, func(db *conn) (err error) {
		if value == nil {
			_, err = db.exec("DELETE FROM state WHERE key = ?", key)
		} else {
			_, err = db.exec("INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)", key, kept)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("state %q: %w", key, err)
	}
	return nil
}

// StateKeys lists the keys that begin with prefix, sorted.
func (j *Journal) StateKeys(ctx context.Context, prefix string) (keys []string, err error) {
	err = j.read(ctx, func(db *conn) error {
		return db.query(ctx, func(r row) error {
			if key := r.text(0); len(key) >= len(prefix) && key[:len(prefix)] == prefix {
				keys = append(keys, key)
				return nil
			}
			return errStop
		}, "SELECT key FROM state WHERE key >= ? ORDER BY key", prefix)
	})
	if err != nil {
		return nil, fmt.Errorf("list states: %w", err)
	}
	return keys, nil
}
