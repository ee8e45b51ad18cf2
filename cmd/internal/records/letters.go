package records

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/sinks"
)

const (
	letterPage   = 250  // dead letters that are read at once; each has an event with it
	maxLetterIDs = 2500 // that a selection can name
)

// Letters shows dead letters and takes them away. Its field is set before use and stays;
// its methods are safe for concurrent use.
type Letters struct{ Engine sinks.Morgue }

// DeadLetters lists dead letters; see [admin.DeadLetters].
func (l Letters) DeadLetters(ctx context.Context, q admin.DeadQuery) ([]admin.DeadLetter, error) {
	var found []admin.DeadLetter
	for d, err := range l.Selected(ctx, q.DeadSelection, q.After) {
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

// Selected yields the dead letters with an ID above after that s selects, oldest first.
// Those of an endpoint's jobs are the endpoint's.
func (l Letters) Selected(ctx context.Context, s admin.DeadSelection, after uint64) iter.Seq2[sinks.DeadLetter, error] {
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
			page, err := l.Engine.DeadLetters(ctx, q)
			if err != nil {
				yield(sinks.DeadLetter{}, fmt.Errorf("listing dead letters: %w", err))
				return
			}
			for _, d := range page {
				if (s.Endpoint == "" || s.Endpoint == EndpointOf(d.Cursor)) && !yield(d, nil) {
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
		ID: d.ID, Endpoint: EndpointOf(d.Cursor), Reason: string(d.Reason),
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

// Deliverable counts what q selects and what can be delivered again.
func (l Letters) Deliverable(ctx context.Context, q sinks.DeadQuery) (n uint64, err error) {
	q.Limit = letterPage
	for {
		page, err := l.Engine.DeadLetters(ctx, q)
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
func (l Letters) DropDead(ctx context.Context, r admin.DeadRequest) (admin.Outcome, error) {
	out := admin.Outcome{DryRun: r.DryRun}
	var ids []uint64
	for d, err := range l.Selected(ctx, r.DeadSelection, 0) {
		if err != nil {
			return out, err
		}
		ids = append(ids, d.ID)
	}
	out.Count = uint64(len(ids))
	if r.DryRun {
		return out, nil
	}
	for page := range slices.Chunk(ids, dropPage) {
		n, err := l.Engine.DropDead(ctx, page...)
		out.Done += uint64(n)
		if err != nil {
			return out, fmt.Errorf("dropping dead letters: %w", err)
		}
	}
	return out, nil
}
