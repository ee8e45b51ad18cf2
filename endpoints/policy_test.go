package endpoints

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// judgeStatus asks a new policy about an answer with that status.
func judgeStatus(t *testing.T, status, events int, previous error, header http.Header) (sinks.Verdict, State) {
	t.Helper()
	p := newPolicy((*Options)(nil).withDefaults(), slog.New(slog.DiscardHandler))
	a := &sinks.Attempt{Number: 1, Events: events, Bytes: 4000, Started: time.Now(), Previous: previous}
	v := p.Judge(a, answerOf(new(statusRule), status, header))
	held := !passing(p.shown().Name)
	if inFlight, _ := p.Admit(time.Now()); (inFlight == 0) != held {
		t.Errorf("%d: Admit = %d in state %q", status, inFlight, p.shown().Name)
	}
	return v, p.shown()
}

// answerOf is the error that an answer becomes.
func answerOf(rule *statusRule, status int, header http.Header) error {
	wait, asked := retryAfter(header, time.Now(), time.Hour)
	class, ok := rule.answerClass(status, header, asked)
	if ok {
		return nil
	}
	return &DeliveryError{URL: "http://receiver.example", Class: class, Status: status, Wait: wait}
}

// TestVerdicts is the table of the design, for every status there can be.
func TestVerdicts(t *testing.T) {
	type verdict struct {
		single, batch, second sinks.Action // second: the single event again, after the same answer
		reason                sinks.DeadReason
		state                 StateName
	}
	var (
		done        = verdict{sinks.Done, sinks.Done, sinks.Done, "", StateOK}
		misdirected = verdict{sinks.Retry, sinks.Retry, sinks.Retry, "", StateMisdirected} // when Admit lets it
		auth        = verdict{sinks.Retry, sinks.Retry, sinks.Retry, "", StateAuth}
		rejected    = verdict{sinks.Retry, sinks.Split, sinks.Dead, sinks.DeadRejected, StateOK}
		transient   = verdict{sinks.Retry, sinks.Retry, sinks.Retry, "", StateRetrying}
		tooLarge    = verdict{sinks.Dead, sinks.Split, sinks.Dead, sinks.DeadTooLarge, StateOK}
		throttled   = verdict{sinks.Retry, sinks.Retry, sinks.Retry, "", StateThrottled}
		gone        = verdict{sinks.Hold, sinks.Hold, sinks.Hold, "", StateDisabled}
	)
	want := func(status int) verdict {
		switch {
		case status >= 200 && status < 300:
			return done
		case status < 400, slices.Contains([]int{404, 405, 406, 415, 501, 505}, status):
			return misdirected
		case slices.Contains([]int{401, 403, 407}, status):
			return auth
		case slices.Contains([]int{408, 409, 425}, status):
			return transient
		case status == 410:
			return gone
		case status == 411, status == 413:
			return tooLarge
		case status == 429:
			return throttled
		case status < 500:
			return rejected
		default:
			return transient
		}
	}
	for status := 100; status <= 599; status++ {
		w := want(status)
		single, state := judgeStatus(t, status, 1, nil, nil)
		if single.Action != w.single || state.Name != w.state {
			t.Errorf("%d: %v, state %q, want %v, %q", status, single.Action, state.Name, w.single, w.state)
		}
		if batch, _ := judgeStatus(t, status, 2, nil, nil); batch.Action != w.batch {
			t.Errorf("%d to a batch: %v, want %v", status, batch.Action, w.batch)
		}
		second, _ := judgeStatus(t, status, 1, answerOf(new(statusRule), status, nil), nil)
		if second.Action != w.second {
			t.Errorf("%d again: %v, want %v", status, second.Action, w.second)
		}
		if (second.Dead != nil) != (w.reason != "") {
			t.Errorf("%d again: dead letter %v, want reason %q", status, second.Dead, w.reason)
		} else if d := second.Dead; d != nil && (d.Reason != w.reason || d.Status != status) {
			t.Errorf("%d again: dead letter %q of status %d, want %q", status, d.Reason, d.Status, w.reason)
		}
	}
}

