package proxy

import (
	"context"
	"sync"
	"time"
)

// A turn is one request and its answer on the registry's side. Its clock runs while the
// registry is to do something, and for as long as that may take: be reached, take what it
// is given, begin to answer, give more of the answer.
type turn struct {
	exchange *exchange
	cancel   context.CancelCauseFunc
	idle     time.Duration

	mu    sync.Mutex
	clock *time.Timer
	cause error // with which the clock cancels
	begun bool  // the answer has
	over  bool
}

type turnKey struct{}

func newTurn(x *exchange, cancel context.CancelCauseFunc, idle time.Duration) *turn {
	t := &turn{exchange: x, cancel: cancel, idle: idle}
	t.clock = time.AfterFunc(time.Hour, t.strike)
	t.clock.Stop()
	return t
}

func turnOf(ctx context.Context) *turn {
	t, _ := ctx.Value(turnKey{}).(*turn)
	return t
}

func (t *turn) strike() {
	t.mu.Lock()
	cause := t.cause
	t.mu.Unlock()
	if cause != nil {
		t.cancel(cause)
	}
}

// run starts the clock again, with d to go; 0 stops it.
func (t *turn) run(d time.Duration, cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(d, cause)
}

func (t *turn) set(d time.Duration, cause error) {
	t.cause = cause
	if d == 0 || t.over {
		t.clock.Stop()
	} else {
		t.clock.Reset(d)
	}
}

// before is run, until the answer has begun: the rest of a request's body is then of no
// concern to the clock.
func (t *turn) before(d time.Duration, cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.begun {
		t.set(d, cause)
	}
}

// dial is for a request with a body, whose first read shows that the registry is there.
func (t *turn) dial() { t.before(t.exchange.proxy.opts.Timeouts.Metadata, errSilent) }

// taking is when the registry was given something.
func (t *turn) taking() { t.before(t.idle, errIdle) }

// pause is while it is not the registry's turn.
func (t *turn) pause() { t.run(0, nil) }

// asked is when the registry has the whole request.
func (t *turn) asked() { t.before(t.exchange.timeout, errSilent) }

// answered is when the answer has begun.
func (t *turn) answered() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun = true
	t.set(0, nil)
}

// giving is when more of the answer's body is wanted.
func (t *turn) giving() { t.run(t.idle, errIdle) }

func (t *turn) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.set(0, nil)
}
