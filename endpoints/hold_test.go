package endpoints

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/sinks"
)

// with returns a policy bench with other options.
func with(t *testing.T, o *Options) *policyBench {
	b := newPolicyBench(t)
	b.policy = newPolicy(o.withDefaults(), b.policy.log)
	return b
}

// event judges an attempt with one event, which takes 10 ms.
func (b *policyBench) event(sequence uint64, previous, err error) sinks.Verdict {
	now := time.Now()
	a := &sinks.Attempt{Number: 1, Events: 1, First: sequence, Last: sequence, Started: now, FirstTried: now, Previous: previous}
	time.Sleep(10 * time.Millisecond)
	return b.Judge(a, err)
}

var (
	rejection = &DeliveryError{URL: "http://receiver.example", Class: Rejected, Status: 400}
	refused   = &DeliveryError{URL: "http://receiver.example", Class: Transient, Fault: FaultConnect, Err: errors.New("connection refused")}
)

// TestVerdictsOfFaults is the part of the table without an answer.
func TestVerdictsOfFaults(t *testing.T) {
	type verdict struct {
		class  Class
		action sinks.Action // of the first
		state  StateName    // after the first
		row    StateName    // after five
		fifth  sinks.Action
	}
	var (
		unanswered = verdict{Transient, sinks.Retry, StateRetrying, StateDown, sinks.Retry}
		unreached  = verdict{Transient, sinks.Retry, StateRetrying, StateDown, sinks.Hold}
	)
	table := map[Fault]verdict{
		FaultTimeout:   unanswered,
		FaultReset:     unanswered,
		FaultConnect:   unreached,
		FaultDNS:       unreached,
		FaultHandshake: unreached,
		FaultProxy:     unreached,
		FaultProtocol:  unanswered,
		FaultLocal:     unreached,
		FaultTLS:       {Untrusted, sinks.Hold, StateTLS, StateTLS, sinks.Hold},
		FaultBlocked:   {Blocked, sinks.Hold, StateBlocked, StateBlocked, sinks.Hold},
		FaultSecret:    {Auth, sinks.Hold, StateAuth, StateAuth, sinks.Hold},
		FaultCanceled:  {Canceled, sinks.Hold, StateOK, StateOK, sinks.Hold},
	}
	for _, fault := range Faults() {
		want, ok := table[fault]
		if !ok {
			t.Errorf("%s is not in the table", fault)
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			for _, events := range []int{1, 2} {
				b := newPolicyBench(t)
				err := &DeliveryError{Class: want.class, Fault: fault, Err: errors.New("why")}
				v := b.Judge(&sinks.Attempt{Number: 1, Events: events, Started: time.Now()}, err)
				if s := b.shown(); v.Action != want.action || s.Name != want.state {
					t.Errorf("%s: %v, state %q, want %v, %q", fault, v.Action, s.Name, want.action, want.state)
				}
				for range 4 {
					v = b.attempt(1, err)
				}
				if s := b.shown(); v.Action != want.fifth || s.Name != want.row {
					t.Errorf("%s, five times: %v, state %q, want %v, %q", fault, v.Action, s.Name, want.fifth, want.row)
				}
			}
		})
	}
}

func TestHalfOfTheRequestsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		for range 4 {
			b.attempt(1, nil)
			b.attempt(1, unavailable)
			b.mustBe(StateRetrying)
		}
		b.attempt(1, nil)
		b.mustBe(StateOK)
		b.attempt(1, unavailable)
		b.mustBe(StateDown)
	})
}

func TestEventsAtFaultNeverMeanDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		for range 100 {
			for _, class := range []Class{Dropped, Aborted, TooLarge} {
				b.attempt(1, &DeliveryError{Class: class, Status: 422})
				b.mustBe(StateOK)
			}
		}
	})
}

