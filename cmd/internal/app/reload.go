package app

import (
	"context"
	"fmt"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/config"
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
	before := a.config.Load()
	file := before.File()
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
	if keys := config.NeedRestart(before, cfg); len(keys) > 0 {
		var problems config.Problems
		for _, key := range keys {
			problems = append(problems, cfg.Problem(key, "changed, which needs a restart"))
		}
		return problems
	}
	return a.change(ctx, cfg)
}

// change puts into force what of cfg can change while the app runs: endpoints, tokens and
// the log level.
func (a *App) change(ctx context.Context, cfg *config.Config) error {
	return a.deliveries.Change(ctx, cfg, func() {
		a.tokens.Store(credentialsOf(cfg))
		if a.opts.Level != nil {
			_ = a.opts.Level.UnmarshalText([]byte(cfg.Log.Level)) // config has checked the name
		}
		a.config.Store(cfg)
	})
}