func TestVerdictDetails(t *testing.T) {
	seconds := func(n int) http.Header { return http.Header{"Retry-After": {fmt.Sprint(n)}} }
	for _, c := range []struct {
		name   string
		status int
		events int
		header http.Header
		check  func(v sinks.Verdict, s State) bool
	}{
		{"rejected: after 10 s", 400, 1, nil, func(v sinks.Verdict, _ State) bool { return v.After == 10*time.Second }},
		{"5xx: half to one of 1 s", 500, 1, nil, func(v sinks.Verdict, _ State) bool {
			return v.After >= time.Second/2 && v.After <= time.Second
		}},
		{"5xx: Retry-After wins", 500, 1, seconds(90), func(v sinks.Verdict, _ State) bool { return v.After == 90*time.Second }},
		{"503 without Retry-After: retry", 503, 1, nil, func(v sinks.Verdict, s State) bool {
			return v.Action == sinks.Retry && s.Name == StateRetrying
		}},
		{"503 with Retry-After: pause", 503, 3, seconds(90), func(v sinks.Verdict, s State) bool {
			return v.Action == sinks.Retry && v.After == 0 && s.Name == StateThrottled
		}},
		{"413: the ceiling is half", 413, 3, nil, func(v sinks.Verdict, _ State) bool { return v.MaxBytes == 2000 }},
		{"disable, whatever the status", 200, 1, http.Header{"Webhook-Delivery": {"Disable"}}, func(v sinks.Verdict, s State) bool {
			return v.Action == sinks.Hold && s.Name == StateDisabled
		}},
		{"abort: dead at once", 500, 1, http.Header{"Webhook-Delivery": {"abort-message"}}, func(v sinks.Verdict, _ State) bool {
			return v.Action == sinks.Dead && v.Dead.Reason == sinks.DeadAborted
		}},
		{"abort of what is accepted", 202, 1, http.Header{"Webhook-Delivery": {"abort-message"}}, func(v sinks.Verdict, _ State) bool {
			return v.Action == sinks.Done
		}},
	} {
		if v, s := judgeStatus(t, c.status, c.events, nil, c.header); !c.check(v, s) {
			t.Errorf("%s: got %+v, %+v", c.name, v, s)
		}
	}
}

func TestOverriddenStatuses(t *testing.T) {
	rule := &statusRule{successOn: []int{409}, retryOn: []int{400, 204}, dropOn: []int{422, 500}}
	for status, want := range map[int]Class{400: Transient, 204: Transient, 422: Dropped, 500: Dropped, 401: Auth} {
		var e *DeliveryError
		if err := answerOf(rule, status, nil); !errors.As(err, &e) || e.Class != want {
			t.Errorf("%d: %v, want class %v", status, err, want)
		}
	}
	if err := answerOf(rule, 409, nil); err != nil {
		t.Errorf("409 = %v, want accepted", err)
	}
	p := newPolicy((*Options)(nil).withDefaults(), slog.New(slog.DiscardHandler))
	v := p.Judge(&sinks.Attempt{Number: 1, Events: 1}, answerOf(rule, 422, nil))
	if v.Action != sinks.Dead || v.Dead.Reason != sinks.DeadRejected {
		t.Errorf("drop_on: %+v, want a dead letter at once", v)
	}
}

func TestVerdictsOfOtherErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want sinks.Action
	}{
		{notifications.ErrClosed, sinks.Stop},
		{fmt.Errorf("wrapped: %w", notifications.ErrClosed), sinks.Stop},
		{notifications.ErrFull, sinks.Retry},
		{errors.New("no idea"), sinks.Retry},
		{notifications.Permanent(errors.New("never")), sinks.Retry}, // once more
		{&DeliveryError{Class: Early, Err: errors.New("not yet")}, sinks.Park},
		{&DeliveryError{Class: Canceled, Err: context.Canceled}, sinks.Hold},
		{&DeliveryError{Class: Untrusted, Err: errors.New("unknown authority")}, sinks.Hold},
	} {
		p := newPolicy((*Options)(nil).withDefaults(), slog.New(slog.DiscardHandler))
		if v := p.Judge(&sinks.Attempt{Number: 1, Events: 1}, c.err); v.Action != c.want {
			t.Errorf("%v: %v, want %v", c.err, v.Action, c.want)
		}
	}
}

