package endpoints

import (
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

const (
	secondTry       = 10 * time.Second // after which an event that was rejected is offered once more
	defaultThrottle = 30 * time.Second // the pause after a 429 that names none
	pollHeld        = time.Second      // how soon a Resume or Enable is noticed
	blameAfter      = 3                // attempts with a batch while others were accepted, after which it is to blame itself
)

// A policy is the [sinks.Policy] of one endpoint, shared by all that deliver to it. It
// holds the endpoint, not each event, when the fault is the endpoint's. What is counted
// for that is in parts of its own, which know nothing of each other: breaker, limiter,
// storm, schedule, holds and [Failing].
type policy struct {
	schedule schedule
	onBlock  BlockRule
	maxAge   time.Duration
	onState  func(Snapshot)
	onStorm  func([]uint64)
	log      *slog.Logger

	telling sync.Mutex // held while onState is told

	mu      sync.Mutex
	s       Snapshot
	heldAt  time.Time // when the present hold began, or its last probe failed; zero if not held
	breaker breaker
	limiter limiter
	storm   storm
	holds   holds
	turn    time.Duration // how long a hold has to last before the next event in line is the probe
	changed bool          // onState is to be told
	revive  []uint64      // onStorm is to be told
}

func newPolicy(o *Options, log *slog.Logger) *policy {
	return &policy{
		schedule: newSchedule(o),
		onBlock:  o.OnBlock,
		maxAge:   o.Retry.MaxAge,
		onState:  o.OnState,
		onStorm:  o.OnStorm,
		log:      log,
		s:        Snapshot{Found: State{Name: StateOK}},
		limiter:  newLimiter(o.Concurrency),
		turn:     o.MaxBlock,
	}
}

// Admit lets one batch through as a probe when a hold is over, and as many as the limiter
// says once the endpoint has answered it.
func (p *policy) Admit(now time.Time) (inFlight int, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.s.Disabled != nil || p.s.Paused != nil:
		return 0, pollHeld
	case !p.held():
		return p.limiter.limit, 0
	case now.Before(p.s.Found.Until):
		return 0, min(p.s.Found.Until.Sub(now), pollHeld)
	default:
		return 1, 0
	}
}

// Judge is the table of verdicts.
func (p *policy) Judge(a *sinks.Attempt, err error) sinks.Verdict {
	p.mu.Lock()
	defer p.unlock()
	now := time.Now()
	if a.Number > 1 {
		p.s.Retried++
	}
	if err == nil {
		p.accepted(a, now)
		return sinks.Verdict{Action: sinks.Done}
	}
	if errors.Is(err, notifications.ErrClosed) {
		return sinks.Verdict{Action: sinks.Stop}
	}
	e := asDeliveryError(err)
	if e.Class == Canceled {
		return sinks.Verdict{Action: sinks.Hold}
	}
	p.s.LastError, p.s.LastErrorAt = e.reason(), now
	switch e.Class {
	case Auth, Misdirected, Untrusted, Blocked:
		return p.doubt(a, err, e, now)
	case Rejected:
		return p.reject(a, err, e, now)
	case Dropped:
		p.works(a, e, now)
		return bury(a, sinks.DeadRejected, err, e)
	case Aborted:
		p.works(a, e, now)
		return bury(a, sinks.DeadAborted, err, e)
	case TooLarge:
		p.works(a, e, now)
		if a.Events > 1 {
			return sinks.Verdict{Action: sinks.Split, MaxBytes: max(a.Bytes/2, 1)}
		}
		return bury(a, sinks.DeadTooLarge, err, e)
	case Early:
		p.works(a, e, now)
		return p.postpone(a, err, e, now)
	case Throttled:
		return p.throttle(a, err, e, now)
	case Gone:
		p.order(&p.s.Disabled, StateDisabled, e.reason(), now)
		return sinks.Verdict{Action: sinks.Hold}
	default:
		return p.retry(a, err, e, now)
	}
}

// doubt holds an endpoint that is at fault for all that can be told from one answer.
func (p *policy) doubt(a *sinks.Attempt, err error, e *DeliveryError, now time.Time) sinks.Verdict {
	if p.blames(a, e, now) {
		return p.wait(a, err, e, now)
	}
	name := StateMisdirected
	switch e.Class {
	case Auth:
		name = StateAuth
	case Untrusted:
		name = StateTLS
	case Blocked:
		name = StateBlocked
	}
	return p.hold(a, name, e, now)
}

// blames tells whether a batch is to blame although the answer speaks of the endpoint:
// it fails again and again while the endpoint accepts others. Without others nobody can
// tell.
func (p *policy) blames(a *sinks.Attempt, e *DeliveryError, now time.Time) bool {
	return e.mayBlameBatch() && a.Number >= blameAfter &&
		p.s.LastSuccess.After(a.FirstTried) && now.Sub(p.s.LastSuccess) < p.schedule.maxBlock
}

