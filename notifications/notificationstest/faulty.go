package notificationstest

import (
	"context"
	"sync"

	"github.com/regcast/regcast/notifications"
)

// A Fault decides the answer to a write: nil lets it pass. write counts from 1. A Fault
// is called by one goroutine at a time.
type Fault func(write int, batch []*notifications.Event) error

// Script answers the first writes with errs, in order, nil among them allowed, and lets
// all later ones pass.
func Script(errs ...error) Fault {
	return func(write int, _ []*notifications.Event) error {
		if write > len(errs) {
			return nil
		}
		return errs[write-1]
	}
}

// EveryNth answers every nth write with err: with n = 1 all of them. n must be positive.
func EveryNth(n int, err error) Fault {
	return func(write int, _ []*notifications.Event) error {
		if write%n != 0 {
			return nil
		}
		return err
	}
}

// Reject answers with err every write whose batch holds an event that match is true of.
func Reject(match func(*notifications.Event) bool, err error) Fault {
	return func(_ int, batch []*notifications.Event) error {
		for _, e := range batch {
			if match(e) {
				return err
			}
		}
		return nil
	}
}

// A Faulty sink fails when its [Fault] says so and hands over what is left.
type Faulty struct {
	dst   notifications.Sink
	fault Fault
	keep  bool

	mu     sync.Mutex
	writes int
}

// NewFaulty returns a sink in front of dst that fails as fault says. A nil dst takes
// everything. What fails does not reach dst.
func NewFaulty(dst notifications.Sink, fault Fault) *Faulty {
	return &Faulty{dst: dst, fault: fault}
}

// NewLossyAck is [NewFaulty] for acknowledgements that get lost: what fails has reached
// dst all the same.
func NewLossyAck(dst notifications.Sink, fault Fault) *Faulty {
	return &Faulty{dst: dst, fault: fault, keep: true}
}

// Write asks the Fault and, if it is nil, dst.
func (f *Faulty) Write(ctx context.Context, batch []*notifications.Event) error {
	fault := f.next(batch)
	if fault != nil && !f.keep {
		return fault
	}
	if err := pass(ctx, f.dst, batch); err != nil {
		return err
	}
	return fault
}

func (f *Faulty) next(batch []*notifications.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	return f.fault(f.writes, batch)
}

// Writes counts the writes so far, those that failed included.
func (f *Faulty) Writes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

// pass writes batch to dst, if there is one.
func pass(ctx context.Context, dst notifications.Sink, batch []*notifications.Event) error {
	if dst == nil {
		return ctx.Err()
	}
	return dst.Write(ctx, batch)
}
