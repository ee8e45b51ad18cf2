package delivery

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// ErrRemoved says that an endpoint was taken out of the configuration.
var ErrRemoved = errors.New("the endpoint was removed from the configuration")

// Options are what a Set needs.
type Options struct {
	Engine sinks.Engine
	// Metrics are told of an endpoint whose series are to end.
	Metrics interface{ Forget(name string) }
	Logger  *slog.Logger
	// Build makes an endpoint, and starts nothing. It has the endpoint tell Note and
	// ReviveStorm of the set.
	Build func(*config.Endpoint) (*endpoints.Endpoint, error)
	// Removed is told of an endpoint that is no longer in the configuration, once its
	// flows have stopped.
	Removed func(ctx context.Context, name string) error
}

// A Set is the endpoints of the configuration, each with its [Delivery], and what is left
// of those that were removed. Its methods are safe for concurrent use. Whoever started it
// calls [Set.Shutdown].
type Set struct {
	opts   Options
	keeper *keeper

	mu    sync.Mutex // one Change, Shutdown or forgetting at a time
	sweep func()     // ends housekeeping; nil until it was begun
	// listing guards what they change for who holds no mu.
	listing    sync.RWMutex
	deliveries map[string]*Delivery
}

// Start returns a set of no endpoints.
func Start(opts *Options) *Set {
	return &Set{opts: *opts, keeper: startKeeper(opts.Engine, opts.Logger), deliveries: make(map[string]*Delivery)}
}

// Named returns the delivery of the endpoint of that name, nil if the configuration has
// none.
func (s *Set) Named(name string) *Delivery {
	s.listing.RLock()
	defer s.listing.RUnlock()
	return s.deliveries[name]
}

// Filters tells whether the endpoint of that name filters e out, as it is configured now.
func (s *Set) Filters(name string, e *notifications.Event) bool {
	d := s.Named(name)
	if d == nil {
		return false
	}
	_, ep := d.Current()
	return !ep.Wants(e)
}

// Note has what is known of an endpoint kept in the engine, soon.
func (s *Set) Note(name string, known endpoints.Snapshot) { s.keeper.note(name, known) }

// Change makes the endpoints of cfg those that are at work. It is all or nothing: places
// of new endpoints are taken first, since that and building alone can fail; then committed
// is called, which is to put the rest of cfg into force, and nothing can fail any more. ctx
// ends Change only before that; then it takes the drain timeout at most.
//
// No event is lost or passed by; what is pending goes by the new settings. What was
// disabled or paused stays so. The first Change begins housekeeping, too, which forgets
// the places of endpoints that were removed long ago.
func (s *Set) Change(ctx context.Context, cfg *config.Config, committed func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.prepare(cfg)
	if err != nil {
		return err
	}
	opened, err := s.openNew(ctx, cfg, next)
	if err != nil {
		return errors.Join(err, s.discard(next))
	}
	committed()
	s.apply(context.WithoutCancel(ctx), cfg, next, opened)
	if s.sweep == nil {
		s.sweep = s.startHousekeeping()
	}
	return nil
}

// prepare builds every endpoint of cfg that is new or changed; those that stay as they
// are have no entry. It changes nothing.
func (s *Set) prepare(cfg *config.Config) (map[string]*endpoints.Endpoint, error) {
	next := make(map[string]*endpoints.Endpoint)
	for i := range cfg.Endpoints {
		c := &cfg.Endpoints[i]
		if d := s.deliveries[c.Name]; d != nil && reflect.DeepEqual(d.config, c) {
			continue
		}
		ep, err := s.opts.Build(c)
		if err != nil {
			return nil, errors.Join(err, s.discard(next))
		}
		next[c.Name] = ep
	}
	return next, nil
}

// discard undoes prepare.
func (s *Set) discard(eps map[string]*endpoints.Endpoint) error {
	var errs []error
	for name, ep := range eps {
		errs = append(errs, ep.Shutdown(context.Background()))
		if s.deliveries[name] == nil {
			s.opts.Metrics.Forget(name)
		}
	}
	return errors.Join(errs...)
}

