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
	cursor   sinks.Cursor
	endpoint *endpoints.Endpoint
	logger   *slog.Logger

	cancel context.CancelFunc // ends run; drains first
	done   chan struct{}      // closed when run has returned; nil while disabled
}

// open takes the endpoint's place in the engine, so that from now on no event passes it
// by. Nothing is delivered before begin.
func (a *App) open(ctx context.Context, c *config.Endpoint, ep *endpoints.Endpoint) (*delivery, error) {
	cursor, err := a.engine.Cursor(ctx, c.Name, &sinks.CursorOptions{From: start(c.Start), Required: c.Required})
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: opening its place in the engine: %w", c.Name, err)
	}
	if err := a.engine.SetState(ctx, removedKey(c.Name), nil); err != nil {
		return nil, errors.Join(fmt.Errorf("endpoint %s: %w", c.Name, err), cursor.Close())
	}
	return &delivery{
		config: c, cursor: cursor, endpoint: ep,
		logger: a.logger.With("endpoint", c.Name),
		cancel: func() {},
	}, nil
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
// again: what is stored is not given up on.
func (d *delivery) run(ctx context.Context, drain time.Duration) {
	defer close(d.done)
	opts := d.endpoint.DeliverOptions()
	opts.Drain = drain
	for {
		err := sinks.Deliver(ctx, d.cursor, d.endpoint, opts)
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
	err := d.halt(ctx)
	if cerr := d.cursor.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("endpoint %s: closing its place: %w", d.config.Name, cerr))
	}
	return errors.Join(err, d.endpoint.Shutdown(ctx))
}
