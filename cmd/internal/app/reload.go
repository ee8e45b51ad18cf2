package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
)

// Reload reads the configuration file again and changes the running app to it: endpoints,
// filters, tokens and the log level. It is all or nothing: with an error everything goes
// on as before. ctx ends it only before anything has changed; then it takes the drain
// timeout at most. No event is lost or passed by; what is pending goes by the new
// settings. What was disabled or paused stays so.
//
// Errors: [config.Problems], all that is wrong with the file; those of reading it;
// admin.ErrConflict if there is none.
func (a *App) Reload(ctx context.Context) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return notifications.ErrClosed
	}
	file := a.config.File()
	if file == "" {
		return fmt.Errorf("%w: regcast runs without a configuration file", admin.ErrConflict)
	}
	defer func() {
		if err != nil {
			a.reloaded.Set(0)
			return
		}
		a.reloaded.Set(1)
		a.logger.Info("configuration reloaded", "file", file)
	}()
	cfg, err := Load(file)
	if err != nil {
		return err
	}
	if keys := config.NeedRestart(a.config, cfg); len(keys) > 0 {
		var problems config.Problems
		for _, key := range keys {
			problems = append(problems, cfg.Problem(key, "changed, which needs a restart"))
		}
		return problems
	}
	next, err := a.prepare(cfg)
	if err != nil {
		return err
	}
	return a.apply(ctx, cfg, next)
}

// prepare builds every endpoint of cfg that is new or changed; those that stay as they
// are have no entry. It changes nothing.
func (a *App) prepare(cfg *config.Config) (map[string]*endpoints.Endpoint, error) {
	next := make(map[string]*endpoints.Endpoint)
	for i := range cfg.Endpoints {
		c := &cfg.Endpoints[i]
		if d := a.deliveries[c.Name]; d != nil && reflect.DeepEqual(d.config, c) {
			continue
		}
		ep, err := a.newEndpoint(c)
		if err != nil {
			return nil, errors.Join(err, a.discard(next))
		}
		next[c.Name] = ep
	}
	return next, nil
}

// discard undoes prepare.
func (a *App) discard(eps map[string]*endpoints.Endpoint) error {
	var errs []error
	for name, ep := range eps {
		errs = append(errs, ep.Shutdown(context.Background()))
		if a.deliveries[name] == nil {
			a.metrics.Forget(name)
		}
	}
	return errors.Join(errs...)
}

// apply makes next the endpoints that are at work. Places of new endpoints are taken
// first, since that alone can fail; then nothing can.
func (a *App) apply(ctx context.Context, cfg *config.Config, next map[string]*endpoints.Endpoint) error {
	opened := make(map[string]*delivery)
	for i := range cfg.Endpoints {
		c := &cfg.Endpoints[i]
		if a.deliveries[c.Name] != nil {
			continue
		}
		d, err := a.open(ctx, c, next[c.Name])
		if err != nil {
			for _, d := range opened {
				err = errors.Join(err, d.live.letGo())
			}
			return errors.Join(err, a.discard(next))
		}
		opened[c.Name] = d
	}
	ctx = context.WithoutCancel(ctx) // from here on there is no way back
	a.tokens.Store(credentialsOf(cfg))
	if a.opts.Level != nil {
		_ = a.opts.Level.UnmarshalText([]byte(cfg.Log.Level)) // config has checked the name
	}
	drain := cfg.DrainTimeout
	kept := make(map[string]bool)
	for i := range cfg.Endpoints {
		kept[cfg.Endpoints[i].Name] = true
	}
	for name, d := range a.deliveries {
		if next[name] != nil || !kept[name] {
			d.end() // all at once, since each may take its drain timeout
		}
	}
	for i := range cfg.Endpoints {
		c := &cfg.Endpoints[i]
		if d := opened[c.Name]; d != nil {
			a.list(c.Name, d)
			d.begin(drain)
			a.logger.Info("endpoint added", "endpoint", c.Name, "disabled", c.Disabled)
		} else if ep := next[c.Name]; ep != nil {
			a.replace(ctx, a.deliveries[c.Name], c, ep, drain)
		}
	}
	for name, d := range a.deliveries {
		if !kept[name] {
			a.remove(ctx, d)
		}
	}
	a.listing.Lock()
	a.config = cfg
	a.listing.Unlock()
	if err := a.retireOthers(ctx, kept); err != nil {
		a.logger.Error("removed endpoints hold events back until the next reload or start", "error", err)
	}
	return nil
}

// list enters a delivery into what others see; nil takes it out.
func (a *App) list(name string, d *delivery) {
	a.listing.Lock()
	defer a.listing.Unlock()
	if d == nil {
		delete(a.deliveries, name)
	} else {
		a.deliveries[name] = d
	}
}

// replace lets d go on with an endpoint made from c.
func (a *App) replace(ctx context.Context, d *delivery, c *config.Endpoint, ep *endpoints.Endpoint, drain time.Duration) {
	err := d.halt(ctx)
	again := c.Required != d.config.Required
	err = errors.Join(err, d.swap(c, ep).Shutdown(ctx))
	d.live.claim = a.claim(c)
	if again {
		if err = errors.Join(err, d.live.letGo()); err == nil {
			_, err = d.live.place(ctx)
		}
	}
	if err != nil {
		a.logger.Error("replacing an endpoint", "endpoint", c.Name, "error", err)
	}
	d.begin(drain)
	a.logger.Info("endpoint changed", "endpoint", c.Name, "disabled", c.Disabled)
}

// remove stops a delivery whose endpoint is no longer in the file. Its place is kept; its
// jobs end.
func (a *App) remove(ctx context.Context, d *delivery) {
	err := a.stopDelivery(ctx, d)
	a.list(d.name, nil)
	err = errors.Join(err, a.jobs.endpointRemoved(ctx, d.name), a.keeper.flush(ctx))
	if err != nil {
		a.logger.Error("removing an endpoint", "endpoint", d.name, "error", err)
	}
	a.metrics.Forget(d.name)
	a.logger.Info("endpoint removed; its place is kept for 7 days", "endpoint", d.name)
}
