package endpoints

import "time"

const (
	breakerRow     = 5                // failures in a row that open a breaker
	breakerLeast   = 10               // requests in the window before their share counts
	breakerWindow  = 30 * time.Second // what is counted: this long, in
	breakerBuckets = 30               // parts
)

// A breaker tells when an endpoint fails as such: five requests in a row, or half of at
// least ten within 30 s. What an endpoint says about a single event is no failure.
type breaker struct {
	row     int
	buckets [breakerBuckets]struct {
		epoch             int64 // of the part of time that the counts are of
		requests, failing int
	}
}

// note counts a request that ended at now, and tells whether the breaker opens.
func (b *breaker) note(now time.Time, failed bool) bool {
	const width = int64(breakerWindow / breakerBuckets)
	epoch := now.UnixNano() / width
	bucket := &b.buckets[epoch%breakerBuckets]
	if bucket.epoch != epoch {
		bucket.epoch, bucket.requests, bucket.failing = epoch, 0, 0
	}
	bucket.requests++
	if !failed {
		b.row = 0
		return false
	}
	b.row++
	bucket.failing++
	requests, failing := 0, 0
	for i := range b.buckets {
		if b.buckets[i].epoch > epoch-breakerBuckets {
			requests += b.buckets[i].requests
			failing += b.buckets[i].failing
		}
	}
	return b.row >= breakerRow || requests >= breakerLeast && 2*failing >= requests
}

// reset forgets everything: after a hold, what was before it says nothing.
func (b *breaker) reset() { *b = breaker{} }