// reject gives an event another chance before it becomes a dead letter: a receiver in
// the middle of a deployment rejects what it takes a moment later. In a storm nothing
// becomes one, unless the storm lasts longer than any event is to wait.
func (p *policy) reject(a *sinks.Attempt, err error, e *DeliveryError, now time.Time) sinks.Verdict {
	first := a.Previous == nil || asDeliveryError(a.Previous).Class != Rejected
	if a.Events == 1 && p.storm.rejected(a.First, first, a.FirstTried, now) {
		p.revive = p.storm.streak()
	}
	p.works(a, e, now)
	switch {
	case a.Events > 1:
		return sinks.Verdict{Action: sinks.Split}
	case p.mistaken(now):
		if v, ok := p.takeTurns(a, e, now); ok {
			return v
		}
		return sinks.Verdict{Action: sinks.Hold}
	case first:
		return sinks.Verdict{Action: sinks.Retry, After: secondTry}
	default:
		return bury(a, sinks.DeadRejected, err, e)
	}
}

// mistaken tells whether a dead letter would be a mistake.
func (p *policy) mistaken(now time.Time) bool {
	return p.storm.raging() && now.Sub(p.storm.since) < p.maxAge
}

func bury(a *sinks.Attempt, reason sinks.DeadReason, err error, e *DeliveryError) sinks.Verdict {
	if a.Events > 1 {
		return sinks.Verdict{Action: sinks.Split}
	}
	return sinks.Verdict{Action: sinks.Dead, Dead: &sinks.DeadLetter{
		Reason: reason, Status: e.Status, Error: err.Error(), Excerpt: e.Excerpt,
	}}
}

// retry lets the batch wait for itself, and holds the endpoint once it is plain that no
// other batch fares better.
func (p *policy) retry(a *sinks.Attempt, err error, e *DeliveryError, now time.Time) sinks.Verdict {
	if e.overloads() {
		p.limiter.overloaded(a.Started, now)
	}
	switch {
	case e.Status == http.StatusConflict:
		p.works(a, e, now) // it works, and is busy with this very event
	case p.blames(a, e, now):
		return p.wait(a, err, e, now)
	case p.held() || p.breaker.note(now, true):
		return p.hold(a, StateDown, e, now)
	}
	if !p.held() && !p.outdated(a) {
		p.become(StateRetrying, e.reason(), time.Time{}, now)
	}
	return p.wait(a, err, e, now)
}

// wait is for a batch that fails although the endpoint takes others: it waits in its
// lane for some time, then as BlockRule says, and not for ever.
func (p *policy) wait(a *sinks.Attempt, err error, e *DeliveryError, now time.Time) sinks.Verdict {
	age := p.age(a, now)
	if age >= p.maxAge {
		return bury(a, sinks.DeadExpired, err, e)
	}
	delay, asked, left := p.schedule.batch.Delay(a.Number), e.RetryAfter(), p.schedule.maxBlock-age
	overtaken := a.OutOfOrder && p.onBlock == BlockPark // no need to hold later ones back again
	switch {
	case p.onBlock == BlockHold:
		return sinks.Verdict{Action: sinks.Retry, After: max(delay, asked)}
	case left > asked && !overtaken:
		return sinks.Verdict{Action: sinks.Retry, After: max(min(delay, left), asked)}
	case a.Events > 1: // one of them may be to blame
		return sinks.Verdict{Action: sinks.Split}
	case p.onBlock == BlockDeadLetter:
		return bury(a, sinks.DeadExpired, err, e)
	default:
		return sinks.Verdict{Action: sinks.Park, After: max(p.schedule.parked(age), asked)}
	}
}

// postpone puts aside an event that is tried again soon and is no reason for others to
// wait, where events may change their order.
func (p *policy) postpone(a *sinks.Attempt, err error, e *DeliveryError, now time.Time) sinks.Verdict {
	after := max(p.schedule.batch.Delay(a.Number), e.RetryAfter())
	switch {
	case p.age(a, now) >= p.maxAge:
		return bury(a, sinks.DeadExpired, err, e)
	case a.Events > 1:
		return sinks.Verdict{Action: sinks.Split}
	case p.onBlock != BlockPark:
		return sinks.Verdict{Action: sinks.Retry, After: after}
	default:
		return sinks.Verdict{Action: sinks.Park, After: after}
	}
}

// age is for how long a batch has failed for itself.
func (p *policy) age(a *sinks.Attempt, now time.Time) time.Duration {
	if a.FirstTried.IsZero() {
		return 0
	}
	return now.Sub(a.FirstTried) - max(a.Held, p.holds.within(a.FirstTried, now))
}

// settled notes what has become a dead letter.
func (p *policy) settled(outcome sinks.Outcome, settled []sinks.Delivery) {
	if outcome != sinks.DeadLettered {
		return
	}
	p.mu.Lock()
	defer p.unlock()
	for i := range settled {
		if p.storm.buried(settled[i].Sequence) && p.mistaken(time.Now()) {
			p.revive = append(p.revive, settled[i].Sequence)
		}
	}
}

// asDeliveryError makes one of any error.
func asDeliveryError(err error) *DeliveryError {
	var e *DeliveryError
	switch {
	case errors.As(err, &e):
		return e
	case notifications.IsPermanent(err):
		return &DeliveryError{Class: Rejected, Err: err}
	default:
		return &DeliveryError{Class: Transient, Err: err}
	}
}