func TestOverloadHalvesConcurrency(t *testing.T) {
	for _, err := range []error{
		&DeliveryError{Class: Transient, Fault: FaultTimeout, Err: errTimeout},
		&DeliveryError{Class: Transient, Status: 502},
		&DeliveryError{Class: Transient, Status: 504},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newPolicyBench(t)
			b.attempt(1, err)
			b.admits(4)
			b.attempt(1, err)
			b.admits(2)
			for range 100 {
				b.attempt(1, nil)
			}
			b.admits(8)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		b.attempt(1, unavailable) // nothing that fewer requests would heal
		b.admits(8)
		b.attempt(1, &DeliveryError{Class: Throttled, Status: 429})
		b.probe()
		b.attempt(1, nil)
		b.admits(4)
	})
}

func (b *policyBench) admits(want int) {
	b.t.Helper()
	if got, _ := b.Admit(time.Now()); got != want {
		b.t.Errorf("Admit = %d, want %d", got, want)
	}
}

// TestSuspension has an endpoint that fails for a week.
func TestSuspension(t *testing.T) {
	for _, err := range []*DeliveryError{unavailable, forbidden, refused} {
		synctest.Test(t, func(t *testing.T) {
			b := newPolicyBench(t)
			for range 5 {
				b.attempt(1, err)
			}
			began := time.Now()
			for time.Since(began) < 71*time.Hour {
				if wait := b.probe(); wait > maxProbeLong {
					t.Fatalf("probed after %v", wait)
				}
				b.attempt(1, err)
			}
			before := b.shown().Name
			for b.shown().Name == before {
				b.probe()
				b.attempt(1, err)
			}
			b.mustBe(StateSuspended)
			if got := time.Since(began); got < suspendAfter-time.Minute || got > suspendAfter+maxProbeLong+time.Minute {
				t.Errorf("suspended after %v", got)
			}
			for range 24 {
				if wait := b.probe(); wait != time.Hour-10*time.Millisecond && wait != time.Hour {
					t.Errorf("probed after %v, want an hour", wait)
				}
				b.attempt(1, forbidden)
				b.mustBe(StateSuspended)
			}
			b.probe()
			b.attempt(1, nil)
			b.mustBe(StateOK)
			b.attempt(1, forbidden)
			b.mustBe(StateAuth)
		})
	}
}

// TestOrders are shown over what is found, which goes on beneath.
func TestOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		b.attempt(1, forbidden)
		b.mustBe(StateAuth)
		b.pause("ops: maintenance")
		b.pause("twice")
		b.mustBe(StatePaused)
		if s := b.read(); s.State().Cause != "ops: maintenance" || s.Found.Name != StateAuth || s.Found.Cause != "answered 403 Forbidden" {
			t.Errorf("%+v, want paused over auth", s)
		}
		b.disable("ops: for good")
		b.mustBe(StateDisabled)
		b.resume()
		b.mustBe(StateDisabled)
		time.Sleep(1000 * time.Hour)
		b.admits(0)
		b.pause("again")
		b.enable()
		b.mustBe(StatePaused)
		b.admits(0)
		b.resume()
		b.mustBe(StateAuth)
		b.admits(1) // a probe
		b.attempt(1, forbidden)
		b.admits(0)
		b.resume() // of what is not paused: look now
		b.admits(1)
		b.attempt(1, nil)
		b.mustBe(StateOK)
		b.pause("")
		b.attempt(1, nil) // was on its way
		b.mustBe(StatePaused)
	})
}

