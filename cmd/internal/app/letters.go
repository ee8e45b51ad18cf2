package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/sinks"
)

const (
	reviveTimeout = 10 * time.Second // how long a delivery waits for dead letters to be taken back
	revivePage    = 500              // dead letters that are taken back at once
)

// letters shows dead letters and brings them back or away.
type letters struct {
	records.Letters
	app *App
}

// ReplayDead delivers dead letters again; see [admin.DeadLetters]. Without a rate their
// events become pending again. A job delivers those that cannot: their place is past
// them, or they are stored no longer but in their letters.
func (l letters) ReplayDead(ctx context.Context, r admin.DeadRequest) (admin.Outcome, error) {
	out := admin.Outcome{DryRun: r.DryRun}
	byCursor := make(map[string][]uint64)
	for d, err := range l.Selected(ctx, r.DeadSelection, 0) {
		if err != nil {
			return out, err
		}
		if d.Event == nil {
			continue // of a range that was evicted there is nothing left
		}
		byCursor[d.Cursor] = append(byCursor[d.Cursor], d.ID)
		out.Count++
	}
	if r.DryRun {
		return out, nil
	}
	for cursor := range byCursor {
		if _, err := l.app.find(ctx, records.EndpointOf(cursor)); err != nil {
			return out, err
		}
	}
	for _, cursor := range slices.Sorted(maps.Keys(byCursor)) {
		ids, revived := byCursor[cursor], 0
		if d := l.app.working()[cursor]; d != nil && r.Rate == 0 {
			var err error
			revived, err = d.revive(ctx, ids)
			out.Done += uint64(revived)
			if err != nil {
				return out, err
			}
		}
		if revived == len(ids) {
			continue
		}
		started, err := l.app.jobs.start(ctx, jobRecord{
			Job: admin.Job{Kind: jobDead, Endpoint: records.EndpointOf(cursor), Rate: r.Rate, Total: uint64(len(ids) - revived)},
			Letters: &sinks.DeadQuery{
				Cursor: cursor, Reason: sinks.DeadReason(r.Reason), Repository: r.Repository, IDs: r.IDs, To: slices.Max(ids),
			},
		})
		if err != nil {
			return out, err
		}
		if out.Job == nil {
			out.Job = started
		}
	}
	return out, nil
}

// reviveStorm takes back what was given up on before it was plain that the receiver
// rejects every event.
func (a *App) reviveStorm(name string, sequences []uint64) {
	d := a.working()[name]
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

// revive makes the events of these dead letters pending again and says how many could.
func (d *delivery) revive(ctx context.Context, ids []uint64) (revived int, err error) {
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
