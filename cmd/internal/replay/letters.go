package replay

import (
	"context"
	"maps"
	"slices"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/sinks"
)

// ReplayDead delivers dead letters again; see [admin.DeadLetters]. Without a rate their
// events become pending again. A job delivers those that cannot: their place is past
// them, or they are stored no longer but in their letters.
func (r *Runner) ReplayDead(ctx context.Context, q admin.DeadRequest) (admin.Outcome, error) {
	out := admin.Outcome{DryRun: q.DryRun}
	byCursor := make(map[string][]uint64)
	for d, err := range r.letters.Selected(ctx, q.DeadSelection, 0) {
		if err != nil {
			return out, err
		}
		if d.Event == nil {
			continue // of a range that was evicted there is nothing left
		}
		byCursor[d.Cursor] = append(byCursor[d.Cursor], d.ID)
		out.Count++
	}
	if q.DryRun {
		return out, nil
	}
	for cursor := range byCursor {
		if _, err := r.endpoints.Find(ctx, records.EndpointOf(cursor)); err != nil {
			return out, err
		}
	}
	for _, cursor := range slices.Sorted(maps.Keys(byCursor)) {
		ids, revived := byCursor[cursor], 0
		if d := r.endpoints.Named(cursor); d != nil && q.Rate == 0 {
			var err error
			revived, err = d.Revive(ctx, ids)
			out.Done += uint64(revived)
			if err != nil {
				return out, err
			}
		}
		if revived == len(ids) {
			continue
		}
		started, err := r.start(ctx, jobRecord{
			Job: admin.Job{Kind: jobDead, Endpoint: records.EndpointOf(cursor), Rate: q.Rate, Total: uint64(len(ids) - revived)},
			Letters: &sinks.DeadQuery{
				Cursor: cursor, Reason: sinks.DeadReason(q.Reason), Repository: q.Repository, IDs: q.IDs, To: slices.Max(ids),
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
