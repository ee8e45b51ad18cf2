package app

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/sinks"
)

// letterPage is how many dead letters are read at once; each has an event with it.
const letterPage = 250

// reviveTimeout bounds how long a delivery waits for dead letters to be taken back.
const reviveTimeout = 10 * time.Second

// letters shows dead letters and brings them back or away.
type letters struct{ app *App }

// DeadLetters lists dead letters; see [admin.DeadLetters].
func (l letters) DeadLetters(ctx context.Context, q admin.DeadQuery) ([]admin.DeadLetter, error) {
	var found []admin.DeadLetter
	for d, err := range l.app.deadLetters(ctx, q.DeadSelection, q.After) {
		if err != nil {
			return nil, err
		}
		found = append(found, letterOf(&d))
		if len(found) == q.Limit {
			break
		}
	}
	return found, nil
}

// deadLetters yields the dead letters with an ID above after that s selects, oldest first.
// Those of an endpoint's jobs are the endpoint's.
func (a *App) deadLetters(ctx context.Context, s admin.DeadSelection, after uint64) iter.Seq2[sinks.DeadLetter, error] {
	return func(yield func(sinks.DeadLetter, error) bool) {
		if len(s.IDs) > maxLetterIDs {
			yield(sinks.DeadLetter{}, fmt.Errorf("%w: at most %d ids at once, not %d", admin.ErrInvalid, maxLetterIDs, len(s.IDs)))
			return
		}
		if _, err := sinks.ParseGlob(s.Repository); s.Repository != "" && err != nil {
			yield(sinks.DeadLetter{}, fmt.Errorf("%w: repository: %w", admin.ErrInvalid, err))
			return
		}
		q := sinks.DeadQuery{
			Reason: sinks.DeadReason(s.Reason), Repository: s.Repository, IDs: s.IDs, After: after, Limit: letterPage,
		}
		for {
			page, err := a.engine.DeadLetters(ctx, q)
			if err != nil {
				yield(sinks.DeadLetter{}, fmt.Errorf("listing dead letters: %w", err))
				return
			}
			for _, d := range page {
				if (s.Endpoint == "" || s.Endpoint == endpointOf(d.Cursor)) && !yield(d, nil) {
					return
				}
				q.After = d.ID
			}
			if len(page) < q.Limit {
				return
			}
		}
	}
}

func letterOf(d *sinks.DeadLetter) admin.DeadLetter {
	out := admin.DeadLetter{
		ID: d.ID, Endpoint: endpointOf(d.Cursor), Reason: string(d.Reason),
		Sequence: d.Sequence, Last: d.Last, Count: d.Count,
		Attempts: d.Attempts, FirstAttempt: d.FirstAttempt, LastAttempt: d.LastAttempt,
		Status: d.Status, Error: d.Error, Buried: d.Buried, Excerpt: d.Excerpt,
	}
	if e := d.Event; e != nil {
		out.EventID, out.Action, out.Repository, out.Tag, out.Digest = e.ID, e.Action, e.Repository, e.Tag, string(e.Digest)
		out.Raw = e.AppendJSON(nil)
	}
	return out
}

// countDead counts what q selects and what can be delivered again.
func (a *App) countDead(ctx context.Context, q sinks.DeadQuery) (n uint64, err error) {
	q.Limit = letterPage
	for {
		page, err := a.engine.DeadLetters(ctx, q)
		if err != nil {
			return 0, fmt.Errorf("counting dead letters: %w", err)
		}
		for i := range page {
			if page[i].Event != nil {
				n++
			}
			q.After = page[i].ID
		}
		if len(page) < q.Limit {
			return n, nil
		}
	}
}

// DropDead forgets dead letters; see [admin.DeadLetters].
func (l letters) DropDead(ctx context.Context, r admin.DeadRequest) (admin.Outcome, error) {
	out := admin.Outcome{DryRun: r.DryRun}
	var ids []uint64
	for d, err := range l.app.deadLetters(ctx, r.DeadSelection, 0) {
		if err != nil {
			return out, err
		}
		ids = append(ids, d.ID)
	}
	out.Count = uint64(len(ids))
	if r.DryRun {
		return out, nil
	}
	n, err := l.app.dropDead(ctx, ids)
	out.Done = uint64(n)
	return out, err
}

func (a *App) dropDead(ctx context.Context, ids []uint64) (dropped int, err error) {
	for page := range slices.Chunk(ids, dropPage) {
		n, err := a.engine.DropDead(ctx, page...)
		dropped += n
		if err != nil {
			return dropped, fmt.Errorf("dropping dead letters: %w", err)
		}
	}
	return dropped, nil
}

// ReplayDead delivers dead letters again; see [admin.DeadLetters]. Without a rate their
// events become pending again. A job delivers those that cannot: their place is past
// them, or they are stored no longer but in their letters.
func (l letters) ReplayDead(ctx context.Context, r admin.DeadRequest) (admin.Outcome, error) {
	out := admin.Outcome{DryRun: r.DryRun}
	byCursor := make(map[string][]uint64)
	for d, err := range l.app.deadLetters(ctx, r.DeadSelection, 0) {
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
		if _, err := l.app.find(ctx, endpointOf(cursor)); err != nil {
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
			Job: admin.Job{Kind: jobDead, Endpoint: endpointOf(cursor), Rate: r.Rate, Total: uint64(len(ids) - revived)},
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
	for page := range slices.Chunk(ids, dropPage) {
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
