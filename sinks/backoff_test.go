package sinks_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/regcast/regcast/sinks"
)

func TestBackoffDelay(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		backoff  sinks.Backoff
		failures int
		ceiling  time.Duration
	}{
		{sinks.Backoff{}, -1, 0},
		{sinks.Backoff{}, 0, 0},
		{sinks.Backoff{}, 1, s},
		{sinks.Backoff{}, 2, 2 * s},
		{sinks.Backoff{}, 6, 32 * s},
		{sinks.Backoff{}, 7, 60 * s},
		{sinks.Backoff{}, 64, 60 * s},
		{sinks.Backoff{}, 10_000, 60 * s},
		{sinks.Backoff{}, math.MaxInt, 60 * s},
		{sinks.Backoff{Initial: 3 * s, Max: 10 * s}, 2, 6 * s},
		{sinks.Backoff{Initial: 3 * s, Max: 10 * s}, 3, 10 * s},
		{sinks.Backoff{Initial: 5, Max: 10}, 2, 10},
		{sinks.Backoff{Initial: 2, Max: 5}, 2, 4},
		{sinks.Backoff{Initial: 1, Max: 1}, 10_000, 1},
		{sinks.Backoff{Initial: 5 * s, Max: 2 * s}, 1, 2 * s},
		{sinks.Backoff{Initial: 90 * s}, 5, 90 * s},
		{sinks.Backoff{Initial: 1, Max: math.MaxInt64}, 10_000, math.MaxInt64},
		{sinks.Backoff{Initial: math.MaxInt64, Max: math.MaxInt64}, 3, math.MaxInt64},
	} {
		least, most := time.Duration(math.MaxInt64), time.Duration(0)
		for range 200 {
			d := tt.backoff.Delay(tt.failures)
			least, most = min(least, d), max(most, d)
		}
		if least < tt.ceiling/2 || most > tt.ceiling {
			t.Errorf("%+v after %d failures: %v to %v, want within half of %v", tt.backoff, tt.failures, least, most, tt.ceiling)
		}
		if tt.ceiling >= s && (least == most || float64(most-least) < 0.4*float64(tt.ceiling)) {
			t.Errorf("%+v after %d failures: %v to %v is hardly random", tt.backoff, tt.failures, least, most)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want time.Duration
		ok   bool
	}{
		{nil, 0, false},
		{errors.New("plain"), 0, false},
		{patient{time.Minute}, time.Minute, true},
		{fmt.Errorf("posting: %w", patient{time.Minute}), time.Minute, true},
		{errors.Join(errors.New("plain"), patient{time.Minute}), time.Minute, true},
		{patient{0}, 0, false},
		{patient{-time.Minute}, 0, false},
	} {
		if got, ok := sinks.RetryAfter(tt.err); got != tt.want || ok != tt.ok {
			t.Errorf("RetryAfter(%v) = %v, %t", tt.err, got, ok)
		}
	}
}
