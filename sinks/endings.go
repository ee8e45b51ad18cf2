package sinks

import (
	"errors"
	"time"

	"github.com/regcast/regcast/notifications"
)

// endings are loans that have ended and are not settled yet.
type endings struct {
	settlements []Settlement
	told        [Outcomes][]Delivery // for OnSettle
	bytes       int                  // of their events
	refusals    int                  // in a row: the engine had no room
	at          time.Time            // when to try again; zero without refusals
}

func (e *endings) add(d Delivery, s Settlement) {
	e.settlements = append(e.settlements, s)
	e.bytes += d.Size
	switch s.Outcome {
	case Delivered, Filtered, DeadLettered:
		e.told[s.Outcome] = append(e.told[s.Outcome], d)
	}
}

// settle tells the cursor, and then onSettle, how the loans have ended. After an error
// they are kept, to be settled by a later call.
func (e *endings) settle(cur Cursor, onSettle func(Outcome, []Delivery)) error {
	if len(e.settlements) == 0 {
		return nil
	}
	if err := cur.Settle(e.settlements...); err != nil {
		return err
	}
	clear(e.settlements)
	for o, told := range e.told {
		if onSettle != nil && len(told) > 0 {
			onSettle(Outcome(o), told)
		}
		clear(told)
		e.told[o] = told[:0]
	}
	e.settlements, e.bytes, e.refusals, e.at = e.settlements[:0], 0, 0, time.Time{}
	return nil
}

// trySettle is settle, but has it tried again later when the engine has no room.
func (e *endings) trySettle(now time.Time, cur Cursor, onSettle func(Outcome, []Delivery)) error {
	if now.Before(e.at) {
		return nil
	}
	err := e.settle(cur, onSettle)
	if errors.Is(err, notifications.ErrFull) {
		e.refusals++
		e.at = now.Add(Backoff{Initial: 100 * time.Millisecond, Max: 5 * time.Second}.Delay(e.refusals))
		return nil
	}
	return err
}

// release has what could not be settled come again.
func (e *endings) release() {
	for i, s := range e.settlements {
		e.settlements[i] = Settlement{Sequence: s.Sequence, Outcome: Released}
	}
	e.told = [Outcomes][]Delivery{}
}

// settle ends the loans that can be ended now. Those with a dead letter are told apart:
// the engine may have no room for letters until the rest is settled.
func (c *courier) settle(now time.Time) error {
	if err := c.marks.trySettle(now, c.cur, c.opts.OnSettle); err != nil {
		return err
	}
	return c.letters.trySettle(now, c.cur, c.opts.OnSettle)
}

// settleLast is settle at the end of delivery, with no time to wait for room: what is to
// be a dead letter is given back and comes again.
func (c *courier) settleLast() error {
	err := c.marks.settle(c.cur, c.opts.OnSettle)
	if failed := c.letters.settle(c.cur, c.opts.OnSettle); errors.Is(failed, notifications.ErrFull) {
		c.letters.release()
		err = errors.Join(err, c.letters.settle(c.cur, nil))
	} else {
		err = errors.Join(err, failed)
	}
	return err
}

// refused tells whether the engine has no room for endings now, so that there may be
// room in the window as soon as it has.
func (c *courier) refused() bool { return c.marks.refusals+c.letters.refusals > 0 }

// unsettled is what waits for room: events, and bytes of them.
func (c *courier) unsettled() (events, bytes int) {
	for _, e := range [...]*endings{&c.marks, &c.letters} {
		if e.refusals > 0 {
			events += len(e.settlements)
			bytes += e.bytes
		}
	}
	return events, bytes
}

// end notes how the loan of d has ended.
func (c *courier) end(d Delivery, s Settlement) {
	if s.Dead != nil {
		c.letters.add(d, s)
	} else {
		c.marks.add(d, s)
	}
}
