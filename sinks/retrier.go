package sinks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regcast/regcast/notifications"
)

// RetrierOptions tell a [Retrier] when to try again and when to give up. nil means the
// defaults.
type RetrierOptions struct {
	Backoff       Backoff       // the wait after each failure
	MaxAttempts   int           // give up after so many; 0: never
	MaxElapsed    time.Duration // give up rather than begin an attempt later than this after the first; 0: never
	MaxRetryAfter time.Duration // the longest wait that an error may ask for; 0: 1 h, negative: none

	// OnReject takes what is given up on: a batch that was refused for good, or was tried
	// as often or as long as allowed, with the last error. If it returns nil the batch is
	// its own now and Write returns nil. It must not keep the slice and is called
	// concurrently by concurrent Writes. nil: Write returns the error.
	OnReject func(ctx context.Context, batch []*notifications.Event, err error) error
}

// A Retrier offers a batch again until it is taken. Batches do not wait for each other,
// so order is kept only by a caller that writes one after the other, as a [Queue] does.
// A batch in trouble holds up that caller: behind an engine it is [Deliver] that retries.
//
// It keeps nothing between writes, is safe for concurrent use, does not own its
// destination and needs no shutdown.
type Retrier struct {
	dst  notifications.Sink
	opts RetrierOptions
}

// NewRetrier returns a retrier in front of dst.
func NewRetrier(dst notifications.Sink, opts *RetrierOptions) *Retrier {
	r := &Retrier{dst: dst}
	if opts != nil {
		r.opts = *opts
	}
	r.opts.MaxRetryAfter = cmp.Or(r.opts.MaxRetryAfter, time.Hour)
	return r
}

// Write offers batch until dst takes it, refuses it for good or is closed, or until ctx
// ends. Between two attempts it waits for the backoff, or for as long as the error asks
// by a method RetryAfter() time.Duration if that is longer.
//
// Errors: ErrClosed as soon as dst returns it; the cause of ctx's end, joined with the
// last error of dst; what OnReject returns, or without it the error that the batch was
// given up for.
func (r *Retrier) Write(ctx context.Context, batch []*notifications.Event) error {
	started := time.Now()
	for attempt := 1; ; attempt++ {
		err := r.dst.Write(ctx, batch)
		switch {
		case err == nil || isClosed(err):
			return err
		case notifications.IsPermanent(err):
			return r.reject(ctx, batch, err)
		case ctx.Err() != nil:
			return interrupted(ctx, err)
		}
		wait := r.wait(attempt, err)
		if r.exhausted(attempt, time.Since(started)+wait) {
			return r.reject(ctx, batch, fmt.Errorf("given up after %d attempts: %w", attempt, err))
		}
		if !sleep(ctx, wait) {
			return interrupted(ctx, err)
		}
	}
}

// Wants tells whether the destination wants e.
func (r *Retrier) Wants(e *notifications.Event) bool { return notifications.Wants(r.dst, e) }

func (r *Retrier) wait(failures int, err error) time.Duration {
	asked, _ := RetryAfter(err)
	return max(r.opts.Backoff.Delay(failures), min(asked, r.opts.MaxRetryAfter))
}

func (r *Retrier) exhausted(attempts int, elapsed time.Duration) bool {
	return r.opts.MaxAttempts > 0 && attempts >= r.opts.MaxAttempts ||
		r.opts.MaxElapsed > 0 && elapsed > r.opts.MaxElapsed
}

func (r *Retrier) reject(ctx context.Context, batch []*notifications.Event, err error) error {
	if r.opts.OnReject == nil {
		return err
	}
	if failed := r.opts.OnReject(ctx, batch, err); failed != nil {
		// The refusal is told, not wrapped: whether to offer the batch again is now a
		// question of what befell OnReject.
		return fmt.Errorf("putting away a batch that was refused (%v): %w", err, failed)
	}
	return nil
}

// interrupted joins why ctx ended with the last error, which says more.
func interrupted(ctx context.Context, last error) error {
	if errors.Is(last, context.Cause(ctx)) {
		return last
	}
	return fmt.Errorf("%w, after: %w", context.Cause(ctx), last)
}

// sleep waits for d and returns false at once when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
