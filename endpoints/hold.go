package endpoints

import (
	"log/slog"
	"time"

	"github.com/regcast/regcast/sinks"
)

// accepted notes a success. What was sent before a hold began says nothing about what
// comes after.
func (p *policy) accepted(a *sinks.Attempt, now time.Time) {
	p.s.LastSuccess = now
	p.breaker.note(now, false)
	if p.outdated(a) {
		return
	}
	p.s.Failing.succeeded()
	p.storm.accepted(a.Events, now)
	p.limiter.succeeded()
	p.well(now)
}

// works notes that the endpoint judges events. It is well then, unless it rejects all of
// them.
func (p *policy) works(a *sinks.Attempt, e *DeliveryError, now time.Time) {
	p.breaker.note(now, false)
	switch {
	case p.storm.raging():
		p.fails(a, StateRejecting, e, now)
	case !p.outdated(a):
		p.well(now)
	}
}

// well ends a hold.
func (p *policy) well(now time.Time) {
	if p.held() {
		p.breaker.reset()
		p.heldAt = time.Time{}
	}
	p.s.Probes, p.turn = 0, p.schedule.maxBlock
	p.become(StateOK, "", time.Time{}, now)
}

func (p *policy) held() bool { return !p.heldAt.IsZero() }

// outdated tells whether an attempt began before a hold or an order did.
func (p *policy) outdated(a *sinks.Attempt) bool {
	return p.held() && a.Started.Before(p.heldAt) ||
		p.s.Disabled != nil && a.Started.Before(p.s.Disabled.Since)
}

// hold sends nothing for a while, then one batch as a probe.
func (p *policy) hold(a *sinks.Attempt, name StateName, e *DeliveryError, now time.Time) sinks.Verdict {
	p.fails(a, name, e, now)
	if v, ok := p.takeTurns(a, e, now); ok {
		return v
	}
	if e.mayBlameBatch() {
		// Retry lets batches take turns at being the probe, so that one which only seems
		// to be the endpoint's trouble cannot hold up the others for good.
		return sinks.Verdict{Action: sinks.Retry}
	}
	return sinks.Verdict{Action: sinks.Hold}
}

// fails begins a hold, or goes on with it after a probe.
func (p *policy) fails(a *sinks.Attempt, name StateName, e *DeliveryError, now time.Time) {
	if p.outdated(a) {
		return
	}
	if p.s.Failing.failed(now) {
		name = StateSuspended
	}
	since := p.s.Found.Since
	if p.s.Found.Name != name {
		since, p.s.Probes = now, 0
	}
	p.s.Probes++
	p.limiter.restart()
	p.holdFor(max(p.schedule.probe(name, p.s.Probes, now.Sub(since), e), e.RetryAfter()), name, e, now)
}

// takeTurns puts the probe aside, so that another event is the next one even where all
// there are have the same key: an event that only seems to be the endpoint's trouble must
// not hold up those behind it for good. It costs the order of that event, so it is done
// after ten minutes of a hold, then twenty, forty and so on, and not where the answer is
// that of an outage.
func (p *policy) takeTurns(a *sinks.Attempt, e *DeliveryError, now time.Time) (sinks.Verdict, bool) {
	if p.onBlock != BlockPark || !p.held() || now.Sub(p.s.Found.Since) < p.turn || !e.mayBlameBatch() || e.meansOutage() {
		return sinks.Verdict{}, false
	}
	p.turn *= 2
	if a.Events > 1 {
		return sinks.Verdict{Action: sinks.Split}, true
	}
	return sinks.Verdict{Action: sinks.Park, After: p.schedule.parked(0)}, true
}

// throttle pauses the endpoint for as long as it asks, and longer if another of the
// requests in flight is asked for more.
func (p *policy) throttle(a *sinks.Attempt, err error, e *DeliveryError, now time.Time) sinks.Verdict {
	p.limiter.overloaded(a.Started, now)
	wait := e.RetryAfter()
	if wait == 0 {
		wait = defaultThrottle
	}
	name := StateThrottled
	switch {
	case !p.outdated(a):
		if p.s.Failing.failed(now) {
			name, wait = StateSuspended, max(wait, p.schedule.suspended)
		}
		p.holdFor(wait, name, e, now)
	case now.Add(wait).After(p.s.Found.Until) && p.held():
		p.s.Found.Until, p.changed = now.Add(wait), true
	}
	if p.blames(a, e, now) {
		return p.wait(a, err, e, now)
	}
	if v, ok := p.takeTurns(a, e, now); ok {
		return v
	}
	return sinks.Verdict{Action: sinks.Retry}
}

