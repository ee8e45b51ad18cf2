package sinks

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
)

const (
	deadPage  = 256  // dead letters that are read at once, at most
	deadAside = 1024 // that a cursor keeps parked
)

// DeadLetterStore is what [NewDeadCursor] needs of an engine.
type DeadLetterStore interface {
	DeadLetters(ctx context.Context, q DeadQuery) ([]DeadLetter, error)
	DropDead(ctx context.Context, ids ...uint64) (int, error)
}

// DeadCursorOptions are what an engine tells [NewDeadCursor].
type DeadCursorOptions struct {
	Name   string
	Query  DeadQuery
	Newest uint64          // ID of the newest letter: what is buried later is not lent
	Ended  <-chan struct{} // closed when the engine shuts down
	Closed func()          // called once, when the holder closes the cursor
}

// NewDeadCursor returns the cursor over the dead letters in store that [Morgue] promises,
// for engines. It starts nothing; its holder closes it.
func NewDeadCursor(store DeadLetterStore, o DeadCursorOptions) Cursor {
	if o.Query.Limit <= 0 {
		o.Query.Limit = math.MaxInt
	}
	if o.Query.To == 0 || o.Query.To > o.Newest {
		o.Query.To = o.Newest
	}
	return &deadCursor{
		store: store, name: o.Name, rest: o.Query, done: o.Newest == 0, ended: o.Ended, onClose: o.Closed,
		loans:   make(map[uint64]*deadLoan),
		changed: make(chan struct{}, 1),
		closed:  make(chan struct{}),
	}
}

type deadCursor struct {
	store   DeadLetterStore
	name    string
	rest    DeadQuery // what was not read yet; of the one Claim at a time
	done    bool      // that is nothing
	ended   <-chan struct{}
	onClose func()
	once    sync.Once

	changed chan struct{} // of capacity 1: something was settled
	closed  chan struct{}

	mu    sync.Mutex
	loans map[uint64]*deadLoan // by sequence, until they are settled
	free  []*deadLoan          // of these, given back or due
	due   dueHeap[*deadLoan]   // of these, parked
}

// A deadLoan is an event with its dead letters: there are several if its cursor was
// deleted and made again.
type deadLoan struct {
	Delivery
	ids  []uint64
	lent bool
}

func (c *deadCursor) Name() string { return c.name }

func (c *deadCursor) Claim(ctx context.Context, into []Delivery) (int, error) {
	if len(into) == 0 {
		return 0, c.usable(ctx)
	}
	for {
		if err := c.usable(ctx); err != nil {
			return 0, err
		}
		n, due, pending := c.lendAgain(into)
		switch {
		case n > 0:
			return n, nil
		case !c.done:
			n, err := c.lendMore(ctx, into)
			if err != nil {
				return 0, fmt.Errorf("read dead letters for cursor %s: %w", c.name, err)
			}
			if n > 0 {
				return n, nil
			}
		case !pending:
			return 0, io.EOF
		default:
			if err := c.wait(ctx, due); err != nil {
				return 0, err
			}
		}
	}
}

func (c *deadCursor) usable(ctx context.Context) error {
	select {
	case <-c.closed:
		return notifications.ErrClosed
	case <-c.ended:
		return notifications.ErrClosed
	default:
		return ctx.Err()
	}
}

// lendAgain lends what came back. With none of it, it says when a parked event is due,
// zero for never, and whether anything is on loan or parked.
func (c *deadCursor) lendAgain(into []Delivery) (n int, due time.Time, pending bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for l, ok := c.due.pop(now); ok; l, ok = c.due.pop(now) {
		c.free = append(c.free, l)
	}
	for ; n < len(into) && n < len(c.free); n++ {
		c.free[n].lent = true
		into[n] = c.free[n].Delivery
	}
	c.free = c.free[n:]
	due, _ = c.due.next()
	return n, due, len(c.loans) > 0
}

// lendMore reads the next letters and lends their events.
func (c *deadCursor) lendMore(ctx context.Context, into []Delivery) (n int, err error) {
	q := c.rest
	q.Limit = min(q.Limit, len(into), deadPage)
	letters, err := c.store.DeadLetters(ctx, q)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range letters {
		d := &letters[i]
		c.rest.After = d.ID
		if d.Event == nil {
			continue // a range that was evicted has nothing to deliver
		}
		c.rest.Limit--
		if l := c.loans[d.Sequence]; l != nil {
			l.ids = append(l.ids, d.ID)
			continue
		}
		l := &deadLoan{ids: []uint64{d.ID}, lent: true, Delivery: Delivery{
			Event: d.Event, Sequence: d.Sequence, Stored: d.Buried, Size: d.Event.Size(), Parked: true,
		}}
		c.loans[d.Sequence] = l
		into[n] = l.Delivery
		n++
	}
	c.done = len(letters) < q.Limit || c.rest.Limit == 0
	return n, nil
}

// wait returns when something may be free or at its end.
func (c *deadCursor) wait(ctx context.Context, due time.Time) error {
	var timer <-chan time.Time
	if !due.IsZero() {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-c.changed:
	case <-timer:
	case <-c.closed:
	case <-c.ended:
	case <-ctx.Done():
	}
	return c.usable(ctx)
}

// Settle drops the letters of what was delivered, and leaves those of what was not.
func (c *deadCursor) Settle(settlements ...Settlement) error {
	if err := c.usable(context.Background()); err != nil {
		return err
	}
	if ids := c.delivered(settlements); len(ids) > 0 {
		if _, err := c.store.DropDead(context.Background(), ids...); err != nil {
			return fmt.Errorf("settle for cursor %s: %w", c.name, err)
		}
	}
	c.mu.Lock()
	for _, s := range settlements {
		c.settle(s)
	}
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return nil
}

func (c *deadCursor) delivered(settlements []Settlement) (ids []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range settlements {
		if l := c.loans[s.Sequence]; s.Outcome == Delivered && l != nil && l.lent {
			ids = append(ids, l.ids...)
		}
	}
	return ids
}

// settle ends a loan. The caller holds mu.
func (c *deadCursor) settle(s Settlement) {
	l := c.loans[s.Sequence]
	if l == nil || !l.lent {
		return
	}
	switch s.Outcome {
	case Parked:
		if len(c.due) >= deadAside {
			delete(c.loans, s.Sequence) // its letters stay for another cursor
			return
		}
		c.due.push(s.Until, l)
	case Released:
		c.free = append(c.free, l)
	case Delivered, Filtered, DeadLettered:
		delete(c.loans, s.Sequence)
		return
	default:
		return
	}
	l.lent = false
	l.Tries++
}

// Revive brings nothing back: no letter is this cursor's own.
func (c *deadCursor) Revive(context.Context, DeadQuery) (int, error) { return 0, nil }

// Close returns all loans: their letters stay.
func (c *deadCursor) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.onClose()
	})
	return nil
}
