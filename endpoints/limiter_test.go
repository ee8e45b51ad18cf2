package endpoints

import (
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	start := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	l := newLimiter(8)
	l.succeeded()
	mustLimit(t, &l, 8)

	// Eight requests that time out together are one overload.
	for range 8 {
		l.overloaded(start, start.Add(15*time.Second))
	}
	mustLimit(t, &l, 4)
	for _, want := range []int{4, 4, 4, 5, 5, 5, 5, 5, 6} {
		l.succeeded()
		mustLimit(t, &l, want)
	}
	for i, want := range []int{3, 1, 1, 1} {
		at := start.Add(time.Duration(i+1) * time.Minute)
		l.overloaded(at, at.Add(time.Second))
		mustLimit(t, &l, want)
	}
	for range 1000 {
		l.succeeded()
	}
	mustLimit(t, &l, 8)

	l.restart()
	for _, want := range []int{2, 3, 4, 4, 4, 4, 5} {
		l.succeeded()
		mustLimit(t, &l, want)
	}
}

// TestLimiterOfOne has nothing to limit.
func TestLimiterOfOne(t *testing.T) {
	l := newLimiter(1)
	l.overloaded(time.Now(), time.Now())
	l.restart()
	for range 10 {
		l.succeeded()
		mustLimit(t, &l, 1)
	}
}

func mustLimit(t *testing.T, l *limiter, want int) {
	t.Helper()
	if l.limit != want {
		t.Fatalf("limit %d, want %d", l.limit, want)
	}
}
