package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/sinks"
)

// A delivery is one endpoint at work: its place in the engine, and what moves events from
// there.
type delivery struct {
	config   *config.Endpoint
	cursor   sinks.Cursor // nil while run could not take it back; run's own until it is done
	claim    func(context.Context) (sinks.Cursor, error)
	endpoint *endpoints.Endpoint
	logger   *slog.Logger

	cancel context.CancelFunc // ends run; drains first
	done   chan struct{}      // closed when run has returned; nil while disabled
}

// open takes the endpoint's place in the engine, so that from now on no event passes it
// by. Nothing is delivered before begin.
func (a *App) open(ctx context.Context, c *config.Endpoint, ep *endpoints.Endpoint) (*delivery, error) {
	d := a.newDelivery(c, ep)
	var err error
	if d.cursor, err = d.claim(ctx); err != nil {
		return nil, err
	}
	if err := a.engine.SetState(ctx, removedKey(c.Name), nil); err != nil {
		return nil, errors.Join(fmt.Errorf("endpoint %s: %w", c.Name, err), d.cursor.Close())
	}
	return d, nil
}

// newDelivery returns a delivery that has no place yet.
func (a *App) newDelivery(c *config.Endpoint, ep *endpoints.Endpoint) *delivery {
	return &delivery{
		config: c, endpoint: ep, logger: a.logger.With("endpoint", c.Name), cancel: func() {},
		claim: func(ctx context.Context) (sinks.Cursor, error) {
			cursor, err := a.engine.Cursor(ctx, c.Name, &sinks.CursorOptions{From: start(c.Start), Required: c.Required})
			if err != nil {
				return nil, fmt.Errorf("endpoint %s: opening its place in the engine: %w", c.Name, err)
			}
			return cursor, nil
		},
	}
}

// begin starts delivering, unless the configuration says disabled. drain is how long
// requests under way may go on after the delivery was told to end.
func (d *delivery) begin(drain time.Duration) {
	if d.config.Disabled {
		d.endpoint.Disable("by the configuration file")
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel, d.done = cancel, make(chan struct{})
	go d.run(ctx, drain)
}

// deliverAgain is how long to wait when delivering ended by an error of the engine.
const deliverAgain = 5 * time.Second

// run delivers until ctx ends. An engine that fails (a disk that cannot be read) is tried
// again, with a cursor of its own so that no loan of the last try is left: what is stored
// is not given up on.
func (d *delivery) run(ctx context.Context, drain time.Duration) {
	defer close(d.done)
	opts := d.endpoint.DeliverOptions()
	if opts.Drain = drain; drain == 0 {
		opts.Drain = -1 // Deliver takes 0 for its default
	}
	for {
		err := d.deliver(ctx, opts)
		if err == nil || ctx.Err() != nil {
			return
		}
		d.logger.Error("delivering stopped, trying again", "error", err, "after", deliverAgain)
		select {
		case <-ctx.Done():
			return
		case <-time.After(deliverAgain):
		}
	}
}

// deliver is one try of run.
func (d *delivery) deliver(ctx context.Context, opts *sinks.DeliverOptions) (err error) {
	if d.cursor == nil {
		if d.cursor, err = d.claim(ctx); err != nil {
			return err
		}
	}
	if err = sinks.Deliver(ctx, d.cursor, d.endpoint, opts); err != nil {
		err = errors.Join(err, d.letGo())
	}
	return err
}

// takeAgain takes the place under the terms of a changed configuration.
func (d *delivery) takeAgain(ctx context.Context) (err error) {
	if err = d.letGo(); err != nil {
		return err
	}
	d.cursor, err = d.claim(ctx)
	return err
}

// letGo gives the place back.
func (d *delivery) letGo() error {
	if d.cursor == nil {
		return nil
	}
	cursor := d.cursor
	d.cursor = nil
	if err := cursor.Close(); err != nil {
		return fmt.Errorf("endpoint %s: closing its place: %w", d.config.Name, err)
	}
	return nil
}

// halt ends run and waits for it, but keeps the place.
func (d *delivery) halt(ctx context.Context) error {
	d.cancel()
	if d.done == nil {
		return nil
	}
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("endpoint %s: waiting for requests under way: %w", d.config.Name, ctx.Err())
	}
}

// stop ends the delivery and gives its place back.
func (d *delivery) stop(ctx context.Context) error {
	if err := d.halt(ctx); err != nil {
		return errors.Join(err, d.endpoint.Shutdown(ctx)) // run has the place still
	}
	return errors.Join(d.letGo(), d.endpoint.Shutdown(ctx))
}
