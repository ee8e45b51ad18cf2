package sinks_test

import (
	"math/rand/v2"
	"testing"

	"github.com/regcast/regcast/sinks"
)

// naiveProgress is the model: a set of numbers.
type naiveProgress map[uint64]bool

func (n naiveProgress) low(start uint64) uint64 {
	for n[start+1] {
		start++
	}
	return start
}

func TestProgressAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		start := rng.Uint64N(3 * sinks.ProgressBlock)
		span := 1 + rng.Uint64N(3*sinks.ProgressBlock)
		p, model := sinks.NewProgress(start), naiveProgress{}
		stored := map[uint64][]byte{}
		low := start
		for range 3000 {
			switch n := start + 1 + rng.Uint64N(span); {
			case rng.IntN(200) == 0:
				to := low + rng.Uint64N(span/4+1)
				var added uint64
				for s := start + 1; s <= to; s++ {
					if !model[s] {
						model[s] = true
						added++
					}
				}
				if got := p.Advance(to); got != added {
					t.Fatalf("seed %d: Advance(%d) = %d, want %d", seed, to, got, added)
				}
			case rng.IntN(30) == 0:
				if got := p.Unsettle(n); got != model[n] {
					t.Fatalf("seed %d: Unsettle(%d) = %t, was settled: %t", seed, n, got, model[n])
				}
				delete(model, n)
				low = min(low, n-1)
			default:
				if got := p.Settle(n); got == model[n] {
					t.Fatalf("seed %d: Settle(%d) = %t, was settled: %t", seed, n, got, model[n])
				}
				model[n] = true
				if rng.IntN(2) == 0 && !model[low+1] {
					p.Settle(low + 1)
					model[low+1] = true
				}
			}
			low = model.low(low)
			if p.Low() != low {
				t.Fatalf("seed %d: low water %d, want %d", seed, p.Low(), low)
			}
			if rng.IntN(50) == 0 {
				for i, form := range p.Changed() {
					stored[i] = append([]byte(nil), form...)
				}
			}
		}
		for i, form := range p.Changed() {
			stored[i] = append([]byte(nil), form...)
		}
		for i := range p.Changed() {
			t.Fatalf("seed %d: block %d yielded twice without a change", seed, i)
		}
		restored := sinks.NewProgress(p.Low())
		for i, form := range stored {
			if err := restored.Restore(i, form); err != nil {
				t.Fatal(err)
			}
		}
		for n := range start + span + 2*sinks.ProgressBlock {
			want := n <= start || model[n]
			if p.Settled(n) != want || restored.Settled(n) != want {
				t.Fatalf("seed %d: Settled(%d) = %t, restored %t, want %t", seed, n, p.Settled(n), restored.Settled(n), want)
			}
		}
	}
}

func TestProgressTouchYieldsAgain(t *testing.T) {
	p := sinks.NewProgress(0)
	p.Settle(5)
	p.Settle(3 * sinks.ProgressBlock)
	for range p.Changed() {
	}
	p.Touch()
	blocks := 0
	for range p.Changed() {
		blocks++
	}
	if blocks != 2 {
		t.Errorf("%d blocks after Touch, want 2", blocks)
	}
}

func TestProgressRestoreRefusesOtherLength(t *testing.T) {
	if err := sinks.NewProgress(0).Restore(0, make([]byte, sinks.ProgressBytes-1)); err == nil {
		t.Error("a block of another length was restored")
	}
}

func TestProgressRestoredBlockMovesMark(t *testing.T) {
	p := sinks.NewProgress(0)
	p.Settle(2)
	var form []byte
	for _, f := range p.Changed() {
		form = append(form, f...)
	}
	p = sinks.NewProgress(1)
	if err := p.Restore(0, form); err != nil {
		t.Fatal(err)
	}
	if p.Low() != 2 {
		t.Errorf("low water %d, want 2", p.Low())
	}
}
