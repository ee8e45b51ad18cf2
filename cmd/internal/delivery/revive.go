package delivery

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/sinks"
)

const (
	reviveTimeout = 10 * time.Second // how long a delivery waits for dead letters to be taken back
	revivePage    = 500              // dead letters that are taken back at once
)

// ReviveStorm takes back what was given up on before it was plain that the receiver
// rejects every event.
func (s *Set) ReviveStorm(name string, sequences []uint64) {
	d := s.Named(name)
	if d == nil {
		return
	}
	cursor := d.live.held()
	if cursor == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), reviveTimeout)
	defer cancel()
	n, err := cursor.Revive(ctx, sinks.DeadQuery{Sequences: sequences, Limit: len(sequences)})
	if err != nil {
		d.logger.Error("taking back what a storm of rejections made dead letters; they stay that", "error", err)
		return
	}
	d.logger.Warn("took back what a storm of rejections made dead letters", "events", n)
}

// Revive makes the events of the dead letters with these IDs pending again and says how
// many could.
func (d *Delivery) Revive(ctx context.Context, ids []uint64) (revived int, err error) {
	for page := range slices.Chunk(ids, revivePage) {
		cursor := d.live.held()
		if cursor == nil {
			return revived, fmt.Errorf("endpoint %s: %w: it is not at work now", d.name, admin.ErrConflict)
		}
		n, err := cursor.Revive(ctx, sinks.DeadQuery{IDs: page, Limit: len(page)})
		revived += n
		if err != nil {
			return revived, fmt.Errorf("endpoint %s: reviving dead letters: %w", d.name, err)
		}
	}
	return revived, nil
}
