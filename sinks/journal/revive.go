package journal

import (
	"context"
	"fmt"
	"slices"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// reviveStep is how many dead letters one transaction revives.
const reviveStep = 256

// Revive makes the events of dead letters pending again; see [sinks.Cursor].
func (c *cursor) Revive(ctx context.Context, q sinks.DeadQuery) (revived int, err error) {
	j := c.place.j
	q.Cursor = c.place.name
	letters, err := j.DeadLetters(ctx, q)
	if err != nil {
		return 0, fmt.Errorf("revive for cursor %s: %w", q.Cursor, err)
	}
	for step := range slices.Chunk(letters, reviveStep) {
		err := j.outside(func() error {
			n, err := j.writer.revive(c, step)
			revived += n
			return err
		})
		if err != nil {
			return revived, fmt.Errorf("revive for cursor %s: %w", q.Cursor, err)
		}
	}
	return revived, nil
}

// revive brings back the events of letters, in a transaction of its own: the letters go
// and what the cursor has settled changes together.
func (a *appender) revive(c *cursor, letters []sinks.DeadLetter) (int, error) {
	letters, err := a.present(letters)
	if err != nil {
		return 0, err
	}
	letters, err = c.place.revive(c, letters, a.j.oldest.Load())
	if err != nil || len(letters) == 0 {
		return 0, err
	}
	err = a.alone(func() error {
		a.deadChanged = true
		for i := range letters {
			if _, err := a.db.exec("DELETE FROM dead WHERE id = ?", letters[i].ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.place.rebury(letters)
		return 0, commitError(a.j.dir, err)
	}
	return len(letters), nil
}

// present returns those of letters that are still there: nobody but the appender removes
// them.
func (a *appender) present(letters []sinks.DeadLetter) (kept []sinks.DeadLetter, err error) {
	for _, d := range letters {
		_, ok, err := a.db.get("SELECT id FROM dead WHERE id = ? AND event IS NOT NULL", d.ID)
		if err != nil {
			return nil, err
		}
		if ok {
			kept = append(kept, d)
		}
	}
	return kept, nil
}

// revive makes pending again what c, if it still holds the cursor, has settled as dead
// and is stored from oldest on, and returns the letters of that.
func (p *place) revive(c *cursor, letters []sinks.DeadLetter, oldest uint64) (revived []sinks.DeadLetter, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holder != c {
		return nil, notifications.ErrClosed
	}
	for _, d := range letters {
		if d.Sequence >= oldest && p.ledger.Revive(d.Sequence) {
			revived = append(revived, d)
		}
	}
	if len(revived) > 0 {
		p.touch()
		c.signal()
	}
	return revived, nil
}

// rebury settles the events of letters as dead again: their revival could not be written.
func (p *place) rebury(letters []sinks.DeadLetter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range letters {
		p.ledger.Cut(d.Sequence, d.Sequence, sinks.DeadLettered)
	}
	if p.holder != nil {
		p.holder.signal()
	}
}
