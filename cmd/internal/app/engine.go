package app

import (
	"context"

	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// A condition is what an engine says of itself.
type condition interface {
	Healthy() error   // nil: it works
	Accepting() error // nil: it can store events now
}

// openEngine opens the engine that the configuration names.
func (a *App) openEngine(ctx context.Context, cfg *config.Config) error {
	switch c := &cfg.Engine; c.Kind {
	case config.EngineMemory:
		a.logger.Warn("the memory engine forgets everything at a restart")
		m := sinks.NewMemory(&sinks.MemoryOptions{
			History:   sinks.HistoryMode(c.History),
			MaxStates: 2 * records.MaxOperations, // the operators' log, and everything else
		})
		a.engine, a.condition = m, m
	default:
		j, err := journal.Open(cfg.DataDir, &journal.Options{
			RetentionAge:    c.Journal.RetentionAge,
			RetentionBytes:  int64(c.Journal.RetentionBytes),
			OnFull:          journal.OnFull(c.Journal.OnFull),
			DeadBytes:       int64(c.Journal.DeadBytes),
			QuarantineBytes: int64(c.Journal.QuarantineBytes),
			History:         sinks.HistoryMode(c.History),
			Registerer:      a.registry,
			Logger:          a.logger,
		})
		if err != nil {
			return err // which says that the journal was being opened
		}
		a.engine, a.condition = j, j
	}
	if history, ok := a.engine.(sinks.History); ok && cfg.Engine.History != config.HistoryOff {
		a.history = history
	}
	return nil
}
