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
)

// A policy is the [sinks.Policy] of one endpoint, shared by all that deliver to it. It
// holds the endpoint, not each event, when the fault is the endpoint's. What is counted
// for that is in parts of its own, which know nothing of each other: breaker, limiter,
// storm, schedule and [Failing].
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
	changed bool     // onState is to be told
	revive  []uint64 // onStorm is to be told
}

func newPolicy(o *Options, log *slog.Logger) *policy {
	p := &policy{
		schedule: newSchedule(o),
		onBlock:  o.OnBlock,
		maxAge:   o.Retry.MaxAge,
		onState:  o.OnState,
		onStorm:  o.OnStorm,
		log:      log,
		s:        Snapshot{Found: State{Name: StateOK}},
		limiter:  newLimiter(o.Concurrency),
	}
	if o.Restore != nil {
		p.restore(*o.Restore, time.Now())
	}
	return p
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
	case Throttled:
		return p.throttle(a, e, now)
	case Auth:
		return p.hold(a, StateAuth, e, now)
	case Misdirected:
		return p.hold(a, StateMisdirected, e, now)
	case Untrusted:
		return p.hold(a, StateTLS, e, now)
	case Blocked:
		return p.hold(a, StateBlocked, e, now)
	case Gone:
		p.order(&p.s.Disabled, StateDisabled, e.reason(), now)
		return sinks.Verdict{Action: sinks.Hold}
	default:
		return p.retry(a, err, e, now)
	}
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
	case p.storm.raging() && now.Sub(p.storm.since) < p.maxAge:
		return sinks.Verdict{Action: sinks.Hold}
	case first:
		return sinks.Verdict{Action: sinks.Retry, After: secondTry}
	default:
		return bury(a, sinks.DeadRejected, err, e)
	}
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
	if e.Status == http.StatusConflict {
		p.works(a, e, now) // it works, and is busy with this very event
	} else if p.held() || p.breaker.note(now, true) {
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
	age := time.Duration(0)
	if !a.FirstTried.IsZero() {
		age = now.Sub(a.FirstTried) - a.Held
	}
	if age >= p.maxAge {
		return bury(a, sinks.DeadExpired, err, e)
	}
	delay, asked := p.schedule.batch.Delay(a.Number), e.RetryAfter()
	left := p.schedule.maxBlock - age
	inLane := sinks.Verdict{Action: sinks.Retry, After: max(min(delay, max(left, 0)), asked)}
	switch {
	case p.onBlock == BlockHold:
		return sinks.Verdict{Action: sinks.Retry, After: max(delay, asked)}
	case a.OutOfOrder && p.onBlock == BlockPark: // later ones have gone on: no need to hold them back again
	case left > asked:
		return inLane
	}
	switch {
	case a.Events > 1: // one of them may be to blame
		return sinks.Verdict{Action: sinks.Split}
	case p.onBlock == BlockDeadLetter:
		return bury(a, sinks.DeadExpired, err, e)
	default:
		return sinks.Verdict{Action: sinks.Park, After: max(p.schedule.parked(age), asked)}
	}
}

// settled notes what has become a dead letter.
func (p *policy) settled(outcome sinks.Outcome, settled []sinks.Delivery) {
	if outcome != sinks.DeadLettered {
		return
	}
	p.mu.Lock()
	defer p.unlock()
	for i := range settled {
		if p.storm.buried(settled[i].Sequence) {
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
