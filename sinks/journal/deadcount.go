package journal

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/regcast/regcast/sinks"
)

// A deadTally is what the table dead_tally has, in memory, so that counting takes no
// commit and works on a full disk.
type deadTally struct {
	// mu is held while a commit's dead letters become part of durable. It is taken before
	// place.mu.
	mu      sync.Mutex
	durable map[string]map[sinks.DeadReason]uint64 // by cursor
}

// DeadCount counts the dead letters of a cursor, by reason, those included that wait for a
// commit. It does no I/O. Of an eviction that is not committed yet it counts a record of
// its own, although it may go into the one before.
func (j *Journal) DeadCount(ctx context.Context, cursor string) (map[sinks.DeadReason]uint64, error) {
	if err := j.open(ctx); err != nil {
		return nil, fmt.Errorf("count dead letters of %s: %w", cursor, err)
	}
	j.places.Lock()
	p := j.places.byName[cursor]
	j.places.Unlock()
	j.dead.mu.Lock()
	defer j.dead.mu.Unlock()
	counts := maps.Clone(j.dead.durable[cursor])
	if counts == nil {
		counts = make(map[sinks.DeadReason]uint64)
	}
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, d := range p.dead {
			counts[d.Reason]++
		}
		for _, d := range p.burying {
			counts[d.Reason]++
		}
	}
	return counts, nil
}

// confirm notes that changes, and whatever else the last transaction did, are in the file.
func (a *appender) confirm(changes []change) {
	tally := &a.j.dead
	tally.mu.Lock()
	defer tally.mu.Unlock()
	for i := range changes {
		changes[i].place.confirm(&changes[i])
	}
	if !a.deadChanged {
		return
	}
	if err := a.countDead(); err != nil { // the next commit tries again
		a.j.log.Error("count dead letters", "error", damaged(a.j.dir, err))
	}
}

// countDead reads dead_tally. The caller holds the tally's lock, or is alone.
func (a *appender) countDead() error {
	counts := make(map[string]map[sinks.DeadReason]uint64)
	err := a.db.query(context.Background(), func(r row) error {
		cursor := r.text(0)
		if counts[cursor] == nil {
			counts[cursor] = make(map[sinks.DeadReason]uint64)
		}
		counts[cursor][sinks.DeadReason(r.text(1))] = r.uint(2)
		return nil
	}, "SELECT cursor, reason, count FROM dead_tally")
	if err != nil {
		return err
	}
	a.j.dead.durable, a.deadChanged = counts, false
	return nil
}