// TestRestart hands what is known from one policy to the next, as JSON.
func TestRestart(t *testing.T) {
	for name, prepare := range map[StateName]func(b *policyBench){
		StateOK:          func(b *policyBench) { b.attempt(1, nil) },
		StateThrottled:   func(b *policyBench) { b.attempt(1, &DeliveryError{Class: Throttled, Status: 429, Wait: time.Hour}) },
		StateAuth:        func(b *policyBench) { b.attempt(1, forbidden) },
		StateMisdirected: func(b *policyBench) { b.attempt(1, &DeliveryError{Class: Misdirected, Status: 404}) },
		StateTLS:         func(b *policyBench) { b.attempt(1, &DeliveryError{Class: Untrusted, Fault: FaultTLS}) },
		StateBlocked:     func(b *policyBench) { b.attempt(1, &DeliveryError{Class: Blocked, Fault: FaultBlocked}) },
		StateDown: func(b *policyBench) {
			for range 50 {
				b.attempt(1, refused)
				pass(time.Hour)
			}
		},
		StateSuspended: func(b *policyBench) {
			for range 100 {
				b.attempt(1, refused)
				pass(time.Hour)
			}
		},
		StateRejecting: func(b *policyBench) {
			for n := range uint64(10) {
				b.event(n, nil, rejection)
			}
		},
		StatePaused:   func(b *policyBench) { b.attempt(1, forbidden); b.pause("ops") },
		StateDisabled: func(b *policyBench) { b.attempt(1, &DeliveryError{Class: Gone, Status: 410}) },
	} {
		synctest.Test(t, func(t *testing.T) {
			var told Snapshot
			b := with(t, &Options{OnState: func(s Snapshot) { told = s }})
			prepare(b)
			b.mustBe(name)
			stored, err := json.Marshal(told)
			if err != nil {
				t.Fatal(err)
			}
			var restored Snapshot
			if err := json.Unmarshal(stored, &restored); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			next := newPolicyBench(t)
			next.restore(restored)
			if name == StateOK { // nothing to tell
				next.mustBe(StateOK)
				next.admits(8)
				return
			}
			before, after := b.read(), next.read()
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s: after a restart (-before +after):\n%s", name, diff)
			}
			n, wait := b.Admit(time.Now())
			if gotN, gotWait := next.Admit(time.Now()); gotN != n || gotWait != wait {
				t.Errorf("%s: Admit = %d, %v after a restart, want %d, %v", name, gotN, gotWait, n, wait)
			}
			if name == StateRejecting {
				if v := next.event(100, rejection, rejection); v.Action != sinks.Hold {
					t.Errorf("the storm ends with a restart: %v", v.Action)
				}
			}
		})
	}
}

func TestRestoreOfNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		b.restore(Snapshot{Found: State{Name: "odd"}})
		b.mustBe(StateOK)
		b.admits(8)
		b = newPolicyBench(t)
		b.restore(Snapshot{Found: State{Name: StateDown, Until: time.Now().Add(1e6 * time.Hour)}})
		if wait := b.probe(); wait > 24*time.Hour {
			t.Errorf("probed after %v", wait)
		}
	})
}

// TestOnState is not told of what changes with every event.
func TestOnState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []StateName
		b := with(t, &Options{OnState: func(s Snapshot) { told = append(told, s.State().Name) }})
		for n := range 20 {
			b.attempt(1, []error{nil, nil, nil, unavailable}[n%4])
		}
		b.attempt(1, forbidden)
		b.probe()
		b.attempt(1, forbidden)
		b.probe()
		b.attempt(1, nil)
		b.attempt(1, nil)
		b.pause("")
		b.resume()
		b.resume()
		b.disable("")
		b.enable()
		want := []StateName{StateAuth, StateAuth, StateOK, StatePaused, StateOK, StateDisabled, StateOK}
		if !slices.Equal(told, want) {
			t.Errorf("told of %v, want %v", told, want)
		}
		if s := b.read(); s.LastError != "answered 403 Forbidden" || s.LastErrorAt.IsZero() || s.LastSuccess.Before(s.LastErrorAt) {
			t.Errorf("snapshot %+v", s)
		}
	})
}

