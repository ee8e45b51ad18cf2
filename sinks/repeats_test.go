package sinks_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
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

// A sender that gives every event the same id must not make each cost what all before it
// do.
func BenchmarkRepeats(b *testing.B) {
	for name, ids := range map[string]uint64{"ids differ": 1 << 32, "one id": 1} {
		b.Run(name, func(b *testing.B) {
			r := sinks.NewRepeats(0, 0)
			now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			keys := make([]sinks.RepeatKey, 2*sinks.RepeatsMax)
			for i := range keys {
				content := strconv.Itoa(i)
				keys[i] = r.Key(&notifications.Event{ID: strconv.FormatUint(uint64(i)%ids, 10)}, []byte(content))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Add(keys[i%len(keys)], now)
			}
		})
	}
}

func TestRepeatsOfOneID(t *testing.T) {
	r := sinks.NewRepeats(0, 0)
	now := time.Now()
	begin := time.Now()
	e := &notifications.Event{ID: "1"}
	for i := range sinks.RepeatsMax {
		want := sinks.Conflict
		if i == 0 {
			want = sinks.Fresh
		}
		if got := r.Add(r.Key(e, strconv.AppendInt(nil, int64(i), 10)), now); got != want {
			t.Fatalf("event %d is %v, want %v", i, got, want)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Fatalf("%d events took %v: the time of each grows with their number", i, took)
		}
	}
}