// openNew takes the places of the endpoints of cfg that are new, or none.
func (s *Set) openNew(ctx context.Context, cfg *config.Config, next map[string]*endpoints.Endpoint) (map[string]*Delivery, error) {
	opened := make(map[string]*Delivery)
	for i := range cfg.Endpoints {
		c := &cfg.Endpoints[i]
		if s.deliveries[c.Name] != nil {
			continue
		}
		d, err := s.open(ctx, c, next[c.Name])
		if err != nil {
			for _, d := range opened {
				err = errors.Join(err, d.live.LetGo())
			}
			return nil, err
		}
		opened[c.Name] = d
	}
	return opened, nil
}

// apply is the part of Change that cannot fail.
func (s *Set) apply(ctx context.Context, cfg *config.Config, next map[string]*endpoints.Endpoint, opened map[string]*Delivery) {
	kept := make(map[string]bool)
	for i := range cfg.Endpoints {
		kept[cfg.Endpoints[i].Name] = true
	}
	for name, d := range s.deliveries {
		if next[name] != nil || !kept[name] {
			d.end() // all at once, since each may take its drain timeout
		}
	}
	for i := range cfg.Endpoints {
		c := &cfg.Endpoints[i]
		if d := opened[c.Name]; d != nil {
			s.list(c.Name, d)
			d.begin(cfg.DrainTimeout)
			s.opts.Logger.Info("endpoint added", "endpoint", c.Name, "disabled", c.Disabled)
		} else if ep := next[c.Name]; ep != nil {
			s.replace(ctx, s.deliveries[c.Name], c, ep, cfg.DrainTimeout)
		}
	}
	for name, d := range s.deliveries {
		if !kept[name] {
			s.remove(ctx, d)
		}
	}
	if err := s.retireOthers(ctx, kept); err != nil {
		s.opts.Logger.Error("removed endpoints hold events back until the next reload or start", "error", err)
	}
}

// list enters a delivery into what others see; nil takes it out.
func (s *Set) list(name string, d *Delivery) {
	s.listing.Lock()
	defer s.listing.Unlock()
	if d == nil {
		delete(s.deliveries, name)
	} else {
		s.deliveries[name] = d
	}
}

// replace lets d go on with an endpoint made from c.
func (s *Set) replace(ctx context.Context, d *Delivery, c *config.Endpoint, ep *endpoints.Endpoint, drain time.Duration) {
	err := d.halt(ctx)
	again := c.Required != d.config.Required
	err = errors.Join(err, d.swap(c, ep).Shutdown(ctx))
	d.live.Claim = s.claim(c)
	if again {
		if err = errors.Join(err, d.live.LetGo()); err == nil {
			_, err = d.live.Place(ctx)
		}
	}
	if err != nil {
		s.opts.Logger.Error("replacing an endpoint", "endpoint", c.Name, "error", err)
	}
	d.begin(drain)
	s.opts.Logger.Info("endpoint changed", "endpoint", c.Name, "disabled", c.Disabled)
}

// remove stops a delivery whose endpoint is no longer in the file. Its place is kept; its
// jobs end.
func (s *Set) remove(ctx context.Context, d *Delivery) {
	err := s.stop(ctx, d, ErrRemoved)
	s.list(d.name, nil)
	err = errors.Join(err, s.opts.Removed(ctx, d.name), s.keeper.flush(ctx))
	if err != nil {
		s.opts.Logger.Error("removing an endpoint", "endpoint", d.name, "error", err)
	}
	s.opts.Metrics.Forget(d.name)
	s.opts.Logger.Info("endpoint removed; its place is kept for 7 days", "endpoint", d.name)
}

// stop stops d and has all that is known of its endpoint written down.
func (s *Set) stop(ctx context.Context, d *Delivery, cause error) error {
	err := d.stop(ctx, cause)
	_, ep := d.Current()
	s.keeper.note(d.name, ep.Snapshot())
	return err
}

// Shutdown ends housekeeping and all deliveries, whose requests under way get the
// configuration's drain timeout, and writes places and states down. It is called once.
// When ctx ends first, what is left is cut short and its error is returned.
func (s *Set) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	sweep := s.sweep
	s.mu.Unlock()
	if sweep != nil {
		sweep() // which may be waiting for mu
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		d.end() // all at once, since each may take its drain timeout
	}
	var errs []error
	for _, d := range s.deliveries {
		errs = append(errs, s.stop(ctx, d, notifications.ErrClosed))
	}
	return errors.Join(append(errs, s.keeper.stop(ctx))...)
}
