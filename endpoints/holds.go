package endpoints

import (
	"cmp"
	"slices"
	"time"
)

// maxHolds bounds how many past holds are remembered.
const maxHolds = 64

// Holds are the times during which an endpoint was held, paused or disabled: what waited
// then has not failed. Of too many the shortest is forgotten.
type holds struct {
	since time.Time // of the present one; zero if there is none
	past  []hold
}

type hold struct{ from, to time.Time }

func (h hold) duration() time.Duration { return h.to.Sub(h.from) }

// note says whether the endpoint is held from now on.
func (h *holds) note(held bool, now time.Time) {
	switch {
	case held == !h.since.IsZero():
	case held:
		h.since = now
	default:
		h.past = append(h.past, hold{h.since, now})
		h.since = time.Time{}
		if len(h.past) > maxHolds {
			shortest := slices.MinFunc(h.past, func(a, b hold) int { return cmp.Compare(a.duration(), b.duration()) })
			h.past = slices.DeleteFunc(h.past, func(a hold) bool { return a == shortest })
		}
	}
}

// within is how much of the time from from until now the endpoint was held.
func (h *holds) within(from, now time.Time) (total time.Duration) {
	for i := len(h.past) - 1; i >= 0 && h.past[i].to.After(from); i-- {
		total += min(h.past[i].duration(), h.past[i].to.Sub(from))
	}
	if !h.since.IsZero() {
		total += min(now.Sub(h.since), now.Sub(from))
	}
	return total
}
