package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/sinks"
)

// byOperator is the cause of what a person has set.
const byOperator = "by an operator"

// Endpoints lists endpoints; see [admin.EndpointControl].
func (s *Set) Endpoints(ctx context.Context) ([]admin.Endpoint, error) {
	infos, err := s.opts.Engine.CursorInfos(ctx)
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
		if d := s.Named(info.Name); d != nil {
			fillWorking(&e, d)
		} else if err := s.fillRemoved(ctx, &e); err != nil {
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
func fillWorking(e *admin.Endpoint, d *Delivery) {
	config, ep := d.Current()
	s := ep.Snapshot()
	fillState(e, s.State())
	e.URL, e.Format, e.InFlight = ep.URL(), cmp.Or(config.Format, config.Kind), ep.InFlight()
	e.Progress = ep.Progress()
	e.Retried, e.LastError, e.LastSuccess = s.Retried, s.LastError, s.LastSuccess
}

func fillState(e *admin.Endpoint, s endpoints.State) {
	e.State, e.Cause, e.Since = string(s.Name), s.Cause, s.Since
}

// fillRemoved sets what there is to say of an endpoint that the configuration does not
// have any more.
func (s *Set) fillRemoved(ctx context.Context, e *admin.Endpoint) error {
	since, err := s.removedSince(ctx, e.Name)
	if err != nil && !errors.Is(err, sinks.ErrNotFound) {
		return err
	}
	fillState(e, endpoints.State{Name: endpoints.StateRemoved, Cause: "not in the configuration file", Since: since})
	known, err := readState(ctx, s.opts.Engine, e.Name)
	if err != nil && !errors.Is(err, sinks.ErrNotFound) {
		return fmt.Errorf("endpoint %s: reading its last state: %w", e.Name, err)
	}
	e.LastError, e.LastSuccess = known.LastError, known.LastSuccess
	return nil
}

// Control steers an endpoint; see [admin.EndpointControl]. What a person has set is
// durable when it returns.
func (s *Set) Control(ctx context.Context, name string, action admin.Action) error {
	if action == admin.Forget {
		return s.forget(ctx, name)
	}
	d, err := s.Find(ctx, name)
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
	return s.keeper.flush(ctx)
}

// Find returns the delivery of an endpoint of the configuration. Errors:
// admin.ErrNotFound; admin.ErrConflict for one that was removed.
func (s *Set) Find(ctx context.Context, name string) (*Delivery, error) {
	if d := s.Named(name); d != nil {
		return d, nil
	}
	infos, err := s.opts.Engine.CursorInfos(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing removed endpoints: %w", err)
	}
	for _, info := range infos {
		if info.Name == name && !records.IsJob(name) {
			return nil, fmt.Errorf("endpoint %s: %w: it was removed from the configuration", name, admin.ErrConflict)
		}
	}
	s.listing.RLock()
	names := slices.Sorted(maps.Keys(s.deliveries))
	s.listing.RUnlock()
	if len(names) == 0 {
		return nil, fmt.Errorf("endpoint %s: %w: the configuration has none", name, admin.ErrNotFound)
	}
	return nil, fmt.Errorf("endpoint %s: %w: there are %s", name, admin.ErrNotFound, strings.Join(names, ", "))
}
