// Package backoff is how a client of registries waits between attempts.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Exponential is the waiting time that most clients of registries have: it doubles from
// 250 ms to 5 s, and a random quarter of it is taken away so that clients spread out.
// Attempts count from 1.
func Exponential(attempt int) time.Duration {
	wait := 250 * time.Millisecond << min(attempt-1, 10)
	wait = min(wait, 5*time.Second)
	return wait - rand.N(wait/4)
}

// Pause waits, or returns why the context ended before.
func Pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
