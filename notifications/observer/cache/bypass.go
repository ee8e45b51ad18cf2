package cache

import (
	"context"
	"errors"
	"maps"
	"time"
)

// bypass tells whether the cache must not be asked. Once in RetryEvery it first repeats the
// Clears that failed.
func (r *ReadThrough) bypass(ctx context.Context) bool {
	if !r.bypassed.Load() {
		return false
	}
	r.mu.Lock()
	due := !time.Now().Before(r.retry)
	if due {
		r.retry = time.Now().Add(RetryEvery)
	}
	r.mu.Unlock()
	if due {
		r.settle(ctx)
	}
	return r.bypassed.Load()
}

// owe remembers a Clear that failed.
func (r *ReadThrough) owe(e entry, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if _, known := r.owed[e]; !known && len(r.owed) == MaxOwed {
		r.distrust = now.Add(r.opts.Lifetime)
		r.forever = r.forever || r.opts.Lifetime == 0
	} else {
		r.failures++
		r.owed[e] = r.failures
	}
	r.retry = now.Add(RetryEvery)
	if r.bypassed.CompareAndSwap(false, true) {
		r.metrics.bypass.Set(1)
		r.opts.Logger.Warn("descriptor cache bypassed: it could not be told to forget", "error", err)
	}
}

// paid notes that a Clear of e succeeded that began when failure was the last to fail. A
// later failure is still owed.
func (r *ReadThrough) paid(e entry, failure uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owed[e] == failure {
		delete(r.owed, e)
	}
}

// settle repeats the Clears that failed until one fails again, and ends the bypass when
// none is left.
func (r *ReadThrough) settle(ctx context.Context) {
	r.mu.Lock()
	owed := maps.Clone(r.owed)
	r.mu.Unlock()
	for e, failure := range owed {
		if !r.repeat(ctx, e) {
			return
		}
		r.paid(e, failure)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.owed) > 0 || r.forever || time.Now().Before(r.distrust) {
		return
	}
	if r.bypassed.CompareAndSwap(true, false) {
		r.metrics.bypass.Set(0)
		r.opts.Logger.Info("descriptor cache used again")
	}
}

// repeat has the cache forget what it could not before.
func (r *ReadThrough) repeat(ctx context.Context, e entry) bool {
	t := through{r: r, cached: r.cache, name: e.repository}
	if e.repository != "" {
		cached, err := r.cache.Repository(e.repository)
		if err != nil {
			return false // the name was valid before
		}
		t.cached = cached
	}
	err := t.clear(ctx, e.dgst)
	return err == nil || errors.Is(err, ErrUnknown)
}
