package sinks

import (
	"errors"
	"math/rand/v2"
	"time"
)

// A Backoff says how long to wait after failures: twice as long after each, up to a
// bound, less a random part so that those who failed together do not come back together.
// The zero value is ready to use.
type Backoff struct {
	Initial time.Duration // after the first failure; 0: 1 s
	Max     time.Duration // never more; 0: 60 s, or Initial if that is longer
}

// Delay is how long to wait after that many failures in a row: Initial doubled for each
// failure but the first, at most Max, times a random factor of 0.5 to 1 ("equal jitter":
// unlike with a factor from 0, nobody comes back at once). It is 0 for no failure.
func (b Backoff) Delay(failures int) time.Duration {
	d := b.ceiling(failures)
	return d/2 + rand.N(d-d/2+1)
}

// ceiling is Delay without its random part.
func (b Backoff) ceiling(failures int) time.Duration {
	if failures <= 0 {
		return 0
	}
	d := b.Initial
	if d <= 0 {
		d = time.Second
	}
	limit := b.Max
	if limit <= 0 {
		limit = max(time.Minute, d)
	}
	for range failures - 1 {
		if d > limit-d { // 2*d might overflow
			return limit
		}
		d *= 2
	}
	return min(d, limit)
}

// RetryAfter returns how long err, or an error that it wraps, asks to wait before the
// next try, by a method RetryAfter() time.Duration. The wait is positive if ok.
func RetryAfter(err error) (wait time.Duration, ok bool) {
	var asked interface{ RetryAfter() time.Duration }
	if !errors.As(err, &asked) {
		return 0, false
	}
	wait = max(asked.RetryAfter(), 0)
	return wait, wait > 0
}