// TestStormGuard has a receiver that rejects what it accepted before.
func TestStormGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var revive [][]uint64
		b := with(t, &Options{OnStorm: func(s []uint64) { revive = append(revive, s) }})
		dead := func(sequence uint64) {
			if v := b.event(sequence, nil, rejection); v.Action != sinks.Retry || v.After != secondTry {
				t.Fatalf("event %d, first: %+v", sequence, v)
			}
			if v := b.event(sequence, rejection, rejection); v.Action != sinks.Dead {
				t.Fatalf("event %d, second: %+v", sequence, v)
			}
		}
		settle := func(sequence uint64) {
			b.settled(sinks.DeadLettered, []sinks.Delivery{{Sequence: sequence}})
		}
		b.Judge(&sinks.Attempt{Number: 1, Events: 100}, nil)
		for n := uint64(1); n < 10; n++ {
			dead(n)
			if n < 9 {
				settle(n)
			}
		}
		b.mustBe(StateOK)
		if v := b.event(10, nil, rejection); v.Action != sinks.Hold {
			t.Errorf("the tenth: %v, want a hold", v.Action)
		}
		b.mustBe(StateRejecting)
		settle(9) // was on its way
		settle(4000)
		b.settled(sinks.Delivered, []sinks.Delivery{{Sequence: 10}})
		if diff := cmp.Diff([][]uint64{{1, 2, 3, 4, 5, 6, 7, 8}, {9}}, revive); diff != "" {
			t.Errorf("to be revived (-want +got):\n%s", diff)
		}

		// Nothing is given up on any more: neither the first nor a later time.
		for n := uint64(1); n < 50; n++ {
			b.probe()
			if v := b.event(n, rejection, rejection); v.Action != sinks.Hold && v.Action != sinks.Park {
				t.Fatalf("event %d in the storm: %v", n, v.Action)
			}
			b.mustBe(StateRejecting)
		}
		b.probe()
		b.attempt(1, unavailable) // another fault does not end it
		b.mustBe(StateDown)
		b.probe()
		b.event(60, nil, rejection)
		b.mustBe(StateRejecting)
		b.probe()
		if v := b.Judge(&sinks.Attempt{Number: 1, Events: 8, Started: time.Now()}, rejection); v.Action != sinks.Split {
			t.Errorf("a batch in the storm: %v, want to be split", v.Action)
		}

		b.probe()
		b.event(70, nil, nil)
		b.mustBe(StateOK)
		b.admits(2)
		for n := uint64(101); n < 110; n++ {
			dead(n)
		}
		b.event(110, nil, rejection)
		b.mustBe(StateRejecting)
	})
}

// TestStormDoesNotLastForEver has one that outlasts max_age.
func TestStormDoesNotLastForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := with(t, &Options{Retry: RetryOptions{MaxAge: 24 * time.Hour}})
		for n := range uint64(10) {
			b.event(n, nil, rejection)
		}
		began := time.Now()
		for {
			b.probe()
			v := b.event(0, rejection, rejection)
			if v.Action == sinks.Dead {
				break
			}
			if time.Since(began) > 25*time.Hour {
				t.Fatal("nothing is given up on")
			}
		}
		if time.Since(began) < 24*time.Hour-time.Minute {
			t.Errorf("given up on after %v", time.Since(began))
		}
	})
}

