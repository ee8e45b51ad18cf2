package endpoints

import (
	"context"
	"errors"

	"github.com/regcast/regcast/notifications"
)

// A Sender makes the attempts of an [Endpoint] whose deliveries are not requests of a
// webhook: see [NewSenderEndpoint]. A Sender that also has a method Progress() string
// tells by it what it is doing, in a line, and one with Plan(*notifications.Event) Plan
// what it would do.
type Sender interface {
	// Send makes one attempt to deliver all of batch, for as long as ctx allows. What it
	// did before an error it may do again: the same batch may come once more. It is safe
	// for concurrent use. An event whose action is notifications.ActionPing is a test of
	// whether deliveries can work, and is none itself.
	//
	// Errors: a [*DeliveryError], whose class decides what becomes of the batch and of the
	// endpoint; notifications.ErrClosed after Shutdown.
	Send(ctx context.Context, batch []*notifications.Event) error

	// Shutdown gives back what the sender holds, once no Send is under way.
	Shutdown(ctx context.Context) error
}

// NewSenderEndpoint returns an endpoint of that name, as [NewEndpoint] does, with the same
// policy, metrics and states, whose attempts s makes; Shutdown of the endpoint is that of
// s, too. shown is what [Endpoint.URL] returns. Options for requests have no effect.
// Errors: all that is wrong with the arguments, see [OptionError].
func NewSenderEndpoint(name, shown string, s Sender, opts *Options) (*Endpoint, error) {
	return newEndpoint(name, opts, func(e *Endpoint, p problems) error {
		e.sender, e.shown = outside{s}, func() string { return shown }
		return p.err()
	})
}

// A Plan says what a delivery would do.
type Plan struct {
	Does string // in a line; "" if there would be none
	Key  string // the option by which there would be none, as the configuration file spells it
	Why  string // that in words
}

// Plan says what a delivery of ev would do, if the endpoint's matcher selects it. It is
// what the sender's method Plan says, and false if it has none: webhooks have a preview.
func (e *Endpoint) Plan(ev *notifications.Event) (Plan, bool) {
	if o, ok := e.sender.(outside); ok {
		if p, ok := o.Sender.(interface {
			Plan(*notifications.Event) Plan
		}); ok {
			return p.Plan(ev), true
		}
	}
	return Plan{}, false
}

// Progress is what the endpoint is doing, in a line; "" if that is nothing, or not told.
func (e *Endpoint) Progress() string {
	if o, ok := e.sender.(outside); ok {
		if p, ok := o.Sender.(interface{ Progress() string }); ok {
			return p.Progress()
		}
	}
	return ""
}

// outside is a sender of another package.
type outside struct{ Sender }

func (o outside) send(ctx context.Context, batch []*notifications.Event) (answer, error) {
	err := o.Send(ctx, batch)
	if e, ok := errors.AsType[*DeliveryError](err); ok {
		return answer{status: e.Status, excerpt: e.Excerpt}, err
	}
	return answer{}, err
}
