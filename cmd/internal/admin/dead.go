package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// A DeadLetter is an event that was given up on for one endpoint, or a whole evicted
// range of them.
type DeadLetter struct {
	ID       uint64 `json:"id"`
	Endpoint string `json:"endpoint"`
	Reason   string `json:"reason"`
	Sequence uint64 `json:"sequence"`       // of the event; of a range, the first
	Last     uint64 `json:"last,omitempty"` // of a range, the last
	Count    uint64 `json:"count"`          // events

	EventID    string `json:"event_id,omitempty"` // none of a range
	Action     string `json:"action,omitempty"`
	Repository string `json:"repository,omitempty"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`

	Attempts     int       `json:"attempts"`
	FirstAttempt time.Time `json:"first_attempt,omitzero"`
	LastAttempt  time.Time `json:"last_attempt,omitzero"`
	Status       int       `json:"status,omitempty"` // of the last answer
	Error        string    `json:"error,omitempty"`
	Buried       time.Time `json:"buried"`

	// Excerpt is the beginning of the last answer's body and Raw the event itself, as it
	// is delivered in the format "distribution"; both are left out of listings.
	Excerpt Text            `json:"excerpt,omitempty"`
	Raw     json.RawMessage `json:"event,omitempty"`
}

// A DeadSelection says which dead letters are meant: those for which every given field
// holds.
type DeadSelection struct {
	IDs        []uint64 `json:"ids,omitempty"`
	Endpoint   string   `json:"endpoint,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Repository string   `json:"repository,omitempty"` // a glob
}

// IsZero tells whether s selects everything.
func (s *DeadSelection) IsZero() bool {
	return len(s.IDs) == 0 && s.Endpoint == "" && s.Reason == "" && s.Repository == ""
}

// A DeadQuery asks for a page of dead letters.
type DeadQuery struct {
	DeadSelection
	Limit int    // how many; never 0
	After uint64 // only IDs above: where the page before ended
}

// A DeadRequest says what to replay or to drop.
type DeadRequest struct {
	DeadSelection
	All    bool    `json:"all,omitempty"`     // with no selection
	Rate   float64 `json:"rate,omitempty"`    // events a second, at most; 0 is no limit. Of a replay
	DryRun bool    `json:"dry_run,omitempty"` // only count
}

// An Outcome says what a request came to.
type Outcome struct {
	Count  uint64 `json:"count"`             // what was selected: events, dead letters, bodies
	Done   uint64 `json:"done"`              // of these, dropped, given back to delivery or read; 0 of a dry run or while a job has it
	Events uint64 `json:"events,omitempty"`  // read from quarantined bodies and stored
	DryRun bool   `json:"dry_run,omitempty"` // nothing was changed
	Job    *Job   `json:"job,omitempty"`     // which does it, if one does
}

// id takes the number in the path.
func (c *call) id() (uint64, error) {
	id, err := strconv.ParseUint(c.PathValue("id"), 10, 64)
	if err != nil || id == 0 {
		return 0, invalidf("%.40q is not an id", c.PathValue("id"))
	}
	return id, nil
}

func (a *api) listDead(c *call) error {
	q := c.query()
	sel := DeadSelection{
		IDs: q.numbers("id"), Endpoint: q.text("endpoint"),
		Reason: q.text("reason"), Repository: q.text("repository"),
	}
	limit, after := q.limit(), q.number("after")
	if err := q.done(); err != nil {
		return err
	}
	if err := checkGlobs(sel.Repository, ""); err != nil {
		return err
	}
	found, err := a.DeadLetters(c.Context(), DeadQuery{sel, limit + 1, after})
	if err != nil {
		return err
	}
	for i := range found {
		found[i].Raw, found[i].Excerpt = nil, nil
	}
	return c.answer(http.StatusOK, newPage(found, limit, func(d *DeadLetter) uint64 { return d.ID }))
}

func (a *api) showDead(c *call) error {
	id, err := c.id()
	if err != nil {
		return err
	}
	found, err := a.DeadLetters(c.Context(), DeadQuery{DeadSelection: DeadSelection{IDs: []uint64{id}}, Limit: 1})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("dead letter %d: %w", id, ErrNotFound)
	}
	return c.answer(http.StatusOK, found[0])
}

func (a *api) replayDead(c *call) error {
	return a.changeDead(c, "dead replay", a.ReplayDead)
}

func (a *api) dropDead(c *call) error {
	return a.changeDead(c, "dead drop", a.DropDead)
}

func (a *api) changeDead(c *call, action string, change func(context.Context, DeadRequest) (Outcome, error)) error {
	var req DeadRequest
	body, err := c.body(&req)
	if err != nil {
		return err
	}
	if err := checkExtent(req.IsZero(), req.All, "ids, endpoint, reason or repository"); err != nil {
		return err
	}
	if err := checkGlobs(req.Repository, ""); err != nil {
		return err
	}
	if err := checkRate(req.Rate); err != nil {
		return err
	}
	return a.changeMany(c, Operation{Action: action, Endpoint: req.Endpoint, Request: body}, req.DryRun, func(ctx context.Context) (Outcome, error) {
		return change(ctx, req)
	})
}

// checkExtent makes a caller say which things are meant, or that it is all of them.
func checkExtent(selectsAll, all bool, keys string) error {
	switch {
	case selectsAll && !all:
		return invalidf(`say which: %s, or "all": true`, keys)
	case all && !selectsAll:
		return invalidf(`"all" and a selection exclude each other`)
	}
	return nil
}

func checkRate(rate float64) error {
	if rate < 0 || math.IsInf(rate, 0) {
		return invalidf("a rate is events a second, 0 for no limit")
	}
	return nil
}
