package delivery

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

// A Delivery is one endpoint at work: what moves new events to it, and the jobs that
// deliver old ones to it again. The endpoint behind it changes with the configuration.
type Delivery struct {
	name   string
	logger *slog.Logger
	live   *Flow

	mu       sync.Mutex // guards what follows
	config   *config.Endpoint
	endpoint *endpoints.Endpoint
	drain    time.Duration
	working  bool             // its flows are to work; false between two endpoints, too
	stopped  error            // why, once it is for good
	jobs     map[string]*Flow // by the name of their cursor
}

// open takes the endpoint's place in the engine, so that from now on no event passes it
// by. Nothing is delivered before begin.
func (s *Set) open(ctx context.Context, c *config.Endpoint, ep *endpoints.Endpoint) (*Delivery, error) {
	d := &Delivery{
		name: c.Name, logger: s.opts.Logger.With("endpoint", c.Name), config: c, endpoint: ep,
		jobs: make(map[string]*Flow),
	}
	d.live = &Flow{Name: c.Name, Logger: d.logger, Claim: s.claim(c)}
	if err := s.restoreState(ctx, c, ep); err != nil {
		return nil, err
	}
	if _, err := d.live.Place(ctx); err != nil {
		return nil, err
	}
	if err := s.opts.Engine.SetState(ctx, removedKey(c.Name), nil); err != nil {
		return nil, errors.Join(fmt.Errorf("endpoint %s: %w", c.Name, err), d.live.LetGo())
	}
	return d, nil
}

// claim returns what opens the place of an endpoint on the terms of c.
func (s *Set) claim(c *config.Endpoint) func(context.Context) (sinks.Cursor, error) {
	return func(ctx context.Context) (sinks.Cursor, error) {
		return s.opts.Engine.Cursor(ctx, c.Name, &sinks.CursorOptions{From: start(c.Start), Required: c.Required})
	}
}

// start is where a new endpoint's cursor begins.
func start(s config.Start) sinks.Position {
	switch {
	case s.Oldest:
		return sinks.Oldest()
	case !s.At.IsZero():
		return sinks.Since(s.At)
	default:
		return sinks.Now()
	}
}

// begin starts delivering. drain is how long requests under way may go on after the
// delivery was told to end.
func (d *Delivery) begin(drain time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drain, d.working = drain, true
	d.live.begin(d.endpoint, drain)
	for _, f := range d.jobs {
		f.begin(d.endpoint, drain)
	}
}

// Add begins the flow of a job, or lets it begin with the others. Errors: ErrRemoved;
// notifications.ErrClosed.
func (d *Delivery) Add(job *Flow) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped != nil {
		return d.stopped
	}
	d.jobs[job.Name] = job
	if d.working {
		job.begin(d.endpoint, d.drain)
	}
	return nil
}

// Drop forgets the flow of a job; whoever does halts it.
func (d *Delivery) Drop(job *Flow) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.jobs, job.Name)
}

// flows are those that work, or would.
func (d *Delivery) flows() []*Flow {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append(slices.Collect(maps.Values(d.jobs)), d.live)
}

// end tells all flows to end; halt waits for them.
func (d *Delivery) end() {
	d.mu.Lock()
	d.working = false
	d.mu.Unlock()
	for _, f := range d.flows() {
		f.end()
	}
}

// halt ends all flows and waits for them, but keeps their places.
func (d *Delivery) halt(ctx context.Context) error {
	d.end()
	var errs []error
	for _, f := range d.flows() {
		errs = append(errs, f.Halt(ctx))
	}
	return errors.Join(errs...)
}

// stop ends the delivery for good, which cause says why, and gives its places back.
func (d *Delivery) stop(ctx context.Context, cause error) error {
	d.mu.Lock()
	d.stopped = cause
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
func (d *Delivery) swap(c *config.Endpoint, ep *endpoints.Endpoint) (old *endpoints.Endpoint) {
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

// Current returns the endpoint of the moment and its configuration.
func (d *Delivery) Current() (*config.Endpoint, *endpoints.Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config, d.endpoint
}

// steer does something to the endpoint, no other being put in its place meanwhile.
func (d *Delivery) steer(do func(*endpoints.Endpoint)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do(d.endpoint)
}
