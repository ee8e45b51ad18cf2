package journal

import (
	"context"
	"fmt"
	"slices"
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
	return a.cut("dead", a.j.opts.DeadBytes, a.j.metrics.cutDead,
		"SELECT coalesce(sum(bytes), 0) FROM dead_tally",
		"DELETE FROM dead WHERE id IN (SELECT id FROM dead ORDER BY id LIMIT ?)")
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
	return a.cut("quarantine", a.j.opts.QuarantineBytes, a.j.metrics.cutQuarantined,
		"SELECT bytes FROM quarantine_tally",
		"DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine ORDER BY id LIMIT ?)")
}

// quarantineCost is what a body counts for, in bytes.
func quarantineCost(q *notifications.Quarantined) int { return 256 + len(q.Detail) + len(q.Body) }

// cut removes the oldest rows of a table until it is within limit bytes.
func (a *appender) cut(table string, limit int64, counter addable, size, remove string) error {
	removed := 0
	for {
		r, _, err := a.db.get(size)
		if err != nil {
			return err
		}
		over := r.int(0) > limit
		if !over && removed == 0 {
			return nil
		}
		if !over {
			break
		}
		n, err := a.db.exec(remove, cutRows)
		if err != nil {
			return err
		}
		if removed += n; n == 0 {
			break
		}
	}
	counter.Add(float64(removed))
	a.j.log.Error("oldest entries were removed to keep the bound", "table", table, "removed", removed, "bytes", limit)
	return nil
}

// addable is what cut needs of a counter.
type addable interface{ Add(float64) }

// readSettled calls f with a reading connection, after what is settled was made durable.
func (j *Journal) readSettled(ctx context.Context, f func(*conn) error) error {
	if err := j.writer.flush(ctx); err != nil {
		return err
	}
	return j.read(ctx, f)
}

// DeadLetters lists dead letters, oldest first.
func (j *Journal) DeadLetters(ctx context.Context, q sinks.DeadQuery) (list []sinks.DeadLetter, err error) {
	limit := q.Limit
	if limit <= 0 {
		limit = defaultList
	}
	err = j.readSettled(ctx, func(db *conn) error {
		return db.query(ctx, func(r row) error {
			d := sinks.DeadLetter{
				ID: r.uint(0), Cursor: r.text(1), Reason: sinks.DeadReason(r.text(2)),
				Sequence: r.uint(3), Last: r.uint(4), Count: r.uint(5),
				Attempts: int(r.int(6)), FirstAttempt: fromMicros(r.int(7)), LastAttempt: fromMicros(r.int(8)),
				Status: int(r.int(9)), Error: r.text(10), Excerpt: r.blob(11), Buried: fromMicros(r.int(12)),
			}
			if json := r.blob(15); json != nil {
				e, err := notifications.RestoreEvent(string(json))
				if err != nil {
					return fmt.Errorf("%w: dead letter %d: %w", errDamaged, d.ID, err)
				}
				e.Provenance = notifications.Provenance{Format: r.text(13), Sender: r.text(14)}
				d.Event = e
			}
			list = append(list, d)
			return nil
		}, `SELECT id, cursor, reason, sequence, last, count, attempts, first_attempt, last_attempt, status, error, excerpt, buried, format, sender, event
			FROM dead WHERE id > ?1 AND (?2 = '' OR cursor = ?2) AND (?3 = '' OR reason = ?3) ORDER BY id LIMIT ?4`,
			q.After, q.Cursor, string(q.Reason), limit)
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
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
			n = 0
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

// DeadCount counts the dead letters of a cursor, by reason.
func (j *Journal) DeadCount(ctx context.Context, cursor string) (map[sinks.DeadReason]uint64, error) {
	counts := make(map[sinks.DeadReason]uint64)
	err := j.readSettled(ctx, func(db *conn) error {
		return db.query(ctx, func(r row) error {
			counts[sinks.DeadReason(r.text(0))] = r.uint(1)
			return nil
		}, "SELECT reason, count FROM dead_tally WHERE cursor = ?", cursor)
	})
	if err != nil {
		return nil, fmt.Errorf("count dead letters of %s: %w", cursor, err)
	}
	return counts, nil
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
