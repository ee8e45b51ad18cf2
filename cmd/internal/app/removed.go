package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/regcast/regcast/sinks"
)

// removedFor is how long the place of an endpoint that was taken out of the file is kept.
const removedFor = 7 * 24 * time.Hour

// removedPrefix begins the state keys that say since when an endpoint is not in the file.
const removedPrefix = "removed/"

func removedKey(name string) string { return removedPrefix + name }

// retireOthers lets every place that is not an endpoint of the file hold nothing back,
// and notes since when.
func (a *App) retireOthers(ctx context.Context, kept map[string]bool) error {
	infos, err := a.engine.CursorInfos(ctx)
	if err != nil {
		return fmt.Errorf("listing the places of endpoints: %w", err)
	}
	for _, info := range infos {
		if kept[info.Name] || info.Held {
			continue
		}
		if err := a.retire(ctx, info.Name); err != nil {
			return fmt.Errorf("retiring the place of endpoint %s: %w", info.Name, err)
		}
	}
	return nil
}

func (a *App) retire(ctx context.Context, name string) error {
	_, err := a.engine.State(ctx, removedKey(name))
	if !errors.Is(err, sinks.ErrNotFound) {
		return err // retired before
	}
	if err := a.engine.RetireCursor(ctx, name); err != nil {
		return err
	}
	return a.engine.SetState(ctx, removedKey(name), []byte(time.Now().UTC().Format(time.RFC3339)))
}

// startHousekeeping forgets, from time to time, the places of endpoints that were taken
// out of the file long ago. The goroutine is joined by a.sweep.
func (a *App) startHousekeeping() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Hour)
		defer tick.Stop()
		for {
			if err := a.forgetRemoved(ctx, time.Now()); err != nil && ctx.Err() == nil {
				a.logger.Error("forgetting removed endpoints", "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	a.sweep = func() { cancel(); <-done }
}

func (a *App) forgetRemoved(ctx context.Context, now time.Time) error {
	keys, err := a.engine.StateKeys(ctx, removedPrefix)
	if err != nil {
		return err
	}
	var errs []error
	for _, key := range keys {
		errs = append(errs, a.forgetIfOld(ctx, strings.TrimPrefix(key, removedPrefix), now))
	}
	return errors.Join(errs...)
}

func (a *App) forgetIfOld(ctx context.Context, name string, now time.Time) error {
	value, err := a.engine.State(ctx, removedKey(name))
	if err != nil {
		return err
	}
	since, err := time.Parse(time.RFC3339, string(value))
	if err != nil {
		return fmt.Errorf("endpoint %s was removed at no time that can be read: %w", name, err)
	}
	if now.Sub(since) < removedFor {
		return nil
	}
	if err := a.engine.DeleteCursor(ctx, name); err != nil {
		return fmt.Errorf("forgetting endpoint %s: %w", name, err)
	}
	a.logger.Info("forgot an endpoint that was removed a week ago", "endpoint", name, "since", since)
	return a.engine.SetState(ctx, removedKey(name), nil)
}
