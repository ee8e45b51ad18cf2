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
	downAfter       = 5                // failures in a row after which an endpoint is down
	pollDisabled    = time.Second      // how soon an Enable is noticed

	// A held endpoint is probed with its next batch. The first probe is soon, because
	// most holds end with somebody's quick fix. Where retries are set to be quicker than
	// by default, so are probes: see newPolicy.
	firstProbe     = 5 * time.Second
	maxProbeDown   = 5 * time.Minute
	maxProbeFaulty = 15 * time.Minute
)

// A policy is the [sinks.Policy] of one endpoint, shared by all that deliver to it. It
// holds the endpoint, not each event, when the fault is the endpoint's.
type policy struct {
	concurrency int
	backoff     sinks.Backoff // of a batch
	down        sinks.Backoff // of probes
	faulty      sinks.Backoff // of probes of what no receiver heals by itself
	log         *slog.Logger

	mu       sync.Mutex
	state    State
	failures int       // of the endpoint, in a row
	probes   int       // hold periods in a row, in this state
	heldAt   time.Time // when the last one began; zero if not held
	disabled bool
}

func newPolicy(o *Options, log *slog.Logger) *policy {
	return &policy{
		concurrency: o.Concurrency,
		backoff:     sinks.Backoff{Initial: o.Retry.Initial, Max: o.Retry.Max},
		down:        sinks.Backoff{Initial: min(5*o.Retry.Initial, firstProbe), Max: min(5*o.Retry.Max, maxProbeDown)},
		faulty:      sinks.Backoff{Initial: min(5*o.Retry.Initial, firstProbe), Max: min(15*o.Retry.Max, maxProbeFaulty)},
		log:         log,
		state:       State{Name: StateOK},
	}
}

// Admit lets one batch through as a probe when a hold is over, and all of them once the
// endpoint has answered it.
func (p *policy) Admit(now time.Time) (inFlight int, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.disabled:
		return 0, pollDisabled
	case !p.held():
		return p.concurrency, 0
	case now.Before(p.state.Until):
		return 0, p.state.Until.Sub(now)
	default:
		return 1, 0
	}
}

// Judge is the table of verdicts.
func (p *policy) Judge(a *sinks.Attempt, err error) sinks.Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.answered(a)
		return sinks.Verdict{Action: sinks.Done}
	}
	if errors.Is(err, notifications.ErrClosed) {
		return sinks.Verdict{Action: sinks.Stop}
	}
	e := asDeliveryError(err)
	switch e.Class {
	case Canceled:
		return sinks.Verdict{Action: sinks.Hold}
	case Rejected:
		p.answered(a)
		return reject(a, err, e)
	case Dropped:
		p.answered(a)
		return bury(a, sinks.DeadRejected, err, e)
	case Aborted:
		p.answered(a)
		return bury(a, sinks.DeadAborted, err, e)
	case TooLarge:
		p.answered(a)
		if a.Events > 1 {
			return sinks.Verdict{Action: sinks.Split, MaxBytes: max(a.Bytes/2, 1)}
		}
		return bury(a, sinks.DeadTooLarge, err, e)
	case Throttled:
		return p.throttle(a, e)
	case Auth:
		return p.hold(a, StateAuth, e, p.faulty)
	case Misdirected:
		return p.hold(a, StateMisdirected, e, p.faulty)
	case Untrusted:
		return p.hold(a, StateTLS, e, p.faulty)
	case Gone:
		p.disable(e.reason())
		return sinks.Verdict{Action: sinks.Hold}
	default:
		return p.retry(a, e)
	}
}

// reject gives an event another chance before it becomes a dead letter: a receiver in
// the middle of a deployment rejects what it takes a moment later.
func reject(a *sinks.Attempt, err error, e *DeliveryError) sinks.Verdict {
	if a.Events > 1 {
		return sinks.Verdict{Action: sinks.Split}
	}
	if a.Previous == nil || asDeliveryError(a.Previous).Class != Rejected {
		return sinks.Verdict{Action: sinks.Retry, After: secondTry}
	}
	return bury(a, sinks.DeadRejected, err, e)
}

