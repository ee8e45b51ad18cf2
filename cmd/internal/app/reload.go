package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
)

// Reload changes the running app to cfg: endpoints, filters, tokens and the log level. It
// is all or nothing: with an error everything goes on as before. ctx ends it only before
// anything has changed; then it takes the drain timeout at most. No event is lost or
// passed by; what is pending goes by the new settings. An endpoint that its receiver
// disabled stays so.
func (a *App) Reload(ctx context.Context, cfg *config.Config) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return errors.New("stopping")
	}
	defer func() {
		if err != nil {
			a.reloaded.Set(0)
		} else {
			a.reloaded.Set(1)
		}
	}()
	if problems := Check(cfg); len(problems) > 0 {
		return problems
	}
	if keys := config.NeedRestart(a.config, cfg); len(keys) > 0 {
		return fmt.Errorf("%s changed, which needs a restart; nothing was reloaded", strings.Join(keys, ", "))
	}
	next, err := a.prepare(cfg)
	if err != nil {
		return err
	}
	return a.apply(ctx, cfg, next)
}

// RefuseReload counts a file that could not even be read.
func (a *App) RefuseReload() { a.reloaded.Set(0) }

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
				err = errors.Join(err, d.letGo())
			}
			return errors.Join(err, a.discard(next))
		}
		opened[c.Name] = d
	}
	ctx = context.WithoutCancel(ctx) // from here on there is no way back
	a.tokens.Store(credentialsOf(cfg))
	drain := cfg.DrainTimeout
	kept := make(map[string]bool)
	for i := range cfg.Endpoints {
		kept[cfg.Endpoints[i].Name] = true
	}
	for name, d := range a.deliveries {
		if next[name] != nil || !kept[name] {
			d.cancel() // all at once, since each may take its drain timeout
		}
	}
	for i := range cfg.Endpoints {
		c := &cfg.Endpoints[i]
		if d := opened[c.Name]; d != nil {
			a.deliveries[c.Name] = d
			d.begin(drain)
			a.logger.Info("endpoint added", "endpoint", c.Name, "disabled", c.Disabled)
		} else if ep := next[c.Name]; ep != nil {
			a.replace(ctx, a.deliveries[c.Name], c, ep, drain)
		}
	}
	for name, d := range a.deliveries {
		if !kept[name] {
			a.remove(ctx, d)
			delete(a.deliveries, name)
		}
	}
	a.config = cfg
	if err := a.retireOthers(ctx, kept); err != nil {
		a.logger.Error("removed endpoints hold events back until the next reload or start", "error", err)
	}
	return nil
}

// replace goes on with d's place under the settings of c.
func (a *App) replace(ctx context.Context, d *delivery, c *config.Endpoint, ep *endpoints.Endpoint, drain time.Duration) {
	if err := d.halt(ctx); err != nil {
		a.logger.Error("replacing an endpoint", "endpoint", c.Name, "error", err)
	}
	if was := d.endpoint.State(); was.Name == endpoints.StateDisabled && !d.config.Disabled {
		ep.Disable(was.Cause) // a reload is nobody's decision to enable it
	}
	if err := d.endpoint.Shutdown(ctx); err != nil {
		a.logger.Error("replacing an endpoint", "endpoint", c.Name, "error", err)
	}
	next := a.newDelivery(c, ep)
	next.cursor = d.cursor
	if c.Required != d.config.Required {
		if err := next.takeAgain(ctx); err != nil {
			a.logger.Error("replacing an endpoint", "endpoint", c.Name, "error", err)
		}
	}
	a.deliveries[c.Name] = next
	next.begin(drain)
	a.logger.Info("endpoint changed", "endpoint", c.Name, "disabled", c.Disabled)
}

// remove stops a delivery whose endpoint is no longer in the file. Its place is kept.
func (a *App) remove(ctx context.Context, d *delivery) {
	name := d.config.Name
	if err := d.stop(ctx); err != nil {
		a.logger.Error("removing an endpoint", "endpoint", name, "error", err)
	}
	a.metrics.Forget(name)
	a.logger.Info("endpoint removed; its place is kept for 7 days", "endpoint", name)
}