// TestBlockRules is the table of what becomes of an event that fails for itself.
func TestBlockRules(t *testing.T) {
	const hour = time.Hour
	for _, c := range []struct {
		name    string
		rule    BlockRule
		age     time.Duration
		held    time.Duration
		asked   time.Duration // Retry-After
		events  int
		overdue bool // it was parked before
		want    sinks.Action
		least   time.Duration
		most    time.Duration
	}{
		{"young", BlockPark, time.Second, 0, 0, 1, false, sinks.Retry, hour / 7200, hour / 60},
		{"young, a batch", BlockPark, time.Second, 0, 0, 3, false, sinks.Retry, hour / 7200, hour / 60},
		{"nearly too old for its lane", BlockPark, 10*time.Minute - time.Second, 0, 0, 1, false, sinks.Retry, 0, time.Second},
		{"too old for its lane", BlockPark, 10 * time.Minute, 0, 0, 1, false, sinks.Park, 3 * time.Minute, 7 * time.Minute},
		{"a batch that is", BlockPark, 10 * time.Minute, 0, 0, 2, false, sinks.Split, 0, 0},
		{"asks for more than its lane's time", BlockPark, time.Second, 0, hour, 1, false, sinks.Park, hour, hour},
		{"asks for less", BlockPark, time.Second, 0, 5 * time.Minute, 1, false, sinks.Retry, 5 * time.Minute, 5 * time.Minute},
		{"was held for all but a second", BlockPark, hour, hour - time.Second, 0, 1, false, sinks.Retry, 0, time.Minute},
		{"parked early by Deliver", BlockPark, time.Second, 0, 0, 1, true, sinks.Park, 3 * time.Minute, 7 * time.Minute},
		{"parked for a day", BlockPark, 24 * hour, 0, 0, 1, true, sinks.Park, 9 * hour, 15 * hour},
		{"too old", BlockPark, 72 * hour, 0, 0, 1, true, sinks.Dead, 0, 0},
		{"too old, but for a hold", BlockPark, 100 * hour, 30 * hour, 0, 1, true, sinks.Park, 9 * hour, 15 * hour},
		{"a batch that is too old", BlockPark, 72 * hour, 0, 0, 2, false, sinks.Split, 0, 0},

		{"hold", BlockHold, 71 * hour, 0, 0, 1, false, sinks.Retry, hour / 7200, hour / 60},
		{"hold, what it asks", BlockHold, hour, 0, hour, 1, false, sinks.Retry, hour, hour},
		{"hold, too old", BlockHold, 72 * hour, 0, 0, 1, false, sinks.Dead, 0, 0},

		{"dead_letter, young", BlockDeadLetter, time.Minute, 0, 0, 1, false, sinks.Retry, hour / 7200, hour / 60},
		{"dead_letter", BlockDeadLetter, 10 * time.Minute, 0, 0, 1, false, sinks.Dead, 0, 0},
		{"dead_letter, a batch", BlockDeadLetter, 10 * time.Minute, 0, 0, 2, false, sinks.Split, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := with(t, &Options{OnBlock: c.rule})
			time.Sleep(c.age)
			v := b.Judge(&sinks.Attempt{
				Number: 1, Events: c.events, First: 1, Started: time.Now(), FirstTried: time.Now().Add(-c.age), Held: c.held, OutOfOrder: c.overdue,
			}, &DeliveryError{Class: Transient, Status: 500, Wait: c.asked})
			if v.Action != c.want || v.After < c.least || v.After > c.most {
				t.Errorf("%s: %v after %v, want %v after %v to %v", c.name, v.Action, v.After, c.want, c.least, c.most)
			}
			if v.Action == sinks.Dead && (v.Dead.Reason != sinks.DeadExpired || v.Dead.Status != 500) {
				t.Errorf("%s: %+v", c.name, v.Dead)
			}
		})
	}
}

// TestHoldsDoNotCountTowardsTheAge of an event that was parked meanwhile.
func TestHoldsDoNotCountTowardsTheAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		first := time.Now()
		judge := func() sinks.Verdict {
			return b.Judge(&sinks.Attempt{Number: 5, Events: 1, First: 1, Started: time.Now(), FirstTried: first, OutOfOrder: true},
				&DeliveryError{Class: Transient, Status: 500})
		}
		b.pause("")
		time.Sleep(100 * time.Hour)
		b.resume()
		b.disable("")
		time.Sleep(100 * time.Hour)
		b.enable()
		b.attempt(1, forbidden)
		time.Sleep(100 * time.Hour)
		b.attempt(1, nil)
		if v := judge(); v.Action != sinks.Park {
			t.Errorf("after 300 hours of holds: %v", v.Action)
		}
		time.Sleep(71 * time.Hour)
		if v := judge(); v.Action != sinks.Park {
			t.Errorf("after 71 hours for itself: %v", v.Action)
		}
		time.Sleep(2 * time.Hour)
		if v := judge(); v.Action != sinks.Dead {
			t.Errorf("after 73 hours for itself: %v", v.Action)
		}
	})
}

