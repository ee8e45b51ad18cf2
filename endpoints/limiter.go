package endpoints

import "time"

// A limiter finds how many requests an endpoint takes at a time: more while it accepts
// them, half when it is overloaded, one after a hold. Up to the threshold it grows by
// one with each success (slow start), above by one when as many have succeeded as are
// let in flight. The threshold is half of where it was too much, as TCP does it
// (RFC 5681, 3.1).
type limiter struct {
	most      int // what it never exceeds
	limit     int
	threshold int
	successes int       // since limit changed
	cutAt     time.Time // when it was cut last
}

func newLimiter(most int) limiter { return limiter{most: most, limit: most, threshold: most} }

// succeeded counts a request that was accepted.
func (l *limiter) succeeded() {
	if l.limit >= l.most {
		return
	}
	if l.successes++; l.limit < l.threshold || l.successes >= l.limit {
		l.limit++
		l.successes = 0
	}
}

// overloaded halves the limit because of a request that began at started. Of those that
// were in flight together only one counts: all of them tell the same.
func (l *limiter) overloaded(started, now time.Time) {
	if started.Before(l.cutAt) {
		return
	}
	l.cutAt = now
	l.limit = max(l.limit/2, 1)
	l.threshold = l.limit
	l.successes = 0
}

// restart begins with one request, and grows fast to half of what is allowed.
func (l *limiter) restart() {
	l.limit, l.threshold, l.successes = 1, max(l.most/2, 1), 0
}
