package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/sinks"
)

// control shows and steers the endpoints of an App.
type control struct{ app *App }

// byOperator is the cause of what a person has set.
const byOperator = "by an operator"

// Endpoints lists endpoints; see [admin.EndpointControl].
func (c control) Endpoints(ctx context.Context) ([]admin.Endpoint, error) {
	working := c.app.working()
	infos, err := c.app.engine.CursorInfos(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing how far endpoints are: %w", err)
	}
	var list []admin.Endpoint
	for _, info := range infos {
		if records.IsJob(info.Name) {
			continue
		}
		e := admin.Endpoint{Name: info.Name}
		fillStanding(&e, &info)
		if d := working[info.Name]; d != nil {
			fillWorking(&e, d)
		} else if err := c.fillRemoved(ctx, &e); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b admin.Endpoint) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// fillStanding sets how far an endpoint is.
func fillStanding(e *admin.Endpoint, info *sinks.CursorInfo) {
	e.Pending, e.Parked = info.Pending, info.Parked
	if !info.OldestPending.IsZero() {
		e.OldestPendingSeconds = max(time.Since(info.OldestPending).Seconds(), 0)
	}
	e.Delivered, e.Filtered = info.Totals[sinks.Delivered], info.Totals[sinks.Filtered]
	e.Dead, e.Dropped = info.Totals[sinks.DeadLettered], info.Totals[sinks.Dropped]
	e.Evicted = info.Totals[sinks.Evicted]
}

// fillWorking sets how an endpoint of the configuration is.
func fillWorking(e *admin.Endpoint, d *delivery) {
	config, ep := d.current()
	s := ep.Snapshot()
	fillState(e, s.State())
	e.URL, e.Format, e.InFlight = ep.URL(), config.Format, ep.InFlight()
	e.Retried, e.LastError, e.LastSuccess = s.Retried, s.LastError, s.LastSuccess
}

func fillState(e *admin.Endpoint, s endpoints.State) {
	e.State, e.Cause, e.Since = string(s.Name), s.Cause, s.Since
}

// fillRemoved sets what there is to say of an endpoint that the configuration does not
// have any more.
func (c control) fillRemoved(ctx context.Context, e *admin.Endpoint) error {
	since, err := c.app.removedSince(ctx, e.Name)
	if err != nil && !errors.Is(err, sinks.ErrNotFound) {
		return err
	}
	fillState(e, endpoints.State{Name: endpoints.StateRemoved, Cause: "not in the configuration file", Since: since})
	s, err := readState(ctx, c.app.engine, e.Name)
	if err != nil && !errors.Is(err, sinks.ErrNotFound) {
		return fmt.Errorf("endpoint %s: reading its last state: %w", e.Name, err)
	}
	e.LastError, e.LastSuccess = s.LastError, s.LastSuccess
	return nil
}

// Control steers an endpoint; see [admin.EndpointControl]. What a person has set is
// durable when it returns.
func (c control) Control(ctx context.Context, name string, action admin.Action) error {
	if action == admin.Forget {
		return c.app.forget(ctx, name)
	}
	d, err := c.app.find(ctx, name)
	if err != nil {
		return err
	}
	switch action {
	case admin.Pause:
		d.steer(func(ep *endpoints.Endpoint) { ep.Pause(byOperator) })
	case admin.Resume:
		d.steer((*endpoints.Endpoint).Resume)
	case admin.Disable:
		d.steer(func(ep *endpoints.Endpoint) { ep.Disable(byOperator) })
	case admin.Enable:
		d.steer((*endpoints.Endpoint).Enable)
	default:
		return fmt.Errorf("%w: nothing called %q can be done to an endpoint", admin.ErrInvalid, action)
	}
	return c.app.keeper.flush(ctx)
}

// find returns the delivery of an endpoint of the configuration.
func (a *App) find(ctx context.Context, name string) (*delivery, error) {
	working := a.working()
	if d := working[name]; d != nil {
		return d, nil
	}
	infos, err := a.engine.CursorInfos(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing removed endpoints: %w", err)
	}
	var names []string
	for known := range working {
		names = append(names, known)
	}
	for _, info := range infos {
		if info.Name == name && !records.IsJob(name) {
			return nil, fmt.Errorf("endpoint %s: %w: it was removed from the configuration", name, admin.ErrConflict)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("endpoint %s: %w: the configuration has none", name, admin.ErrNotFound)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("endpoint %s: %w: there are %s", name, admin.ErrNotFound, strings.Join(names, ", "))
}
