package endpoints

import (
	"testing"
	"time"
)

func TestFailing(t *testing.T) {
	every := func(apart time.Duration, n int) []time.Duration {
		at := make([]time.Duration, n)
		for i := range at {
			at[i] = time.Duration(i) * apart
		}
		return at
	}
	for _, c := range []struct {
		name string
		at   []time.Duration // of failures
		want int             // which one is one too many; -1: none
	}{
		{"every hour", every(time.Hour, 100), 72},
		{"every 36 hours", every(36*time.Hour, 3), 2},
		{"on two Fridays", every(7*24*time.Hour, 2), -1},
		{"for a minute, and a week later", append(every(time.Second, 60), 7*24*time.Hour), -1},
	} {
		start := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
		var f Failing
		got := -1
		for i, after := range c.at {
			if f.failed(start.Add(after)) && got < 0 {
				got = i
			}
		}
		if got != c.want {
			t.Errorf("%s: failure %d is one too many, want %d", c.name, got, c.want)
		}
		f.succeeded()
		if f.failed(start.Add(1000 * time.Hour)) {
			t.Errorf("%s: a success is forgotten", c.name)
		}
	}
}
