package admin

import "time"

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
