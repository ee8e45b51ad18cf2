package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Quarantined is a body that intake could not read.
type Quarantined struct {
	ID       uint64    `json:"id"`
	Received time.Time `json:"received"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail,omitempty"` // the reason in words
	Size     int       `json:"size"`             // bytes that came; -1 if unknown
	Format   string    `json:"format,omitempty"` // in which it was sent
	Sender   string    `json:"sender,omitempty"`
	Body     Text      `json:"body,omitempty"` // what is kept of it; left out of listings
}

// A QuarantineSelection says which bodies are meant: those for which every given field
// holds.
type QuarantineSelection struct {
	IDs    []uint64 `json:"ids,omitempty"`
	Reason string   `json:"reason,omitempty"`
}

// IsZero tells whether s selects everything.
func (s *QuarantineSelection) IsZero() bool { return len(s.IDs) == 0 && s.Reason == "" }

// A QuarantineQuery asks for a page of what is in quarantine.
type QuarantineQuery struct {
	QuarantineSelection
	Limit int    // how many; never 0
	After uint64 // only IDs above: where the page before ended
}

// A QuarantineRequest says what to read again or to drop.
type QuarantineRequest struct {
	QuarantineSelection
	All    bool `json:"all,omitempty"`     // with no selection
	DryRun bool `json:"dry_run,omitempty"` // only count
}

func (a *api) listQuarantined(c *call) error {
	q := c.query()
	sel := QuarantineSelection{IDs: q.numbers("id"), Reason: q.text("reason")}
	limit, after := q.limit(), q.number("after")
	if err := q.done(); err != nil {
		return err
	}
	found, err := a.Quarantined(c.Context(), QuarantineQuery{sel, limit + 1, after})
	if err != nil {
		return err
	}
	for i := range found {
		found[i].Body = nil
	}
	return c.answer(http.StatusOK, newPage(found, limit, func(b *Quarantined) uint64 { return b.ID }))
}

func (a *api) showQuarantined(c *call) error {
	id, err := c.id()
	if err != nil {
		return err
	}
	found, err := a.Quarantined(c.Context(), QuarantineQuery{QuarantineSelection: QuarantineSelection{IDs: []uint64{id}}, Limit: 1})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("quarantined body %d: %w", id, ErrNotFound)
	}
	return c.answer(http.StatusOK, found[0])
}

func (a *api) retryQuarantined(c *call) error {
	return a.changeQuarantined(c, "quarantine retry", a.RetryQuarantined)
}

func (a *api) dropQuarantined(c *call) error {
	return a.changeQuarantined(c, "quarantine drop", a.DropQuarantined)
}

func (a *api) changeQuarantined(c *call, action string, change func(context.Context, QuarantineRequest) (Outcome, error)) error {
	var req QuarantineRequest
	body, err := c.body(&req)
	if err != nil {
		return err
	}
	if err := checkExtent(req.IsZero(), req.All, "ids or reason"); err != nil {
		return err
	}
	return a.changeMany(c, Operation{Action: action, Request: body}, req.DryRun, func(ctx context.Context) (Outcome, error) {
		return change(ctx, req)
	})
}
