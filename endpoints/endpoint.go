package endpoints

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// A sender makes one attempt. status is that of an HTTP answer, else 0.
type sender interface {
	send(ctx context.Context, batch []*notifications.Event) (status int, err error)
	Shutdown(ctx context.Context) error
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
	filter *sinks.Filter // for Wants alone
	policy *policy
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
	o := opts.withDefaults()
	var p problems
	if !ValidName(name) {
		p.add("name", "%q is not [a-z0-9][a-z0-9-]{0,62}", name)
	}
	o.validate(&p)
	o.Logger = o.Logger.With(slog.String("endpoint", name))
	e := &Endpoint{name: name, opts: o, policy: newPolicy(o, o.Logger)}
	if err := e.open(rawURL, p); err != nil {
		return nil, err
	}
	e.filter = sinks.NewFilter(nowhere{}, o.Match)
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

// Write makes one attempt to deliver all of batch, whether it matches or not.
//
// Errors: a [*DeliveryError]; notifications.ErrClosed after Shutdown.
func (e *Endpoint) Write(ctx context.Context, batch []*notifications.Event) error {
	started := e.meter.begin()
	status, err := e.sender.send(ctx, batch)
	e.meter.end(started, len(batch), status, err)
	return err
}

// Wants tells whether the endpoint's matcher may select ev.
func (e *Endpoint) Wants(ev *notifications.Event) bool { return e.filter.Wants(ev) }

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
		OnSettle:    e.meter.settled,
	}
	switch e.opts.Ordering {
	case OrderEndpoint:
		d.Key = func(*notifications.Event) string { return "" }
	case OrderNone:
		d.Key = func(ev *notifications.Event) string { return ev.ID }
	}
	return d
}

// State says how the endpoint is.
func (e *Endpoint) State() State {
	e.policy.mu.Lock()
	defer e.policy.mu.Unlock()
	return e.policy.state
}

func (e *Endpoint) stateName() StateName { return e.State().Name }

// Disable sends nothing more until Enable. What is in flight goes on; what is pending
// stays pending. cause is shown.
func (e *Endpoint) Disable(cause string) {
	e.policy.mu.Lock()
	defer e.policy.mu.Unlock()
	e.policy.disable(cause)
}

// Enable ends what Disable, or an endpoint that said it is gone, began. It changes
// nothing otherwise.
func (e *Endpoint) Enable() {
	e.policy.mu.Lock()
	defer e.policy.mu.Unlock()
	e.policy.enable()
}

// Shutdown closes connections and files. A later Write returns notifications.ErrClosed.
// The metrics stay: see [Metrics.Forget].
func (e *Endpoint) Shutdown(ctx context.Context) error {
	if err := e.sender.Shutdown(ctx); err != nil {
		return fmt.Errorf("shutting down endpoint %s: %w", e.name, err)
	}
	return nil
}

// nowhere is where a filter leads that is only asked what it wants.
type nowhere struct{}

func (nowhere) Write(context.Context, []*notifications.Event) error { return nil }
