package endpoints

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// A sender makes one attempt.
type sender interface {
	send(ctx context.Context, batch []*notifications.Event) (answer, error)
	Shutdown(ctx context.Context) error
}

// An answer is what came back over HTTP. The zero value: nothing did.
type answer struct {
	status  int
	excerpt []byte // the beginning of the body, at most sinks.MaxExcerpt, secrets blotted out
}

// An Endpoint is where events go in the end: a webhook, or a built-in endpoint, with a
// name, metrics and a policy. It stands behind [sinks.Deliver]:
//
//	sinks.Deliver(ctx, cursor, endpoint, endpoint.DeliverOptions())
//
// It is safe for concurrent use. Who made it calls Shutdown once every Deliver to it has
// returned.
type Endpoint struct {
	name   string
	shown  func() string
	opts   *Options
	sender sender
	policy *policy
	slots  *Slots // its own, as many as Options.Concurrency
	meter  *meter
}

// The URLs of the built-in endpoints.
const (
	urlConsole    = "console:" // a line per event on Options.Console
	urlFilePrefix = "file:"    // and a path: JSON lines in a file
)

// NewEndpoint returns an endpoint of that name, which must be [ValidName]. rawURL is an
// http or https URL, "console:" or "file:" and a path. Nothing is connected or opened
// yet. Errors: all that is wrong with the arguments, see [OptionError].
func NewEndpoint(name, rawURL string, opts *Options) (*Endpoint, error) {
	return newEndpoint(name, opts, func(e *Endpoint, p problems) error { return e.open(rawURL, p) })
}

// newEndpoint returns an endpoint whose sender open makes; p is what was found wrong before.
func newEndpoint(name string, opts *Options, open func(e *Endpoint, p problems) error) (*Endpoint, error) {
	o := opts.withDefaults()
	var p problems
	if !ValidName(name) {
		p.add("name", "%q is not [a-z0-9][a-z0-9-]{0,62}", name)
	}
	o.validate(&p)
	o.Logger = o.Logger.With(slog.String("endpoint", name))
	e := &Endpoint{name: name, opts: o, policy: newPolicy(o, o.Logger), slots: NewSlots(o.Concurrency)}
	if err := open(e, p); err != nil {
		return nil, err
	}
	e.meter = o.Metrics.meter(name)
	e.meter.propose(e.stateName)
	return e, nil
}

// open makes the sender. p is what was found wrong before.
func (e *Endpoint) open(rawURL string, p problems) error {
	path, isFile := strings.CutPrefix(rawURL, urlFilePrefix)
	switch {
	case e.opts.URL == nil && rawURL == urlConsole:
		e.sender, e.shown = newConsole(e.opts.Console), func() string { return rawURL }
	case e.opts.URL == nil && isFile:
		if path == "" {
			p.add("url", "file: needs a path")
		}
		if e.opts.FileMaxBytes < 0 {
			p.add("file_max_bytes", "%d is negative", e.opts.FileMaxBytes)
		}
		if e.opts.FileKeep < 1 || e.opts.FileKeep > maxFileKeep {
			p.add("file_keep", "%d is not within 1 to %d", e.opts.FileKeep, maxFileKeep)
		}
		e.sender, e.shown = newFile(path, e.opts), func() string { return rawURL }
	default:
		e.opts.validateWebhook(&p)
		w, err := newWebhook(rawURL, e.opts, p)
		if err != nil {
			return err
		}
		e.sender, e.shown = w, w.shown
		return nil
	}
	return p.err()
}

// Name is the endpoint's identity.
func (e *Endpoint) Name() string { return e.name }

// URL is the endpoint's URL as far as it may be shown.
func (e *Endpoint) URL() string { return e.shown() }

// Write makes one attempt to deliver all of batch, whether it matches or not. It waits
// for one of Options.Concurrency slots, and for one of Options.Slots, first.
//
// Errors: a [*DeliveryError]; notifications.ErrClosed after Shutdown.
func (e *Endpoint) Write(ctx context.Context, batch []*notifications.Event) error {
	if err := e.slots.take(ctx); err != nil {
		return e.gaveUp(err)
	}
	defer e.slots.leave()
	if err := e.opts.Slots.take(ctx); err != nil {
		return e.gaveUp(err)
	}
	defer e.opts.Slots.leave()
	started := time.Now()
	e.meter.begin()
	ans, err := e.sender.send(ctx, batch)
	if len(batch) == 0 || errors.Is(err, notifications.ErrClosed) {
		e.meter.cancel()
		return err
	}
	took := time.Since(started)
	e.meter.end(took, len(batch), ans.status, err)
	if e.opts.OnAttempt != nil {
		e.opts.OnAttempt(e.record(ctx, started, took, ans, err))
	}
	return err
}

// gaveUp is the error of a Write whose context ended while it waited for its turn.
func (e *Endpoint) gaveUp(err error) error {
	return &DeliveryError{URL: e.shown(), Class: Canceled, Fault: FaultCanceled, Err: err}
}

// record describes an attempt.
func (e *Endpoint) record(ctx context.Context, started time.Time, took time.Duration, ans answer, err error) sinks.AttemptRecord {
	a, _ := sinks.AttemptFrom(ctx)
	r := sinks.AttemptRecord{
		Endpoint:  e.name,
		At:        started.UTC(),
		Sequences: slices.Clone(a.Sequences),
		Number:    a.Number,
		Status:    ans.status,
		Duration:  took,
		Excerpt:   ans.excerpt,
		Replay:    a.Replay,
	}
	if err != nil {
		failed := asDeliveryError(err)
		r.Fault = cmp.Or(string(failed.Fault), failed.Class.String())
		r.Error = failed.reason()
	}
	return r
}

// Wants tells whether the endpoint's matcher may select ev.
func (e *Endpoint) Wants(ev *notifications.Event) bool { return sinks.MayMatch(e.opts.Match, ev) }

// DeliverOptions returns how [sinks.Deliver] shall deliver to this endpoint. Each call
// returns a new value, whose Window, Drain and Replay are the caller's; all of them share
// the endpoint's policy. Of several endpoints with one name, it is this one's state that
// metrics show from now on.
func (e *Endpoint) DeliverOptions() *sinks.DeliverOptions {
	e.meter.observeState(e.stateName)
	d := &sinks.DeliverOptions{
		Match:       e.opts.Match,
		Concurrency: e.opts.Concurrency,
		Batch:       e.opts.Batch,
		Policy:      e.policy,
		OnSettle:    e.settled,
	}
	switch e.opts.Ordering {
	case OrderEndpoint:
		d.Key = func(*notifications.Event) string { return "" }
	case OrderNone:
		d.Key = func(ev *notifications.Event) string { return ev.ID }
	}
	return d
}

func (e *Endpoint) settled(outcome sinks.Outcome, settled []sinks.Delivery) {
	e.meter.settled(outcome, settled)
	e.policy.settled(outcome, settled)
}

func (e *Endpoint) stateName() StateName { return e.State().Name }

// Shutdown closes connections and files. A later Write returns notifications.ErrClosed.
// The metrics stay: see [Metrics.Forget].
func (e *Endpoint) Shutdown(ctx context.Context) error {
	if err := e.sender.Shutdown(ctx); err != nil {
		return fmt.Errorf("shutting down endpoint %s: %w", e.name, err)
	}
	return nil
}
