package admin

import (
	"encoding/json"
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
