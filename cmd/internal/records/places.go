package records

import (
	"context"
	"errors"
	"fmt"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/sinks"
)

// The states of an [admin.Place] that are not an outcome's.
const (
	placePending = "pending"
	placeSettled = "settled" // nobody remembers how
	placeBefore  = "before"  // it was stored before the endpoint began
)

// places says what became of an event for each endpoint, by name. attempts are those with
// it.
func (a Archive) places(ctx context.Context, d *sinks.Delivery, attempts []sinks.AttemptRecord) ([]admin.Place, error) {
	infos, err := a.Engine.CursorInfos(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing how far endpoints are: %w", err)
	}
	letters, err := a.Engine.DeadLetters(ctx, sinks.DeadQuery{Sequences: []uint64{d.Sequence}})
	if err != nil {
		return nil, fmt.Errorf("looking for dead letters: %w", err)
	}
	dead, accepted := make(map[string]uint64), make(map[string]bool)
	for i := range letters {
		dead[letters[i].Cursor] = letters[i].ID
	}
	for i := range attempts {
		if t := &attempts[i]; t.Replay == "" && !t.Failed() {
			accepted[t.Endpoint] = true
		}
	}
	searcher, err := a.searcher()
	if err != nil {
		return nil, err
	}
	var list []admin.Place
	for i := range infos {
		info := &infos[i]
		if IsJob(info.Name) {
			continue
		}
		settled, err := searcher.Settled(ctx, info.Name, d.Sequence)
		if errors.Is(err, sinks.ErrNotFound) {
			continue // it was forgotten just now
		}
		if err != nil {
			return nil, fmt.Errorf("asking what became of an event: %w", err)
		}
		place := admin.Place{Endpoint: info.Name}
		switch {
		case d.Sequence <= info.Begin:
			place.State = placeBefore
		case !settled:
			place.State = placePending
		case dead[info.Name] != 0:
			place.State, place.Dead = sinks.DeadLettered.String(), dead[info.Name]
		case accepted[info.Name]:
			place.State = sinks.Delivered.String()
		case a.Filters(info.Name, d.Event):
			place.State = sinks.Filtered.String()
		default:
			place.State = placeSettled
		}
		list = append(list, place)
	}
	return list, nil
}
