package differential_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	randomTime = flag.Duration("random", 6*time.Second, "how long to send random operations to each rig")
	randomSeed = flag.Uint64("seed", 1, "of the random operations; 0: another one each time")
	replay     = flag.String("replay", "", "a script that TestRandomOperations printed, to run instead of random ones")
)

// operationsPerUniverse is after how many the names and content change: so many are few
// enough to shrink, and enough for a universe to fill up.
const operationsPerUniverse = 60

// TestRandomOperations compares after scripts of random operations. A script that fails
// is made as short as it still fails, and printed.
func TestRandomOperations(t *testing.T) {
	seed := *randomSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	length := *randomTime
	if testing.Short() {
		length = min(length, 2*time.Second)
	}
	for i, s := range []scene{{}, {proxied: true}, {proxied: true, strict: true}} {
		t.Run(fmt.Sprintf("proxied=%v,strict=%v", s.proxied, s.strict), func(t *testing.T) {
			p := &player{rig: newRig(t, s), random: rand.New(rand.NewPCG(seed, uint64(i)))}
			if *replay != "" {
				script, err := decode(*replay)
				if err != nil {
					t.Fatal(err)
				}
				p.fail(t, script)
				return
			}
			for end := time.Now().Add(length); time.Now().Before(end); {
				script := p.script()
				if wrong := p.try(script); wrong != nil {
					t.Errorf("%d operations, before they are made less:\n%s", len(script), strings.Join(wrong, "\n"))
					p.fail(t, p.shrink(script))
					break
				}
			}
			t.Logf("seed %d: %d operations, %d requests, %d events, allowances %v", seed, p.operations, p.sent, p.events, p.used)
			for name := range p.used {
				if _, allowance, _ := strings.Cut(name, "/"); !slices.Contains(differences(), allowance) {
					t.Errorf("%q has excused something, and no verb needs it", name)
				}
			}
			if p.events < p.operations/4 {
				t.Errorf("%d operations made %d events: the traffic is not what it should be", p.operations, p.events)
			}
		})
	}
}

// differences names the allowances that verbs need: images are pulled by clients that do
// not accept lists, or not even the image, and parts of blobs that are not there; uploads
// are cut off. Everything that is pulled was pushed before the eyes of all.
func differences() []string {
	return []string{"unacceptable", "list", "nothing sent", "torn upload"}
}

// A player plays scripts, each in a universe of its own.
type player struct {
	*rig
	random     *rand.Rand
	universes  int
	operations int
	events     int
}

// script draws operations by the weights of their verbs.
func (p *player) script() []operation {
	var drawn []byte // verbs, each as often as it weighs
	for i, v := range verbs() {
		for range v.weight {
			drawn = append(drawn, byte(i))
		}
	}
	operations := make([]operation, operationsPerUniverse)
	for i := range operations {
		n := p.random.Uint32()
		operations[i] = operation{drawn[p.random.IntN(len(drawn))], byte(n), byte(n >> 8), byte(n >> 16)}
	}
	return operations
}

// try plays a script and returns what is wrong.
func (p *player) try(script []operation) []string {
	p.universes++
	u := newUniverse(p.rig, fmt.Sprintf("universe-%d", p.universes))
	for _, o := range script {
		o.verb().run(u, o)
	}
	truth, wrong := p.compare()
	p.operations += len(script)
	for _, observations := range truth {
		p.events += len(observations)
	}
	return wrong
}

// shrink leaves out of a script what does not keep it from failing: halves first, single
// operations last.
func (p *player) shrink(script []operation) []operation {
	for size := (len(script) + 1) / 2; size > 0; size /= 2 {
		for at := 0; at < len(script); {
			without := slices.Concat(script[:at], script[min(at+size, len(script)):])
			if p.try(without) != nil {
				script = without
			} else {
				at += size
			}
		}
	}
	return script
}

// fail plays a script once more and prints it with what is wrong.
func (p *player) fail(t *testing.T, script []operation) {
	wrong := p.try(script)
	if wrong == nil {
		t.Logf("nothing is wrong with -replay %s", encode(script))
		return
	}
	var lines strings.Builder
	for _, o := range script {
		fmt.Fprintf(&lines, "  %v\n", o)
	}
	t.Errorf("go test ./cmd/internal/differential -run %s -replay %s\n%s%s", t.Name(), encode(script), lines.String(), strings.Join(wrong, "\n"))
}