// What comes too early waits by itself, as long as a retry does, unless events are to keep
// their order whatever happens.
func TestWhatComesTooEarly(t *testing.T) {
	early := &DeliveryError{Class: Early, Status: 404, Err: errors.New("not yet")}
	for _, test := range []struct {
		rule   BlockRule
		events int
		age    time.Duration
		want   sinks.Action
	}{
		{BlockPark, 1, 0, sinks.Park},
		{BlockPark, 3, 0, sinks.Split},
		{BlockHold, 1, 0, sinks.Retry},
		{BlockDeadLetter, 1, 0, sinks.Retry},
		{BlockPark, 1, 73 * time.Hour, sinks.Dead},
	} {
		o := (*Options)(nil).withDefaults()
		o.OnBlock = test.rule
		p := newPolicy(o, slog.New(slog.DiscardHandler))
		now := time.Now()
		a := &sinks.Attempt{Number: 3, Events: test.events, FirstTried: now.Add(-test.age), Started: now}
		v := p.Judge(a, early)
		if v.Action != test.want {
			t.Errorf("%s, %d events after %v: %v, want %v", test.rule, test.events, test.age, v.Action, test.want)
		}
		if waits := v.Action == sinks.Park || v.Action == sinks.Retry; waits && (v.After < 2*time.Second || v.After > 4*time.Second) {
			t.Errorf("%s: the third time after %v, want 2 to 4 s", test.rule, v.After)
		}
		if name := p.s.Found.Name; name != StateOK {
			t.Errorf("%s: the endpoint is %s", test.rule, name)
		}
	}
}

// A bench runs attempts against a policy, in the time of a synctest bubble.
type policyBench struct {
	*policy
	t   *testing.T
	log bytes.Buffer
}

func newPolicyBench(t *testing.T) *policyBench {
	b := &policyBench{t: t}
	b.policy = newPolicy((*Options)(nil).withDefaults(), slog.New(slog.NewTextHandler(&b.log, nil)))
	return b
}

// attempt judges an attempt that takes 10 ms.
func (b *policyBench) attempt(number int, err error) sinks.Verdict {
	a := &sinks.Attempt{Number: number, Events: 1, Started: time.Now()}
	time.Sleep(10 * time.Millisecond)
	return b.Judge(a, err)
}

// probe waits until the policy lets one batch through, and returns how long that was.
func (b *policyBench) probe() time.Duration {
	b.t.Helper()
	if inFlight, wait := b.Admit(time.Now()); inFlight != 0 || wait <= 0 || wait > pollHeld {
		b.t.Fatalf("Admit = %d, %v, want a hold, and to be asked again within %v", inFlight, wait, pollHeld)
	}
	wait := time.Until(b.shown().Until)
	time.Sleep(wait - time.Nanosecond)
	b.admits(0)
	time.Sleep(time.Nanosecond)
	b.admits(1)
	return wait
}

func (b *policyBench) mustBe(name StateName) {
	b.t.Helper()
	if b.shown().Name != name {
		b.t.Fatalf("state %q, want %q", b.shown().Name, name)
	}
}

var (
	unavailable = &DeliveryError{URL: "http://receiver.example", Class: Transient, Status: 503}
	forbidden   = &DeliveryError{URL: "http://receiver.example", Class: Auth, Status: 403}
)

func TestAnEndpointThatIsDownIsHeldAndProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		for n := 1; n < breakerRow; n++ {
			if v := b.attempt(n, unavailable); v.Action != sinks.Retry {
				t.Fatalf("failure %d: %v, want a retry", n, v.Action)
			}
			b.mustBe(StateRetrying)
		}
		b.attempt(breakerRow, unavailable)
		b.mustBe(StateDown)

		for _, most := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300} {
			most *= time.Second
			if wait := b.probe(); wait < most/2-20*time.Millisecond || wait > most {
				t.Errorf("probed after %v, want half to one of %v", wait, most)
			}
			b.attempt(1, unavailable)
			b.mustBe(StateDown)
		}
		b.probe()
		b.attempt(1, nil)
		b.mustBe(StateOK)
		for _, want := range []int{2, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 8, 8} {
			if inFlight, _ := b.Admit(time.Now()); inFlight != want {
				t.Errorf("Admit once it is well = %d, want %d", inFlight, want)
			}
			b.attempt(1, nil)
		}
		if got := strings.Count(b.log.String(), "\n"); got != 2 {
			t.Errorf("%d log lines, want one for down and one for ok:\n%s", got, b.log.String())
		}
	})
}

func TestQuickRetriesMeanQuickProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		b.policy = newPolicy((&Options{Retry: RetryOptions{Initial: 10 * time.Millisecond, Max: 20 * time.Millisecond}}).withDefaults(), b.policy.log)
		for range 10 {
			b.attempt(1, forbidden)
			if wait := b.probe(); wait > 300*time.Millisecond {
				t.Errorf("probed after %v", wait)
			}
		}
	})
}

func TestSuccessInBetweenKeepsAnEndpointUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		for n := range 50 {
			if n%4 == 0 { // five succeed, and four in a row fail
				for range 5 {
					b.attempt(1, nil)
				}
			}
			if v := b.attempt(n+1, unavailable); v.Action != sinks.Retry {
				t.Fatalf("failure %d: %v, want a retry", n+1, v.Action)
			}
		}
		if b.log.Len() != 0 {
			t.Errorf("logged:\n%s", b.log.String())
		}
	})
}

func TestConflictsDoNotMeanDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		for n := range 50 {
			if v := b.attempt(n+1, &DeliveryError{Class: Transient, Status: 409}); v.Action != sinks.Retry {
				t.Fatalf("conflict %d: %v, want a retry", n+1, v.Action)
			}
			b.mustBe(StateRetrying)
		}
		late := &sinks.Attempt{Number: 1, Events: 1, Started: time.Now()}
		b.attempt(1, forbidden)
		b.Judge(late, &DeliveryError{Class: Transient, Status: 409})
		b.mustBe(StateAuth)
		b.probe()
		b.attempt(1, &DeliveryError{Class: Transient, Status: 409})
		b.mustBe(StateRetrying)
	})
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		for n := 1; n <= 100; n++ {
			v := b.attempt(n, unavailable)
			b.attempt(1, nil)
			b.attempt(1, nil)
			most := min(time.Second<<min(n-1, 10), time.Minute)
			if v.After < most/2 || v.After > most {
				t.Errorf("after attempt %d: %v, want half to one of %v", n, v.After, most)
			}
		}
	})
}

func TestThrottlePausesTheWholeEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		inFlight := &sinks.Attempt{Number: 1, Events: 1, Started: time.Now()}
		other := &sinks.Attempt{Number: 1, Events: 1, Started: time.Now()}
		throttled := func(wait time.Duration) error {
			return &DeliveryError{URL: "http://receiver.example", Class: Throttled, Status: 429, Wait: wait}
		}
		b.attempt(1, throttled(time.Minute))
		b.mustBe(StateThrottled)

		b.Judge(inFlight, nil) // what was sent before says nothing
		b.mustBe(StateThrottled)
		b.Judge(other, throttled(2*time.Minute)) // but it can ask for more
		if wait := b.probe(); wait != 2*time.Minute {
			t.Errorf("paused for %v, want the longer of two", wait)
		}
		b.attempt(1, throttled(0))
		if wait := b.probe(); wait != defaultThrottle {
			t.Errorf("paused for %v without Retry-After, want %v", wait, defaultThrottle)
		}
		b.attempt(1, &DeliveryError{Class: Rejected, Status: 400}) // it judges events: it is well
		b.mustBe(StateOK)
	})
}

func TestAuthIsProbedSoonAndThenSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		late := &sinks.Attempt{Number: 1, Events: 1, Started: time.Now()}
		b.attempt(1, forbidden)
		b.mustBe(StateAuth)
		b.Judge(late, forbidden) // in flight with the first: not another failed probe
		if wait := b.probe(); wait > firstProbe {
			t.Errorf("first probe after %v", wait)
		}
		var longest time.Duration
		for range 12 {
			b.attempt(1, forbidden)
			longest = max(longest, b.probe())
		}
		if longest > maxProbeLong || longest < maxProbeLong/2 {
			t.Errorf("longest wait for a probe %v, want up to %v", longest, maxProbeLong)
		}
		b.attempt(1, unavailable) // another fault: its probes begin anew
		b.mustBe(StateDown)
		if wait := b.probe(); wait > firstProbe {
			t.Errorf("first probe of another fault after %v", wait)
		}
	})
}

func TestDisabledUntilEnabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPolicyBench(t)
		late := &sinks.Attempt{Number: 1, Events: 1, Started: time.Now()}
		b.attempt(1, &DeliveryError{URL: "http://receiver.example", Class: Gone, Status: 410})
		b.mustBe(StateDisabled)
		if b.shown().Cause != "answered 410 Gone" {
			t.Errorf("cause %q", b.shown().Cause)
		}
		b.Judge(late, nil)
		b.Judge(late, unavailable)
		b.Judge(late, forbidden)
		b.mustBe(StateDisabled)
		time.Sleep(1000 * time.Hour)
		if inFlight, wait := b.Admit(time.Now()); inFlight != 0 || wait <= 0 || wait > time.Second {
			t.Errorf("Admit = %d, %v, want to be asked again within a second", inFlight, wait)
		}
		b.enable()
		b.mustBe(StateOK)
		if inFlight, _ := b.Admit(time.Now()); inFlight != defaultConcurrency {
			t.Errorf("Admit once enabled = %d", inFlight)
		}
	})
}

// TestOneBatchDoesNotHoldUpTheOthers has an event that the receiver answers as if the
// endpoint were to blame, again and again.
func TestOneBatchDoesNotHoldUpTheOthers(t *testing.T) {
	for _, fault := range []*DeliveryError{
		{URL: "http://receiver.example", Class: Transient, Status: 500},
		{URL: "http://receiver.example", Class: Transient, Fault: FaultTimeout, Err: errTimeout},
		{URL: "http://receiver.example", Class: Auth, Status: 403},
		{URL: "http://receiver.example", Class: Misdirected, Status: 404},
	} {
		synctest.Test(t, func(t *testing.T) {
			engine := sinks.NewMemory(nil)
			defer engine.Shutdown(context.Background())
			cursor, err := engine.Cursor(t.Context(), "audit", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer cursor.Close()
			ctx, cancel := context.WithCancel(t.Context())
			var received notificationstest.Recorder
			sink := sinkFunc(func(ctx context.Context, batch []*notifications.Event) error {
				if batch[0].Repository == "team/poison" {
					return fault
				}
				return received.Write(ctx, batch)
			})
			done := make(chan error, 1)
			go func() {
				p := newPolicy((*Options)(nil).withDefaults(), slog.New(slog.DiscardHandler))
				done <- sinks.Deliver(ctx, cursor, sink, &sinks.DeliverOptions{Policy: p})
			}()
			events := append([]*notifications.Event{notificationstest.Push("team/poison", "v0", 0)}, notificationstest.Pushes(1, 50, "team/a", "team/b")...)
			if err := engine.Write(ctx, events[:1]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // long enough for any hold to be at its longest
			if err := engine.Write(ctx, events[1:]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2*maxProbeLong + time.Minute) // a probe by each
			if received.Len() != 50 {
				t.Errorf("%v: %d of 50 other events delivered", fault, received.Len())
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDisabledEndpointKeepsWhatIsPending has a receiver that says once that it is gone.
func TestDisabledEndpointKeepsWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := sinks.NewMemory(nil)
		defer engine.Shutdown(context.Background())
		cursor, err := engine.Cursor(t.Context(), "audit", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer cursor.Close()
		e, err := NewEndpoint("audit", "console:", nil)
		if err != nil {
			t.Fatal(err)
		}
		var received notificationstest.Recorder
		attempts := 0
		sink := sinkFunc(func(ctx context.Context, batch []*notifications.Event) error {
			if attempts++; attempts == 3 {
				return &DeliveryError{URL: "http://receiver.example", Class: Gone, Status: 410}
			}
			return received.Write(ctx, batch)
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		opts := e.DeliverOptions()
		opts.Key = func(*notifications.Event) string { return "" } // one after the other
		go func() { done <- sinks.Deliver(ctx, cursor, sink, opts) }()
		if err := engine.Write(ctx, notificationstest.Pushes(0, 10, "team/app")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Hour)
		if e.State().Name != StateDisabled || received.Len() != 2 {
			t.Errorf("state %q with %d events delivered, want disabled with 2", e.State().Name, received.Len())
		}
		e.Enable()
		time.Sleep(2 * time.Second)
		e.Disable("a person said so")
		want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
		if got := notificationstest.Numbers(received.Events()); !slices.Equal(got, want) {
			t.Errorf("delivered %v once enabled, want %v", got, want)
		}
		if err := engine.Write(ctx, notificationstest.Pushes(10, 1, "team/app")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if s := e.State(); received.Len() != 10 || s.Cause != "a person said so" {
			t.Errorf("%d events delivered in state %+v", received.Len(), s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