func bury(a *sinks.Attempt, reason sinks.DeadReason, err error, e *DeliveryError) sinks.Verdict {
	if a.Events > 1 {
		return sinks.Verdict{Action: sinks.Split}
	}
	return sinks.Verdict{Action: sinks.Dead, Dead: &sinks.DeadLetter{
		Reason: reason, Status: e.Status, Error: err.Error(), Excerpt: e.Excerpt,
	}}
}

// answered notes that the endpoint does its work. What was sent before a hold began says
// nothing about what comes after.
func (p *policy) answered(a *sinks.Attempt) {
	if p.outdated(a) {
		return
	}
	p.failures, p.probes, p.heldAt = 0, 0, time.Time{}
	p.become(StateOK, "", time.Time{})
}

func (p *policy) outdated(a *sinks.Attempt) bool {
	return p.held() && a.Started.Before(p.heldAt)
}

// retry lets the batch wait for itself, and holds the endpoint once it is plain that no
// other batch fares better.
func (p *policy) retry(a *sinks.Attempt, e *DeliveryError) sinks.Verdict {
	if e.Status == http.StatusConflict {
		p.answered(a) // it works, and is busy with this very event
	} else if p.failures++; p.held() || p.failures >= downAfter {
		return p.hold(a, StateDown, e, p.down)
	}
	if !p.held() {
		p.become(StateRetrying, e.reason(), time.Time{})
	}
	return sinks.Verdict{Action: sinks.Retry, After: max(p.backoff.Delay(a.Number), e.RetryAfter())}
}

func (p *policy) held() bool { return !p.heldAt.IsZero() }

// hold sends nothing for a while, then one batch as a probe.
func (p *policy) hold(a *sinks.Attempt, name StateName, e *DeliveryError, probes sinks.Backoff) sinks.Verdict {
	if !p.outdated(a) {
		if p.state.Name != name {
			p.probes = 0
		}
		p.probes++
		p.holdFor(max(probes.Delay(p.probes), e.RetryAfter()), name, e)
	}
	if e.mayBlameBatch() {
		// Retry lets batches take turns at being the probe, so that one which only seems
		// to be the endpoint's trouble cannot hold up the others for good.
		return sinks.Verdict{Action: sinks.Retry}
	}
	return sinks.Verdict{Action: sinks.Hold}
}

// throttle pauses the endpoint for as long as it asks, and longer if another of the
// requests in flight is asked for more.
func (p *policy) throttle(a *sinks.Attempt, e *DeliveryError) sinks.Verdict {
	wait := e.RetryAfter()
	if wait == 0 {
		wait = defaultThrottle
	}
	if !p.outdated(a) || time.Now().Add(wait).After(p.state.Until) {
		p.holdFor(wait, StateThrottled, e)
	}
	return sinks.Verdict{Action: sinks.Hold}
}

func (p *policy) holdFor(d time.Duration, name StateName, e *DeliveryError) {
	p.heldAt = time.Now()
	p.become(name, e.reason(), p.heldAt.Add(d))
}

// become notes the state and logs a change of it once.
func (p *policy) become(name StateName, cause string, until time.Time) {
	if p.disabled {
		return
	}
	before := p.state.Name
	p.state.Cause, p.state.Until = cause, until
	if name == before {
		return
	}
	p.state.Name, p.state.Since = name, time.Now()
	switch {
	case passing(before) && passing(name):
		p.log.Debug("endpoint changed its state", slog.String("state", string(name)), slog.String("cause", cause))
	case name == StateOK:
		p.log.Info("endpoint is well again", slog.String("was", string(before)))
	default:
		p.log.Warn("endpoint changed its state", slog.String("state", string(name)), slog.String("was", string(before)), slog.String("cause", cause))
	}
}

// passing tells whether a state may change with every event.
func passing(n StateName) bool { return n == StateOK || n == StateRetrying }

func (p *policy) disable(cause string) {
	p.become(StateDisabled, cause, time.Time{})
	p.disabled = true
}

func (p *policy) enable() {
	if !p.disabled {
		return
	}
	p.disabled = false
	p.failures, p.probes, p.heldAt = 0, 0, time.Time{}
	p.become(StateOK, "", time.Time{})
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
