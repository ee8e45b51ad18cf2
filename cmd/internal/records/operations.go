package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/sinks"
)

const (
	MaxOperations       = 10_000  // that are kept
	maxOperationRequest = 4 << 10 // bytes of a request that is kept with one
	operationPrefix     = "log/"  // begins the state key of each
)

// Operations keeps what operators did: each under a state key of its own, the newest
// MaxOperations of them. IDs follow each other, so that the two ends say what there is.
type Operations struct {
	store sinks.StateStore

	mu          sync.Mutex
	first, next uint64 // kept are those from first to next-1
}

// OpenOperations finds what was kept before.
func OpenOperations(ctx context.Context, store sinks.StateStore) (*Operations, error) {
	keys, err := store.StateKeys(ctx, operationPrefix)
	if err != nil {
		return nil, fmt.Errorf("listing the operators' log: %w", err)
	}
	o := &Operations{store: store, first: 1, next: 1}
	for i, key := range keys {
		id, err := strconv.ParseUint(strings.TrimPrefix(key, operationPrefix), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("operators' log: %s is no key of it: %w", key, err)
		}
		if i == 0 {
			o.first = id
		}
		o.next = id + 1
	}
	return o, nil
}

// operationKey is such that keys sort as IDs do.
func operationKey(id uint64) string { return fmt.Sprintf("%s%020d", operationPrefix, id) }

// Record stores an operation; see [admin.Operations].
func (o *Operations) Record(ctx context.Context, op *admin.Operation) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	record := *op
	if record.ID == 0 {
		record.ID = o.next
	}
	if len(record.Request) > maxOperationRequest {
		record.Request = nil
	}
	value, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encoding an operation for the log: %w", err)
	}
	if err := o.store.SetState(ctx, operationKey(record.ID), value); err != nil {
		return fmt.Errorf("writing the operators' log: %w", err)
	}
	op.ID = record.ID
	o.next = max(o.next, record.ID+1)
	for ; o.next-o.first > MaxOperations; o.first++ {
		if err := o.store.SetState(ctx, operationKey(o.first), nil); err != nil {
			return fmt.Errorf("cutting the operators' log: %w", err)
		}
	}
	return nil
}

// Log lists operations, newest first; see [admin.Operations].
func (o *Operations) Log(ctx context.Context, q admin.LogQuery) ([]admin.Operation, error) {
	o.mu.Lock()
	first, next := o.first, o.next
	o.mu.Unlock()
	if q.After == 0 {
		q.After = math.MaxUint64
	}
	var found []admin.Operation
	for id := min(q.After, next); id > first && len(found) < q.Limit; id-- {
		value, err := o.store.State(ctx, operationKey(id-1))
		if errors.Is(err, sinks.ErrNotFound) {
			continue // it was the oldest and has gone
		}
		if err != nil {
			return nil, fmt.Errorf("reading the operators' log: %w", err)
		}
		var op admin.Operation
		if err := json.Unmarshal(value, &op); err != nil {
			return nil, fmt.Errorf("operation %d of the operators' log: %w", id-1, err)
		}
		found = append(found, op)
	}
	return found, nil
}
