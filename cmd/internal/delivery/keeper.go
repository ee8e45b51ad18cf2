package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/sinks"
)

// stateKey is where the state of the endpoint of that name is kept.
func stateKey(name string) string { return "endpoint/" + name }

// fileDisabled is the cause of an endpoint that the configuration file disables.
const fileDisabled = "by the configuration file"

// restoreState tells ep what was known of the endpoint of that name before a restart, or
// before it was removed.
func (s *Set) restoreState(ctx context.Context, c *config.Endpoint, ep *endpoints.Endpoint) error {
	known, err := readState(ctx, s.opts.Engine, c.Name)
	if err != nil && !errors.Is(err, sinks.ErrNotFound) {
		return fmt.Errorf("endpoint %s: reading its state: %w", c.Name, err)
	}
	if err == nil {
		ep.Restore(known)
	}
	followFile(ep, false, c.Disabled)
	return nil
}

func readState(ctx context.Context, store sinks.StateStore, name string) (s endpoints.Snapshot, err error) {
	value, err := store.State(ctx, stateKey(name))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(value, &s)
}

// followFile makes ep disabled when the file begins to say so, and enables it when the
// file no longer does and it was the file alone that had disabled it. What a person or
// the receiver has disabled no file enables.
func followFile(ep *endpoints.Endpoint, said, says bool) {
	state := ep.State()
	switch {
	case says && !said && state.Name != endpoints.StateDisabled:
		ep.Disable(fileDisabled)
	case !says && state.Name == endpoints.StateDisabled && state.Cause == fileDisabled:
		ep.Enable()
	}
}

// keepEvery is how often the states of endpoints are written, at most, unless a person
// waits for it. In a crash a change of that time is lost, and made again by the next
// answer.
const keepEvery = time.Second

// A keeper writes the states of endpoints behind those who change them.
type keeper struct {
	store  sinks.StateStore
	logger *slog.Logger
	cancel context.CancelFunc // ends run
	done   chan struct{}      // closed when run has returned
	wake   chan struct{}      // of capacity 1: something is dirty

	writing sync.Mutex // one flush at a time, so that the newest is written last
	mu      sync.Mutex
	dirty   map[string]endpoints.Snapshot
}

// startKeeper starts a keeper, which is ended by its stop.
func startKeeper(store sinks.StateStore, logger *slog.Logger) *keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k := &keeper{
		store: store, logger: logger, cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1),
		dirty: make(map[string]endpoints.Snapshot),
	}
	go k.run(ctx)
	return k
}

func (k *keeper) run(ctx context.Context) {
	defer close(k.done)
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		}
		if err := k.flush(ctx); err != nil && ctx.Err() == nil {
			k.logger.Error("writing how endpoints are", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// stop ends run and writes what is left.
func (k *keeper) stop(ctx context.Context) error {
	k.cancel()
	<-k.done
	return k.flush(ctx)
}

// note has s written soon.
func (k *keeper) note(name string, s endpoints.Snapshot) {
	k.mu.Lock()
	k.dirty[name] = s
	k.mu.Unlock()
	k.stir()
}

func (k *keeper) stir() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// flush returns once all that was noted before is durable. What cannot be written stays
// noted.
func (k *keeper) flush(ctx context.Context) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	dirty := k.dirty
	k.dirty = make(map[string]endpoints.Snapshot)
	k.mu.Unlock()
	var errs []error
	for name, s := range dirty {
		if err := k.write(ctx, name, s); err != nil {
			errs = append(errs, fmt.Errorf("endpoint %s: writing its state: %w", name, err))
			k.renote(name, s)
		}
	}
	return errors.Join(errs...)
}

// renote notes s again, unless something newer was.
func (k *keeper) renote(name string, s endpoints.Snapshot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, newer := k.dirty[name]; !newer {
		k.dirty[name] = s
	}
	k.stir()
}

func (k *keeper) write(ctx context.Context, name string, s endpoints.Snapshot) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return k.store.SetState(ctx, stateKey(name), value)
}

// forget removes what is kept of the endpoint of that name, which is not at work.
func (k *keeper) forget(ctx context.Context, name string) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	delete(k.dirty, name)
	k.mu.Unlock()
	return k.store.SetState(ctx, stateKey(name), nil)
}
