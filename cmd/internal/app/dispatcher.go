package app

import (
	"context"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/backfill"
	"github.com/regcast/regcast/cmd/internal/delivery"
	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/cmd/internal/replay"
)

// A dispatcher is an App as operators see it: an [admin.Dispatcher], put together from
// what answers each kind of question.
type dispatcher struct {
	app *App
	*delivery.Set
	records.Archive
	records.Letters
	*replay.Runner
	records.Quarantine
	*backfill.Runs
	*records.Operations
}

// Reload reads the configuration file again; see [admin.Operations].
func (d *dispatcher) Reload(ctx context.Context) error { return d.app.Reload(ctx) }

var _ admin.Dispatcher = (*dispatcher)(nil)

// openDispatcher reads what operators did before a restart, and lets jobs go on.
func (a *App) openDispatcher(ctx context.Context) error {
	log, err := records.OpenOperations(ctx, a.engine)
	if err != nil {
		return err
	}
	if err := a.replays.Restore(ctx); err != nil {
		return err
	}
	a.dispatcher = &dispatcher{
		app:        a,
		Set:        a.deliveries,
		Archive:    a.archive(),
		Letters:    records.Letters{Engine: a.engine},
		Runner:     a.replays,
		Quarantine: records.Quarantine{Engine: a.engine, Recorder: a.news, MaxEvents: a.config.Load().Intake.MaxEvents},
		Runs:       &backfill.Runs{Store: a.engine, Door: a.news, Set: a.deliveries},
		Operations: log,
	}
	return nil
}

func (a *App) archive() records.Archive {
	return records.Archive{Engine: a.engine, News: a.news, Filters: a.deliveries.Filters}
}
