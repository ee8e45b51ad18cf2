package app

import (
	"context"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/notifications"
)

// A dispatcher is an App as operators see it: an [admin.Dispatcher], put together from
// what answers each kind of question.
type dispatcher struct {
	control
	events
	letters
	*jobs
	quarantine
	*operations
}

// Reload reads the configuration file again; see [admin.Operations].
func (d *dispatcher) Reload(ctx context.Context) error { return d.control.app.Reload(ctx) }

var _ admin.Dispatcher = (*dispatcher)(nil)

// openDispatcher reads what operators did before a restart, and lets jobs go on.
func (a *App) openDispatcher(ctx context.Context) error {
	log, err := openOperations(ctx, a.engine)
	if err != nil {
		return err
	}
	if err := a.jobs.restore(ctx); err != nil {
		return err
	}
	a.dispatcher = &dispatcher{
		control:    control{a},
		events:     a.events(),
		letters:    letters{app: a},
		jobs:       a.jobs,
		quarantine: quarantine{engine: a.engine, recorder: a.news, maxEvents: a.config.Intake.MaxEvents},
		operations: log,
	}
	return nil
}

func (a *App) events() events { return events{engine: a.engine, news: a.news, places: a.places} }

// working are the endpoints of the configuration, by name.
func (a *App) working() map[string]*delivery {
	a.listing.RLock()
	defer a.listing.RUnlock()
	all := make(map[string]*delivery, len(a.deliveries))
	for name, d := range a.deliveries {
		all[name] = d
	}
	return all
}

// source is how this dispatcher names itself in events that it makes.
func (a *App) source() notifications.SourceRecord {
	a.listing.RLock()
	defer a.listing.RUnlock()
	return notifications.SourceRecord{Addr: a.config.Source.Addr}
}
