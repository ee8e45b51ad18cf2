package backoff

import (
	"testing"
	"time"
)

func TestExponential(t *testing.T) {
	for attempt, want := range map[int]time.Duration{1: 250 * time.Millisecond, 2: 500 * time.Millisecond, 5: 4 * time.Second, 6: 5 * time.Second, 1000: 5 * time.Second} {
		for range 100 {
			if got := Exponential(attempt); got > want || got < want*3/4 {
				t.Errorf("after attempt %d: %v, want up to a quarter less than %v", attempt, got, want)
			}
		}
	}
}
