package endpoints

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	for _, c := range []struct {
		name     string
		requests string        // "x" fails, "." does not
		apart    time.Duration // from each other
		opens    int           // with which request; -1: never
	}{
		{"five in a row", "xxxxx", time.Hour, 4},
		{"never five in a row", "xxxx.xxxx.xxxx", time.Hour, -1},
		{"half of ten", ".x.x.x.x.x", time.Second, 9},
		{"half, but of nine", "xx..xx..x", time.Second, -1},
		{"less than half", ".x..x..x..x..x..x..x..x", time.Second, -1},
		{"half, but within more than 30 s", ".x.x.x.x.x.x.x.x", 4 * time.Second, -1},
		{"ten within 30 s", ".x.x.x.x.x.x", 3 * time.Second, 9},
		{"an older time of successes", "....................x.xx.xx.xx.xx", 2 * time.Second, 31},
		{"all within one moment", "x.x.x.x.xx", 0, 9},
	} {
		var b breaker
		now, opened := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC), -1
		for i, r := range c.requests {
			if b.note(now, r == 'x') && opened < 0 {
				opened = i
			}
			now = now.Add(c.apart)
		}
		if opened != c.opens {
			t.Errorf("%s: opens with request %d, want %d", c.name, opened, c.opens)
		}
		b.reset()
		if b.note(now, true) {
			t.Errorf("%s: open after a reset", c.name)
		}
	}
}
