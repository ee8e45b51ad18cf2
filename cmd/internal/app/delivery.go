package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/sinks"
)

// A delivery is one endpoint at work: what moves new events to it, and the jobs that
// deliver old ones to it again. The endpoint behind it changes with the configuration.
type delivery struct {
	name   string
	logger *slog.Logger
	live   *flow

	mu       sync.Mutex // guards what follows
	config   *config.Endpoint
	endpoint *endpoints.Endpoint
	drain    time.Duration
	working  bool             // its flows are to work; false between two endpoints, too
	stopped  bool             // for good
	jobs     map[string]*flow // by the name of their cursor
}

// open takes the endpoint's place in the engine, so that from now on no event passes it
// by. Nothing is delivered before begin.
func (a *App) open(ctx context.Context, c *config.Endpoint, ep *endpoints.Endpoint) (*delivery, error) {
	d := &delivery{
		name: c.Name, logger: a.logger.With("endpoint", c.Name), config: c, endpoint: ep,
		jobs: make(map[string]*flow),
	}
	d.live = &flow{name: c.Name, logger: d.logger, claim: a.claim(c)}
	if err := a.restoreState(ctx, c, ep); err != nil {
		return nil, err
	}
	if _, err := d.live.place(ctx); err != nil {
		return nil, err
	}
	if err := a.engine.SetState(ctx, removedKey(c.Name), nil); err != nil {
		return nil, errors.Join(fmt.Errorf("endpoint %s: %w", c.Name, err), d.live.letGo())
	}
	return d, nil
}

// claim returns what opens the place of an endpoint on the terms of c.
func (a *App) claim(c *config.Endpoint) func(context.Context) (sinks.Cursor, error) {
	return func(ctx context.Context) (sinks.Cursor, error) {
		return a.engine.Cursor(ctx, c.Name, &sinks.CursorOptions{From: start(c.Start), Required: c.Required})
	}
}

// begin starts delivering. drain is how long requests under way may go on after the
// delivery was told to end.
func (d *delivery) begin(drain time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drain, d.working = drain, true
	d.live.begin(d.endpoint, drain)
	for _, f := range d.jobs {
		f.begin(d.endpoint, drain)
	}
}

// add begins a job, or lets it begin with the others. It tells whether d is still there
// to do so.
func (d *delivery) add(job *flow) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return false
	}
	d.jobs[job.name] = job
	if d.working {
		job.begin(d.endpoint, d.drain)
	}
	return true
}

// drop forgets a job; whoever does stops it.
func (d *delivery) drop(job *flow) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.jobs, job.name)
}

// flows are those that work, or would.
func (d *delivery) flows() []*flow {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append(slices.Collect(maps.Values(d.jobs)), d.live)
}

// end tells all flows to end; halt waits for them.
func (d *delivery) end() {
	d.mu.Lock()
	d.working = false
	d.mu.Unlock()
	for _, f := range d.flows() {
		f.end()
	}
}

// halt ends all flows and waits for them, but keeps their places.
func (d *delivery) halt(ctx context.Context) error {
	d.end()
	var errs []error
	for _, f := range d.flows() {
		errs = append(errs, f.halt(ctx))
	}
	return errors.Join(errs...)
}

// stop ends the delivery and gives its places back.
func (d *delivery) stop(ctx context.Context) error {
	d.mu.Lock()
	d.stopped = true
	d.mu.Unlock()
	d.end()
	var errs []error
	for _, f := range d.flows() {
		errs = append(errs, f.stop(ctx))
	}
	return errors.Join(append(errs, d.endpoint.Shutdown(ctx))...)
}

// swap puts ep, made from c, in the place of the endpoint, whose flows have ended, and
// returns that one. What is known of it and what was set goes on, but for a hold: the
// change may be what ends it.
func (d *delivery) swap(c *config.Endpoint, ep *endpoints.Endpoint) (old *endpoints.Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.config
	old = d.endpoint
	s := old.Snapshot()
	s.Found, s.Probes, s.Storm, s.Failing = endpoints.State{Name: endpoints.StateOK}, 0, time.Time{}, endpoints.Failing{}
	ep.Restore(s)
	followFile(ep, before.Disabled, c.Disabled)
	d.config, d.endpoint = c, ep
	return old
}

// current returns the endpoint of the moment and its configuration.
func (d *delivery) current() (*config.Endpoint, *endpoints.Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config, d.endpoint
}

// steer does something to the endpoint, no other being put in its place meanwhile.
func (d *delivery) steer(do func(*endpoints.Endpoint)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do(d.endpoint)
}
