package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/sinks"
)

// Cursor opens the cursor of that name, and creates it first if there is none. An
// existing one takes over Required and To of opts; it is not retired any more.
func (j *Journal) Cursor(ctx context.Context, name string, opts *sinks.CursorOptions) (sinks.Cursor, error) {
	if !sinks.ValidCursorName(name) {
		return nil, fmt.Errorf("%w: %q", sinks.ErrName, name)
	}
	if opts == nil {
		opts = &sinks.CursorOptions{}
	}
	j.places.Lock()
	defer j.places.Unlock()
	if err := j.open(ctx); err != nil {
		return nil, err
	}
	p := j.places.byName[name]
	if p == nil {
		var err error
		if p, err = j.createPlace(ctx, name, opts); err != nil {
			return nil, fmt.Errorf("create cursor %s: %w", name, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holder != nil {
		return nil, fmt.Errorf("%w: %s", sinks.ErrInUse, name)
	}
	p.holder = &cursor{place: p, changed: make(chan struct{}, 1)}
	p.ledger.SetEnd(opts.To)
	if p.required != opts.Required || p.retired {
		p.required, p.retired = opts.Required, false
		p.touch()
	}
	if n := p.evictLocked(j.oldest.Load() - 1); n > 0 { // what went while it was bounded and done
		j.log.Warn("events expired that a bounded cursor had left", "cursor", name, "events", n)
	}
	return p.holder, nil
}

// createPlace stores a new cursor. The caller holds j.places.
func (j *Journal) createPlace(ctx context.Context, name string, opts *sinks.CursorOptions) (*place, error) {
	next := j.newest.Load() + 1
	from, err := opts.From.Resolve(j.oldest.Load(), next, func(t time.Time) (uint64, error) { return j.sequenceAt(ctx, t) })
	if err != nil {
		return nil, err
	}
	var p *place
	r := newRequest()
	r.op = func(db *conn) error {
		from = max(from, j.oldest.Load()) // retention may have gone on
		id, err := db.insert("INSERT INTO cursor (name, start, low, required, retired, delivered, filtered, dead, evicted, dropped) VALUES (?, ?, ?, ?, 0, 0, 0, 0, 0, 0)",
			name, from, from-1, opts.Required)
		p = j.newPlace(id, name, sinks.NewLedger(from-1))
		p.required = opts.Required
		return err
	}
	// In the commit, so that retention knows of it from the next one on.
	r.committed = func() { j.writer.places = append(j.writer.places, p) }
	// To the end, whatever becomes of ctx: the row must not be there without the place.
	if err := j.writer.do(context.WithoutCancel(ctx), r); err != nil {
		return nil, err
	}
	j.places.byName[name] = p
	return p, nil
}

// Settled tells whether a cursor is done with an event; see [sinks.Searcher].
func (j *Journal) Settled(ctx context.Context, cursor string, sequence uint64) (bool, error) {
	if err := j.open(ctx); err != nil {
		return false, err
	}
	j.places.Lock()
	p := j.places.byName[cursor]
	j.places.Unlock()
	if p == nil {
		return false, fmt.Errorf("cursor %q: %w", cursor, sinks.ErrNotFound)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ledger.Progress().Settled(sequence), nil
}

// CursorInfos lists all cursors by name.
func (j *Journal) CursorInfos(ctx context.Context) ([]sinks.CursorInfo, error) {
	if err := j.open(ctx); err != nil {
		return nil, err
	}
	j.places.Lock()
	places := make([]*place, 0, len(j.places.byName))
	for _, p := range j.places.byName {
		places = append(places, p)
	}
	j.places.Unlock()
	slices.SortFunc(places, func(a, b *place) int { return strings.Compare(a.name, b.name) })
	infos := make([]sinks.CursorInfo, 0, len(places))
	for _, p := range places {
		p.mu.Lock()
		info := p.ledger.Info(j.newest.Load())
		info.Name, info.Held = p.name, p.holder != nil
		p.mu.Unlock()
		if info.Pending > 0 {
			s, err := j.find(ctx, max(info.LowWater+1, j.oldest.Load()))
			if err != nil {
				return nil, fmt.Errorf("list cursors: %w", err)
			}
			if s != nil {
				info.OldestPending = fromMicros(s.at)
			}
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// RetireCursor lets a cursor keep its place but hold nothing back.
func (j *Journal) RetireCursor(ctx context.Context, name string) error {
	return j.unheld(ctx, name, func(p *place) error {
		p.mu.Lock()
		p.retired = true
		p.touch()
		p.mu.Unlock()
		return j.writer.flush(ctx)
	})
}

// DeleteCursor forgets a cursor; its dead letters stay.
func (j *Journal) DeleteCursor(ctx context.Context, name string) error {
	err := j.unheld(ctx, name, func(p *place) error {
		if err := j.writer.flush(ctx); err != nil { // its dead letters
			return err
		}
		r := newRequest()
		r.op = func(db *conn) error {
			for _, q := range []string{
				"DELETE FROM cursor WHERE id = ?", "DELETE FROM settled WHERE cursor = ?", "DELETE FROM parked WHERE cursor = ?",
			} {
				if _, err := db.exec(q, p.id); err != nil {
					return err
				}
			}
			return nil
		}
		r.committed = func() {
			j.writer.places = slices.DeleteFunc(j.writer.places, func(q *place) bool { return p == q })
		}
		if err := j.writer.do(context.WithoutCancel(ctx), r); err != nil {
			return err
		}
		delete(j.places.byName, name)
		return nil
	})
	if errors.Is(err, sinks.ErrNotFound) {
		return nil
	}
	return err
}

// unheld calls f with the cursor of that name, which nobody holds and nobody opens
// meanwhile.
func (j *Journal) unheld(ctx context.Context, name string, f func(*place) error) error {
	j.places.Lock()
	defer j.places.Unlock()
	if err := j.open(ctx); err != nil {
		return err
	}
	p := j.places.byName[name]
	if p == nil {
		return fmt.Errorf("cursor %s: %w", name, sinks.ErrNotFound)
	}
	p.mu.Lock()
	held := p.holder != nil
	p.mu.Unlock()
	if held {
		return fmt.Errorf("%w: %s", sinks.ErrInUse, name)
	}
	return f(p)
}
