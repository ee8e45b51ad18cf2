package sinks

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regcast/regcast/notifications"
)

// A Broadcaster offers each batch to several sinks.
//
// It offers to one after the other, in the order in which they were added, and starts no
// goroutine: a sink that takes its time delays those after it until ctx ends, but takes
// nothing away from them, because they are offered the batch even then. So each branch
// begins with a [Queue], whose Write is a matter of nanoseconds and, unless it is to
// Block, never waits.
//
// The zero value has no sinks. A Broadcaster is safe for concurrent use, does not own its
// sinks and needs no shutdown.
type Broadcaster struct {
	mu    sync.Mutex                           // held by Add and Remove
	sinks atomic.Pointer[[]notifications.Sink] // replaced, never changed
}

// NewBroadcaster returns a broadcaster to dst. Without any it accepts everything and
// wants nothing.
func NewBroadcaster(dst ...notifications.Sink) *Broadcaster {
	b := &Broadcaster{}
	b.store(slices.Clone(dst))
	return b
}

// Add lets dst have the batches of later writes.
func (b *Broadcaster) Add(dst notifications.Sink) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.store(append(slices.Clone(b.load()), dst))
}

// Remove ends what Add or [NewBroadcaster] began and tells whether dst was there. A write
// in flight may still reach it. A sink whose type is not comparable is not found.
func (b *Broadcaster) Remove(dst notifications.Sink) bool {
	if !reflect.ValueOf(dst).Comparable() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.load(), dst)
	if i < 0 {
		return false
	}
	b.store(slices.Delete(slices.Clone(b.load()), i, i+1))
	return true
}

func (b *Broadcaster) load() []notifications.Sink {
	if p := b.sinks.Load(); p != nil {
		return *p
	}
	return nil
}

func (b *Broadcaster) store(sinks []notifications.Sink) { b.sinks.Store(&sinks) }

// Write offers batch to every sink, whatever the others answer.
// Errors: a [*BroadcastError] if any sink returned one. Offering the batch again offers
// it also to those that took it.
func (b *Broadcaster) Write(ctx context.Context, batch []*notifications.Event) error {
	var errs []error
	for _, dst := range b.load() {
		if err := dst.Write(ctx, batch); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &BroadcastError{errs}
}

// Wants tells whether any of the sinks wants e.
func (b *Broadcaster) Wants(e *notifications.Event) bool {
	return slices.ContainsFunc(b.load(), func(dst notifications.Sink) bool {
		return notifications.Wants(dst, e)
	})
}

// A BroadcastError holds what the sinks of a [Broadcaster] that did not take a batch
// returned. errors.Is and errors.As find what any of them holds, with two exceptions: it
// is [notifications.ErrClosed] only if all of them are, and permanent only if nothing is
// gained by offering the batch again, which is when each of them is permanent or
// ErrClosed. A sink that is closed will not take it either: if it counted as "again
// later", a [Retrier] in front of one sink that refuses the batch and one that is closed
// would try for ever. And it is no reason to end the writer, who may have batches that
// the others take. Hence it does not unwrap.
type BroadcastError struct{ errs []error }

// Errors returns the errors, in the order of the sinks; the caller must not change them.
func (e *BroadcastError) Errors() []error { return e.errs }

// Error joins the messages.
func (e *BroadcastError) Error() string {
	messages := make([]string, len(e.errs))
	for i, err := range e.errs {
		messages[i] = err.Error()
	}
	return strings.Join(messages, "; ")
}

// Permanent tells whether no sink would take the batch if it were offered again.
func (e *BroadcastError) Permanent() bool {
	return !isClosed(e) && e.all(func(err error) bool {
		return notifications.IsPermanent(err) || isClosed(err)
	})
}

// RetryAfter is the longest wait that a sink asked for; 0 if none did.
func (e *BroadcastError) RetryAfter() time.Duration {
	var longest time.Duration
	for _, err := range e.errs {
		wait, _ := RetryAfter(err)
		longest = max(longest, wait)
	}
	return longest
}

// Is tells whether any of the errors is target; of ErrClosed, whether all are.
func (e *BroadcastError) Is(target error) bool {
	if target == notifications.ErrClosed {
		return e.all(isClosed)
	}
	return slices.ContainsFunc(e.errs, func(err error) bool { return errors.Is(err, target) })
}

// As finds the first of the errors that matches target.
func (e *BroadcastError) As(target any) bool {
	return slices.ContainsFunc(e.errs, func(err error) bool { return errors.As(err, target) })
}

func (e *BroadcastError) all(is func(error) bool) bool {
	return !slices.ContainsFunc(e.errs, func(err error) bool { return !is(err) })
}

func isClosed(err error) bool { return errors.Is(err, notifications.ErrClosed) }
