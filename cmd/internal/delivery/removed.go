package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/sinks"
)

// removedFor is how long the place of an endpoint that was taken out of the file is kept.
const removedFor = 7 * 24 * time.Hour

// removedPrefix begins the state keys that say since when an endpoint is not in the file.
const removedPrefix = "removed/"

func removedKey(name string) string { return removedPrefix + name }

// retireOthers lets every place that is not an endpoint of the file hold nothing back,
// and notes since when.
func (s *Set) retireOthers(ctx context.Context, kept map[string]bool) error {
	infos, err := s.opts.Engine.CursorInfos(ctx)
	if err != nil {
		return fmt.Errorf("listing the places of endpoints: %w", err)
	}
	for _, info := range infos {
		if kept[info.Name] || info.Held || records.IsJob(info.Name) {
			continue
		}
		if err := s.retire(ctx, info.Name); err != nil {
			return fmt.Errorf("retiring the place of endpoint %s: %w", info.Name, err)
		}
	}
	return nil
}

func (s *Set) retire(ctx context.Context, name string) error {
	_, err := s.removedSince(ctx, name)
	if !errors.Is(err, sinks.ErrNotFound) {
		return err // retired before
	}
	if err := s.opts.Engine.RetireCursor(ctx, name); err != nil {
		return err
	}
	return s.opts.Engine.SetState(ctx, removedKey(name), []byte(time.Now().UTC().Format(time.RFC3339)))
}

// startHousekeeping forgets, from time to time, the places of endpoints that were taken
// out of the file long ago. The goroutine is joined by what it returns.
func (s *Set) startHousekeeping() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Hour)
		defer tick.Stop()
		for {
			if err := s.forgetRemoved(ctx, time.Now()); err != nil && ctx.Err() == nil {
				s.opts.Logger.Error("forgetting removed endpoints", "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (s *Set) forgetRemoved(ctx context.Context, now time.Time) error {
	keys, err := s.opts.Engine.StateKeys(ctx, removedPrefix)
	if err != nil {
		return err
	}
	var errs []error
	for _, key := range keys {
		name := strings.TrimPrefix(key, removedPrefix)
		since, err := s.removedSince(ctx, name)
		if err == nil && now.Sub(since) >= removedFor {
			if err = s.forget(ctx, name); err == nil {
				s.opts.Logger.Info("forgot an endpoint that was removed a week ago", "endpoint", name, "since", since)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removedSince is since when an endpoint is not in the file. Errors: sinks.ErrNotFound.
func (s *Set) removedSince(ctx context.Context, name string) (time.Time, error) {
	value, err := s.opts.Engine.State(ctx, removedKey(name))
	if err != nil {
		return time.Time{}, err
	}
	since, err := time.Parse(time.RFC3339, string(value))
	if err != nil {
		return time.Time{}, fmt.Errorf("endpoint %s was removed at no time that can be read: %w", name, err)
	}
	return since, nil
}

// forget ends an endpoint that is not in the file: its dead letters go, its place, and
// all that is known of it. That it was removed is forgotten last, so that what a crash
// interrupts can be done again.
func (s *Set) forget(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deliveries[name] != nil {
		return fmt.Errorf("endpoint %s: %w: take it out of the configuration first", name, admin.ErrConflict)
	}
	infos, err := s.opts.Engine.CursorInfos(ctx)
	if err != nil {
		return fmt.Errorf("listing the places of endpoints: %w", err)
	}
	if _, err := s.removedSince(ctx, name); !slices.ContainsFunc(infos, func(i sinks.CursorInfo) bool { return i.Name == name }) && err != nil || records.IsJob(name) {
		return fmt.Errorf("endpoint %s: %w", name, admin.ErrNotFound)
	}
	letters := records.Letters{Engine: s.opts.Engine}
	dead := admin.DeadRequest{DeadSelection: admin.DeadSelection{Endpoint: name}}
	if _, err := letters.DropDead(ctx, dead); err != nil {
		return err
	}
	if err := s.opts.Engine.DeleteCursor(ctx, name); err != nil {
		return fmt.Errorf("forgetting endpoint %s: %w", name, err)
	}
	if err := s.keeper.forget(ctx, name); err != nil {
		return fmt.Errorf("forgetting endpoint %s: %w", name, err)
	}
	s.opts.Metrics.Forget(name)
	return s.opts.Engine.SetState(ctx, removedKey(name), nil)
}
