package journal

import (
	"context"
	"fmt"

	"github.com/regcast/regcast/sinks"
)

// DeadCursor opens a cursor over dead letters; see [sinks.Morgue].
func (j *Journal) DeadCursor(ctx context.Context, name string, q sinks.DeadQuery) (sinks.Cursor, error) {
	if !sinks.ValidCursorName(name) {
		return nil, fmt.Errorf("%w: %q", sinks.ErrName, name)
	}
	if _, err := deadMatcher(&q); err != nil {
		return nil, fmt.Errorf("cursor %s: %w", name, err)
	}
	var newest uint64
	err := j.readSettled(ctx, func(db *conn) error {
		r, _, err := db.get("SELECT max(id) FROM dead")
		if err == nil {
			newest = r.uint(0)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cursor %s: %w", name, err)
	}
	if _, held := j.replaying.LoadOrStore(name, true); held {
		return nil, fmt.Errorf("%w: %s", sinks.ErrInUse, name)
	}
	return sinks.NewDeadCursor(j, sinks.DeadCursorOptions{
		Name: name, Query: q, Newest: newest, Ended: j.stopping, Closed: func() { j.replaying.Delete(name) },
	}), nil
}
