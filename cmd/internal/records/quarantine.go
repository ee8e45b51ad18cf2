package records

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

const (
	quarantinePage = 64  // bodies that are read at once; each may have 64 KiB
	dropPage       = 500 // records that are dropped at once
)

// A Quarantine shows what intake could not read and reads it again. Its fields are set
// before use and stay; its methods are safe for concurrent use.
type Quarantine struct {
	Engine    sinks.Quarantine
	Recorder  notifications.Recorder // where what can be read now goes
	MaxEvents int                    // of an envelope, as for intake
}

// Quarantined lists bodies; see [admin.Quarantine].
func (w Quarantine) Quarantined(ctx context.Context, q admin.QuarantineQuery) ([]admin.Quarantined, error) {
	var found []admin.Quarantined
	for body, err := range w.selected(ctx, q.QuarantineSelection, q.After) {
		if err != nil {
			return nil, err
		}
		found = append(found, admin.Quarantined{
			ID: body.ID, Received: body.Received, Reason: string(body.Reason), Detail: body.Detail, Size: body.Size,
			Format: body.Provenance.Format, Sender: body.Provenance.Sender, Body: body.Body,
		})
		if len(found) == q.Limit {
			break
		}
	}
	return found, nil
}

// selected yields the bodies with an ID above after that s selects, oldest first.
func (w Quarantine) selected(ctx context.Context, s admin.QuarantineSelection, after uint64) iter.Seq2[notifications.Quarantined, error] {
	all := w.all(ctx, after)
	if len(s.IDs) > 0 {
		all = w.these(ctx, s.IDs, after)
	}
	return func(yield func(notifications.Quarantined, error) bool) {
		for body, err := range all {
			if err == nil && s.Reason != "" && s.Reason != string(body.Reason) {
				continue
			}
			if !yield(body, err) {
				return
			}
		}
	}
}

func (w Quarantine) all(ctx context.Context, after uint64) iter.Seq2[notifications.Quarantined, error] {
	return func(yield func(notifications.Quarantined, error) bool) {
		for {
			page, err := w.Engine.Quarantined(ctx, after, quarantinePage)
			if err != nil {
				yield(notifications.Quarantined{}, fmt.Errorf("listing what is in quarantine: %w", err))
				return
			}
			for _, body := range page {
				if !yield(body, nil) {
					return
				}
				after = body.ID
			}
			if len(page) < quarantinePage {
				return
			}
		}
	}
}

func (w Quarantine) these(ctx context.Context, ids []uint64, after uint64) iter.Seq2[notifications.Quarantined, error] {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	return func(yield func(notifications.Quarantined, error) bool) {
		for _, id := range ids {
			if id <= after {
				continue
			}
			page, err := w.Engine.Quarantined(ctx, id-1, 1)
			if err != nil {
				yield(notifications.Quarantined{}, fmt.Errorf("looking up quarantined body %d: %w", id, err))
				return
			}
			if len(page) == 1 && page[0].ID == id && !yield(page[0], nil) {
				return
			}
		}
	}
}

// ids lists the bodies that s selects now.
func (w Quarantine) ids(ctx context.Context, s admin.QuarantineSelection) (ids []uint64, err error) {
	for body, err := range w.selected(ctx, s, 0) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, body.ID)
	}
	return ids, nil
}

// RetryQuarantined reads bodies again; see [admin.Quarantine]. Of a body in which some
// events can be read now and others not, those that cannot go back into quarantine.
func (w Quarantine) RetryQuarantined(ctx context.Context, r admin.QuarantineRequest) (admin.Outcome, error) {
	ids, err := w.ids(ctx, r.QuarantineSelection)
	out := admin.Outcome{Count: uint64(len(ids)), DryRun: r.DryRun}
	if err != nil || r.DryRun || len(ids) == 0 {
		return out, err
	}
	for body, err := range w.these(ctx, ids, 0) {
		if err != nil {
			return out, err
		}
		stored, err := w.retry(ctx, &body)
		if err != nil {
			return out, fmt.Errorf("reading quarantined body %d again: %w", body.ID, err)
		}
		if stored > 0 {
			out.Done++
			out.Events += uint64(stored)
		}
	}
	return out, nil
}

// retry returns how many events of body are stored now; none if it stays as it is.
func (w Quarantine) retry(ctx context.Context, body *notifications.Quarantined) (stored int, err error) {
	if body.Size != len(body.Body) {
		return 0, nil // the rest was cut off
	}
	d := notifications.Decode(body.Body, &notifications.DecodeOptions{MaxEvents: w.MaxEvents, Provenance: body.Provenance})
	if len(d.Events) == 0 {
		return 0, nil
	}
	if _, err := w.Recorder.Record(ctx, d.Events, d.Bad); err != nil {
		return 0, err
	}
	_, err = w.Engine.DropQuarantined(ctx, body.ID)
	return len(d.Events), err
}

// DropQuarantined forgets bodies; see [admin.Quarantine].
func (w Quarantine) DropQuarantined(ctx context.Context, r admin.QuarantineRequest) (admin.Outcome, error) {
	ids, err := w.ids(ctx, r.QuarantineSelection)
	out := admin.Outcome{Count: uint64(len(ids)), DryRun: r.DryRun}
	if err != nil || r.DryRun {
		return out, err
	}
	for page := range slices.Chunk(ids, dropPage) {
		n, err := w.Engine.DropQuarantined(ctx, page...)
		out.Done += uint64(n)
		if err != nil {
			return out, fmt.Errorf("dropping quarantined bodies: %w", err)
		}
	}
	return out, nil
}
