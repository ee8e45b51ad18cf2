package endpoints

import (
	"math/rand/v2"
	"time"

	"github.com/regcast/regcast/sinks"
)

const (
	// A held endpoint is probed with its next batch. The first probe is soon, because
	// most holds end with somebody's quick fix.
	firstProbe     = 5 * time.Second
	maxProbe       = 5 * time.Minute
	maxProbeLong   = 15 * time.Minute
	probeLongAfter = 24 * time.Hour
	probeSuspended = time.Hour
	firstPark      = 5 * time.Minute
	maxPark        = 12 * time.Hour
)

// A schedule says how long to wait. Where retries are set to be quicker than by default,
// or repositories may be blocked for less long, all of it is quicker in proportion.
type schedule struct {
	batch     sinks.Backoff // between attempts with one batch
	probes    sinks.Backoff // between probes of a held endpoint
	long      sinks.Backoff // the same, where there is little hope
	suspended time.Duration // between probes of a suspended endpoint
	maxBlock  time.Duration // how long an event may hold its key
	park      time.Duration // the first time and
	maxPark   time.Duration // the longest that an event is put aside
}

func newSchedule(o *Options) schedule {
	initial, most := o.Retry.Initial, o.Retry.Max
	return schedule{
		batch:     sinks.Backoff{Initial: initial, Max: most},
		probes:    sinks.Backoff{Initial: min(5*initial, firstProbe), Max: min(5*most, maxProbe)},
		long:      sinks.Backoff{Initial: min(5*initial, firstProbe), Max: min(15*most, maxProbeLong)},
		suspended: min(60*most, probeSuspended),
		maxBlock:  o.MaxBlock,
		park:      min(max(o.MaxBlock/2, time.Millisecond), firstPark),
		maxPark:   min(72*o.MaxBlock, maxPark),
	}
}

// probe is how long to wait before the next probe of an endpoint that was found in a
// state for lasted, of which n probes have failed, the last one with e.
func (s *schedule) probe(name StateName, n int, lasted time.Duration, e *DeliveryError) time.Duration {
	switch name {
	case StateSuspended:
		return s.suspended
	case StateDown, StateRejecting:
		// A receiver that is not there costs nobody anything by being asked: what waits
		// for it begins to go out within 5 min of its return.
		if lasted < probeLongAfter || !e.arrived() {
			return s.probes.Delay(n)
		}
	}
	return s.long.Delay(n)
}

// parked is how long to put aside an event that has failed for age, of which it held its
// key for maxBlock: as long again as it was put aside before and 5 min more, so that the
// waits double (5 min, 10, 20, …) up to 12 h, without anybody counting them. Up to a
// quarter more or less keeps those apart that failed together.
func (s *schedule) parked(age time.Duration) time.Duration {
	wait := min(max(age-s.maxBlock, 0)+s.park, s.maxPark)
	return wait - wait/4 + rand.N(wait/2+1)
}
