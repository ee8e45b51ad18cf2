package journal

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// A cursor is what the holder of a place has. The next holder gets another, so that a
// former one cannot settle what is not his any more.
type cursor struct {
	place   *place
	changed chan struct{} // of capacity 1: something was released or settled, or the cursor closed
}

// signal wakes a Claim that waits.
func (c *cursor) signal() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Name is the cursor's name.
func (c *cursor) Name() string { return c.place.name }

// Claim lends the oldest events that are free, and waits for at least one.
func (c *cursor) Claim(ctx context.Context, into []sinks.Delivery) (int, error) {
	if len(into) == 0 {
		return 0, ctx.Err()
	}
	j := c.place.j
	var from *span
	var missed uint64
	for {
		if err := j.open(ctx); err != nil {
			return 0, err
		}
		news := j.newsOf()
		n, want, due, err := c.lend(into, from)
		if n > 0 || err != nil {
			return n, err
		}
		if want > 0 {
			if from, err = j.span(ctx, want); err != nil {
				return 0, fmt.Errorf("read event %d for cursor %s: %w", want, c.place.name, err)
			}
			if from == nil && missed == want { // else retention took it, and the cursor has gone on
				return 0, fmt.Errorf("cursor %s: %w", c.place.name, damaged(j.dir, fmt.Errorf("%w: event %d is missing", errDamaged, want)))
			}
			missed = want
			continue
		}
		if err := c.wait(ctx, news, due); err != nil {
			return 0, err
		}
	}
}

// lend fills into with free events, from those in memory and in from. If the first free
// one is in neither it is want, to be read from the file. With nothing free, due is when
// a parked event will be, zero for never.
func (c *cursor) lend(into []sinks.Delivery, from *span) (n int, want uint64, due time.Time, err error) {
	p := c.place
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holder != c {
		return 0, 0, due, notifications.ErrClosed
	}
	now, newest := time.Now(), p.j.newest.Load()
	for n < len(into) {
		s, ok := p.ledger.Next(now, newest)
		if !ok {
			break
		}
		if from == nil || !from.has(s) {
			if from = p.j.tail.find(s); from == nil {
				if n == 0 {
					want = s
				}
				return n, want, due, nil
			}
		}
		e := &from.events[s-from.first]
		d := &into[n]
		*d = sinks.Delivery{Event: e.event, Sequence: s, Stored: fromMicros(e.at), Size: e.size}
		d.Tries, d.Parked = p.ledger.Lend(s)
		n++
	}
	if n == 0 && p.ledger.Done() {
		return 0, 0, due, io.EOF
	}
	due, _ = p.ledger.NextDue()
	return n, 0, due, nil
}

// wait returns when something may be free.
func (c *cursor) wait(ctx context.Context, news <-chan struct{}, due time.Time) error {
	var timer <-chan time.Time
	if !due.IsZero() {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-news:
	case <-c.changed:
	case <-timer:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.place.j.stopping:
		return notifications.ErrClosed
	}
	return nil
}

// Settle ends loans, in memory; the next commit but one at the latest makes it durable.
// With notifications.ErrFull nothing was settled: the disk is full, and too many dead
// letters wait to be written already.
func (c *cursor) Settle(settlements ...sinks.Settlement) error {
	p := c.place
	if err := p.j.open(context.Background()); err != nil {
		return err
	}
	letters, bytes, err := p.letters(settlements)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holder != c {
		return notifications.ErrClosed
	}
	if bytes > 0 && p.deadBytes > 0 && p.deadBytes+bytes > pendingDead {
		return fmt.Errorf("settle for cursor %s: %w: its dead letters wait to be written", p.name, notifications.ErrFull)
	}
	for i, s := range settlements {
		if !p.ledger.Settle(s) {
			continue
		}
		p.note(s)
		if letters != nil && letters[i] != nil {
			p.dead = append(p.dead, letters[i])
			p.deadBytes += deadCost(letters[i])
		}
		p.touch()
	}
	c.signal()
	return nil
}

// note keeps what the table parked has to learn of s. The caller holds mu.
func (p *place) note(s sinks.Settlement) {
	if s.Outcome == sinks.Parked {
		p.parked[s.Sequence] = s.Until
		return
	}
	if s.Outcome == sinks.Released {
		return
	}
	if len(p.parked) > 0 {
		delete(p.parked, s.Sequence)
	}
	if len(p.rows) > 0 {
		if _, ok := p.rows[s.Sequence]; ok {
			p.left = append(p.left, s.Sequence)
		}
	}
}

// letters makes the dead letters of settlements ready to be written: nil where there is
// none.
func (p *place) letters(settlements []sinks.Settlement) (letters []*sinks.DeadLetter, bytes int, err error) {
	for i, s := range settlements {
		if s.Outcome != sinks.DeadLettered {
			continue
		}
		if letters == nil {
			letters = make([]*sinks.DeadLetter, len(settlements))
		}
		d := sinks.DeadLetter{Reason: sinks.DeadManual}
		if s.Dead != nil {
			d = *s.Dead
		}
		d.Sequence, d.Last, d.Count = s.Sequence, 0, 1
		if d.Event == nil {
			e, err := p.j.find(context.Background(), s.Sequence)
			if err != nil {
				return nil, 0, fmt.Errorf("settle for cursor %s: read event %d: %w", p.name, s.Sequence, err)
			}
			if e != nil {
				d.Event = e.event
			}
		}
		d.Excerpt = append([]byte(nil), d.Excerpt[:min(len(d.Excerpt), sinks.MaxExcerpt)]...)
		letters[i] = &d
		bytes += deadCost(&d)
	}
	return letters, bytes, nil
}

// Close returns all loans.
func (c *cursor) Close() error {
	p := c.place
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holder == c {
		p.ledger.ReturnAll()
		p.holder = nil
		c.signal()
	}
	return nil
}