func (p *policy) holdFor(d time.Duration, name StateName, e *DeliveryError, now time.Time) {
	p.heldAt = now
	p.become(name, e.reason(), now.Add(d), now)
}

// become notes what was found, and logs a change of it once.
func (p *policy) become(name StateName, cause string, until, now time.Time) {
	before := p.s.Found.Name
	p.s.Found.Cause, p.s.Found.Until = cause, until
	p.changed = p.changed || !passing(name) || !passing(before)
	if name == before {
		return
	}
	p.s.Found.Name, p.s.Found.Since = name, now
	switch {
	case passing(before) && passing(name):
		p.log.Debug("endpoint changed its state", slog.String("state", string(name)), slog.String("cause", cause))
	case passing(name):
		p.log.Info("endpoint is well again", slog.String("was", string(before)))
	default:
		p.log.Warn("endpoint changed its state", slog.String("state", string(name)), slog.String("was", string(before)), slog.String("cause", cause))
	}
}

// order sets what is shown over what was found.
func (p *policy) order(place **Order, name StateName, cause string, now time.Time) {
	if *place != nil {
		return
	}
	*place = &Order{Cause: cause, Since: now}
	p.changed = true
	p.log.Warn("endpoint changed its state", slog.String("state", string(name)), slog.String("cause", cause))
}

// withdraw ends an order. What is held is probed at once.
func (p *policy) withdraw(place **Order, name StateName, now time.Time) {
	if *place != nil {
		*place, p.changed = nil, true
		p.log.Info("endpoint may be sent to again", slog.String("was", string(name)))
	}
	p.probeNow(now)
}

// probeNow ends the waiting for a probe.
func (p *policy) probeNow(now time.Time) {
	if p.held() && p.s.Found.Until.After(now) {
		p.s.Found.Until, p.changed = now, true
	}
}

func (p *policy) pause(cause string) {
	p.mu.Lock()
	defer p.unlock()
	p.order(&p.s.Paused, StatePaused, cause, time.Now())
}

func (p *policy) resume() {
	p.mu.Lock()
	defer p.unlock()
	p.withdraw(&p.s.Paused, StatePaused, time.Now())
}

func (p *policy) disable(cause string) {
	p.mu.Lock()
	defer p.unlock()
	p.order(&p.s.Disabled, StateDisabled, cause, time.Now())
}

func (p *policy) enable() {
	p.mu.Lock()
	defer p.unlock()
	p.withdraw(&p.s.Disabled, StateDisabled, time.Now())
}

// answered notes that a ping was accepted.
func (p *policy) answered() {
	p.mu.Lock()
	defer p.unlock()
	p.probeNow(time.Now())
}

// restore goes on where another policy was; this one is new.
func (p *policy) restore(s Snapshot) {
	p.mu.Lock()
	defer p.unlock()
	now := time.Now()
	p.s = s
	switch s.Found.Name {
	case StateThrottled, StateDown, StateAuth, StateMisdirected, StateTLS, StateRejecting, StateBlocked, StateSuspended:
		p.heldAt = now
		p.storm.since = s.Storm
		p.limiter.restart()
		// A clock that was wrong must not hold it for ever.
		if latest := now.Add(maxRetry); p.s.Found.Until.After(latest) {
			p.s.Found.Until = latest
		}
	default:
		p.s.Found, p.s.Probes = State{Name: StateOK}, 0
	}
}

// read is what is known.
func (p *policy) read() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.s
	s.Storm = p.storm.since
	return s
}

// unlock unlocks mu and tells what is to be told.
func (p *policy) unlock() {
	p.holds.note(p.held() || p.s.Paused != nil || p.s.Disabled != nil, time.Now())
	changed, revive := p.changed, p.revive
	p.changed, p.revive = false, nil
	p.mu.Unlock()
	if changed && p.onState != nil {
		p.telling.Lock()
		defer p.telling.Unlock()
		p.onState(p.read()) // the newest: others may have changed it meanwhile
	}
	if len(revive) > 0 && p.onStorm != nil {
		p.onStorm(revive)
	}
}

func (p *policy) shown() State {
	s := p.read()
	return s.State()
}
