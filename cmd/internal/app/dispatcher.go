package app

import (
	"context"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/notifications"
)

// A dispatcher is an App as operators see it: an [admin.Dispatcher], put together from
// what answers each kind of question.
type dispatcher struct {
	control
	records.Archive
	letters
	*jobs
	records.Quarantine
	*records.Operations
}

// Reload reads the configuration file again; see [admin.Operations].
func (d *dispatcher) Reload(ctx context.Context) error { return d.control.app.Reload(ctx) }

var _ admin.Dispatcher = (*dispatcher)(nil)

// openDispatcher reads what operators did before a restart, and lets jobs go on.
func (a *App) openDispatcher(ctx context.Context) error {
	log, err := records.OpenOperations(ctx, a.engine)
	if err != nil {
		return err
	}
	if err := a.jobs.restore(ctx); err != nil {
		return err
	}
	a.dispatcher = &dispatcher{
		control:    control{a},
		Archive:    a.archive(),
		letters:    letters{a.letters(), a},
		jobs:       a.jobs,
		Quarantine: records.Quarantine{Engine: a.engine, Recorder: a.news, MaxEvents: a.config.Intake.MaxEvents},
		Operations: log,
	}
	return nil
}

func (a *App) archive() records.Archive {
	return records.Archive{Engine: a.engine, News: a.news, Filters: a.filters}
}

func (a *App) letters() records.Letters { return records.Letters{Engine: a.engine} }

// filters tells whether the filter of an endpoint, as it is configured now, keeps e out.
func (a *App) filters(endpoint string, e *notifications.Event) bool {
	d := a.working()[endpoint]
	if d == nil {
		return false
	}
	_, ep := d.current()
	return !ep.Wants(e)
}

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
