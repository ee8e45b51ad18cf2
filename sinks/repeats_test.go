package sinks_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

func TestRepeatsAgainstModel(t *testing.T) {
	type stored struct {
		id, content string
		at          time.Time
	}
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 6))
		limit, age := 1+rng.IntN(40), time.Duration(1+rng.IntN(60))*time.Second
		r := sinks.NewRepeats(limit, age)
		var window []stored
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		for range 1000 {
			now = now.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
			e := stored{fmt.Sprint(rng.IntN(30)), fmt.Sprint(rng.IntN(3)), now}
			for len(window) > 0 && (len(window) >= limit || window[0].at.Before(now.Add(-age))) {
				window = window[1:]
			}
			want := sinks.Fresh
			for _, w := range window {
				if w.id == e.id && w.content == e.content {
					want = sinks.Duplicate
				} else if w.id == e.id && want == sinks.Fresh {
					want = sinks.Conflict
				}
			}
			key := r.Key(&notifications.Event{ID: e.id}, []byte(e.content))
			if got := r.Add(key, now); got != want {
				t.Fatalf("seed %d: event %v is %v, want %v", seed, e, got, want)
			}
			if want != sinks.Duplicate {
				window = append(window, e)
				if n := 1 + rng.IntN(4); rng.IntN(10) == 0 && n <= len(window) {
					r.Undo(n)
					window = window[:len(window)-n]
				}
			}
			if r.Len() != len(window) {
				t.Fatalf("seed %d: %d in the window, want %d", seed, r.Len(), len(window))
			}
		}
	}
}
