package backfill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/delivery"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

const (
	runPrefix = "backfill/" // begins the state key of each run
	maxRuns   = 100         // that were not ended and are remembered
)

// Runs is a dispatcher's end of backfills. Its fields are set before use and stay; its
// methods are safe for concurrent use. What has to outlive a restart is in the engine.
type Runs struct {
	Store sinks.Engine
	Door  notifications.Recorder // of Store
	Set   *delivery.Set

	mu sync.Mutex // one at a time: between looking for an event and storing it there is no other
}

// A run is how far a backfill is, as it is kept.
type run struct {
	After      string    `json:"after,omitempty"`      // finished are this repository and those before it
	Unreadable int       `json:"unreadable,omitempty"` // in these
	Accepted   uint64    `json:"accepted"`
	Updated    time.Time `json:"updated"`
}

// Backfill does one step of a backfill; see [admin.Backfills].
func (r *Runs) Backfill(ctx context.Context, sender string, q admin.BackfillRequest) (out admin.Backfilled, err error) {
	searcher, ok := r.Store.(sinks.Searcher)
	if !ok {
		return out, fmt.Errorf("this engine cannot look events up by their ids, which a backfill needs: %w", admin.ErrUnsupported)
	}
	registry, err := ParseRegistry(q.From)
	if err != nil {
		return out, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	q.Endpoints = slices.Compact(slices.Sorted(slices.Values(q.Endpoints)))
	for _, name := range q.Endpoints {
		if _, err := r.Set.Find(ctx, name); err != nil {
			return out, err
		}
	}
	key, err := runKey(registry, &q)
	if err != nil {
		return out, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case q.Step == admin.BackfillStore:
		return r.store(ctx, searcher, registry, key, sender, &q)
	case q.DryRun:
		return out, nil
	case q.Step == admin.BackfillEnd:
		return r.end(ctx, key)
	}
	return r.begin(ctx, key, q.Restart)
}

// runKey is the state key of a run.
func runKey(registry *url.URL, q *admin.BackfillRequest) (string, error) {
	patterns := slices.Compact(slices.Sorted(slices.Values(q.Repositories)))
	identity, err := json.Marshal([]any{registry.String(), q.Endpoints, patterns})
	if err != nil {
		return "", fmt.Errorf("naming a backfill: %w", err)
	}
	sum := sha256.Sum256(identity)
	return runPrefix + hex.EncodeToString(sum[:16]), nil
}

func (r *Runs) begin(ctx context.Context, key string, restart bool) (out admin.Backfilled, err error) {
	known, err := r.known(ctx, key)
	if errors.Is(err, sinks.ErrNotFound) {
		err = r.prune(ctx)
	}
	if err != nil {
		return out, err
	}
	if restart {
		known = run{}
	}
	out.After, out.Unreadable = known.After, known.Unreadable
	return out, r.keep(ctx, key, known)
}

func (r *Runs) end(ctx context.Context, key string) (out admin.Backfilled, err error) {
	known, err := r.known(ctx, key)
	if errors.Is(err, sinks.ErrNotFound) {
		return out, nil // it was ended, and the answer did not arrive
	}
	if err != nil {
		return out, err
	}
	out.Accepted = known.Accepted
	return out, r.Store.SetState(ctx, key, nil)
}

// store stores what is new of what was found, and then that it was.
func (r *Runs) store(ctx context.Context, searcher sinks.Searcher, registry *url.URL, key, sender string, q *admin.BackfillRequest) (out admin.Backfilled, err error) {
	var known run
	if !q.DryRun {
		known, err = r.known(ctx, key)
		if errors.Is(err, sinks.ErrNotFound) {
			return out, fmt.Errorf("%w: this backfill was not begun, or it was ended meanwhile", admin.ErrConflict)
		}
		if err != nil {
			return out, err
		}
	}
	fresh, err := r.fresh(ctx, searcher, registry, sender, q)
	if err != nil {
		return out, err
	}
	out.Accepted = uint64(len(fresh))
	out.Duplicates = uint64(len(q.Found)*len(q.Endpoints) - len(fresh))
	if q.DryRun {
		return out, nil
	}
	for batch := range slices.Chunk(fresh, admin.MaxFound) {
		if _, err := r.Door.Record(ctx, batch, nil); err != nil {
			return out, fmt.Errorf("storing backfilled events: %w", err)
		}
	}
	if q.Finished != "" {
		known.After, known.Unreadable = q.Finished, q.Unreadable
	}
	known.Accepted += out.Accepted
	return out, r.keep(ctx, key, known)
}

// fresh makes the events of what was found and returns those that are not stored.
func (r *Runs) fresh(ctx context.Context, searcher sinks.Searcher, registry *url.URL, sender string, q *admin.BackfillRequest) (fresh []*notifications.Event, err error) {
	made, look := make(map[string]bool), lookup{searcher: searcher, near: make(map[string]bool)}
	for i := range q.Found {
		for _, endpoint := range q.Endpoints {
			e, err := newEvent(registry, endpoint, sender, &q.Found[i])
			if err != nil {
				return nil, fmt.Errorf("%w: what was found: %w", admin.ErrInvalid, err)
			}
			if made[e.ID] {
				continue
			}
			made[e.ID] = true
			stored, err := look.up(ctx, e.ID, &q.Found[i])
			if err != nil {
				return nil, err
			}
			if !stored {
				fresh = append(fresh, e)
			}
		}
	}
	return fresh, nil
}

func (r *Runs) known(ctx context.Context, key string) (known run, err error) {
	value, err := r.Store.State(ctx, key)
	if err == nil {
		err = json.Unmarshal(value, &known)
	}
	if err != nil {
		return known, fmt.Errorf("reading how far a backfill is: %w", err)
	}
	return known, nil
}

func (r *Runs) keep(ctx context.Context, key string, known run) error {
	known.Updated = time.Now().UTC()
	value, err := json.Marshal(known)
	if err == nil {
		err = r.Store.SetState(ctx, key, value)
	}
	if err != nil {
		return fmt.Errorf("writing how far a backfill is: %w", err)
	}
	return nil
}

// prune makes room for one more run: those go that nobody went on with for longest. They
// can be begun again, from the first repository on.
func (r *Runs) prune(ctx context.Context) error {
	keys, err := r.Store.StateKeys(ctx, runPrefix)
	if err != nil {
		return fmt.Errorf("listing backfills: %w", err)
	}
	updated := make(map[string]time.Time)
	for _, key := range keys {
		known, err := r.known(ctx, key)
		if err != nil {
			return err
		}
		updated[key] = known.Updated
	}
	slices.SortFunc(keys, func(a, b string) int { return updated[a].Compare(updated[b]) })
	for len(keys) >= maxRuns {
		if err := r.Store.SetState(ctx, keys[0], nil); err != nil {
			return fmt.Errorf("forgetting a backfill: %w", err)
		}
		keys = keys[1:]
	}
	return nil
}
