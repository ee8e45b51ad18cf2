package auth

import (
	"context"
	"errors"
	"sync"
)

// flights lets those who ask for the same thing at the same time share one answer. The
// first to ask does the work, in its own goroutine and under its own context; when that
// context ends, the next takes over. Who asks after an answer has landed asks anew: work
// looks first whether the answer was kept. The zero value is ready.
type flights[T any] struct {
	mu     sync.Mutex
	flying map[string]*flight[T]
}

type flight[T any] struct {
	landed chan struct{} // closed when value and err are there
	value  T
	err    error
	// abandoned: the context of who did the work ended, which says nothing to others.
	abandoned bool
}

// do returns what work returns, or what another's work for the same key did.
func (f *flights[T]) do(ctx context.Context, key string, work func(context.Context) (T, error)) (T, error) {
	for {
		f.mu.Lock()
		shared, found := f.flying[key]
		if !found {
			own := &flight[T]{landed: make(chan struct{}), err: errors.New("auth: the work panicked")}
			if f.flying == nil {
				f.flying = make(map[string]*flight[T])
			}
			f.flying[key] = own
			f.mu.Unlock()
			defer func() {
				f.mu.Lock()
				delete(f.flying, key)
				f.mu.Unlock()
				close(own.landed)
			}()
			own.value, own.err = work(ctx)
			own.abandoned = own.err != nil && ctx.Err() != nil
			return own.value, own.err
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		case <-shared.landed:
		}
		if !shared.abandoned {
			return shared.value, shared.err
		}
	}
}