// TestBatchIsToBlame has one that fails while others are accepted.
func TestBatchIsToBlame(t *testing.T) {
	for _, fault := range []*DeliveryError{
		{Class: Transient, Status: 500}, {Class: Transient, Fault: FaultReset}, {Class: Auth, Status: 403}, {Class: Misdirected, Status: 404},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newPolicyBench(t)
			first := time.Now()
			judge := func(number int) sinks.Verdict {
				return b.Judge(&sinks.Attempt{Number: number, Events: 1, First: 1, Started: time.Now(), FirstTried: first}, fault)
			}
			for n := 1; n < blameAfter; n++ {
				judge(n)
				time.Sleep(time.Minute)
				b.attempt(1, nil)
			}
			b.mustBe(StateOK)
			for n := blameAfter; n < 8; n++ {
				if v := judge(n); v.Action != sinks.Retry || v.After == 0 || b.heldNow() {
					t.Errorf("%v, attempt %d: %+v in state %+v, want to wait for itself alone", fault, n, v, b.shown())
				}
				time.Sleep(time.Minute)
				b.attempt(1, nil)
			}
			time.Sleep(10 * time.Minute)
			b.attempt(1, nil)
			if v := judge(9); v.Action != sinks.Park {
				t.Errorf("%v, too old for its lane: %v", fault, v.Action)
			}
			time.Sleep(time.Hour) // nobody else came
			for range 5 {
				judge(10)
			}
			if !b.heldNow() {
				t.Errorf("%v: not held although nothing was accepted for an hour", fault)
			}
		})
	}
}

func (b *policyBench) heldNow() bool { return !passing(b.shown().Name) }

// TestProbesTakeTurns has an endpoint that answers all probes by itself: now and then
// another event is the next one.
func TestProbesTakeTurns(t *testing.T) {
	parked := func(err error, o *Options) (after []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			b := with(t, o)
			for range 5 {
				b.attempt(1, err)
			}
			began := time.Now()
			for time.Since(began) < 72*time.Hour {
				b.probe()
				if v := b.event(1, nil, err); v.Action == sinks.Park {
					after = append(after, time.Since(began))
				}
			}
		})
		return after
	}
	got := parked(&DeliveryError{Class: Transient, Status: 500}, nil)
	if len(got) != 9 {
		t.Fatalf("%d events are put aside in 3 days, want 9", len(got))
	}
	for i, after := range got {
		if want := defaultMaxBlock << i; after < want-time.Minute || after > want+maxProbeLong {
			t.Errorf("put aside after %v, want %v", got, want)
		}
	}
	for _, err := range []error{
		unavailable, refused, &DeliveryError{Class: Transient, Status: 502}, &DeliveryError{Class: Transient, Fault: FaultDNS},
	} {
		if got := parked(err, nil); got != nil {
			t.Errorf("%v: put aside after %v", err, got)
		}
	}
	if got := parked(&DeliveryError{Class: Transient, Status: 500}, &Options{OnBlock: BlockHold}); got != nil {
		t.Errorf("hold: put aside after %v", got)
	}
}

func TestOrdersAreLoggedOnce(t *testing.T) {
	b := newPolicyBench(t)
	b.pause("ops")
	b.pause("ops")
	b.resume()
	b.resume()
	if got := strings.Count(b.log.String(), "\n"); got != 2 {
		t.Errorf("%d log lines, want one for each change:\n%s", got, b.log.String())
	}
}
