package admin

import (
	"encoding/json"
	"time"
)

// An Event is a stored event.
type Event struct {
	Sequence   uint64    `json:"sequence"`
	Stored     time.Time `json:"stored"`
	ID         string    `json:"id"`
	Timestamp  time.Time `json:"timestamp,omitzero"` // by the clock of its source
	Action     string    `json:"action"`
	Repository string    `json:"repository"`
	Tag        string    `json:"tag,omitempty"`
	Digest     string    `json:"digest,omitempty"`
	MediaType  string    `json:"media_type,omitempty"`
	Actor      string    `json:"actor,omitempty"`
	Method     string    `json:"method,omitempty"`
	Format     string    `json:"format,omitempty"` // in which it came
	Sender     string    `json:"sender,omitempty"` // who handed it over

	// Raw is the event itself, as it is delivered in the format "distribution"; it is
	// left out of listings.
	Raw json.RawMessage `json:"event,omitempty"`
}

// An EventStory is an event and what became of it.
type EventStory struct {
	Event
	Places   []Place   `json:"places"`   // one for each endpoint, by name
	Attempts []Attempt `json:"attempts"` // requests that carried it, oldest first, as far as they are remembered
}

// A Place says what became of an event for one endpoint.
type Place struct {
	Endpoint string `json:"endpoint"`
	State    string `json:"state"`          // pending, delivered, filtered, dead, dropped, evicted; settled where it is not known how; before where it was stored before the endpoint began
	Dead     uint64 `json:"dead,omitempty"` // the ID of its dead letter
}

// An Attempt is one request to an endpoint.
type Attempt struct {
	Endpoint        string    `json:"endpoint"`
	At              time.Time `json:"at"`
	Number          int       `json:"number"`           // 1 for the first
	Events          int       `json:"events"`           // in the request
	Status          int       `json:"status,omitempty"` // 0 without an answer
	Fault           string    `json:"fault,omitempty"`  // the class of the failure
	Error           string    `json:"error,omitempty"`  // in words
	DurationSeconds float64   `json:"duration_seconds"`
	Excerpt         Text      `json:"excerpt,omitempty"` // the beginning of the answer's body
	Replay          string    `json:"replay,omitempty"`  // the job that sent it
}

// A Selection says which stored events are meant: those for which every given field
// holds.
type Selection struct {
	IDs        []string  `json:"ids,omitempty"`        // any of these
	Repository string    `json:"repository,omitempty"` // a glob: * within a path segment, ** across
	Tag        string    `json:"tag,omitempty"`        // a glob
	Action     string    `json:"action,omitempty"`
	Actor      string    `json:"actor,omitempty"`
	Digest     string    `json:"digest,omitempty"`
	Since      time.Time `json:"since,omitzero"` // stored then or later
	Until      time.Time `json:"until,omitzero"` // stored before
}

// IsZero tells whether s selects everything.
func (s *Selection) IsZero() bool {
	return len(s.IDs) == 0 && s.Repository == "" && s.Tag == "" && s.Action == "" &&
		s.Actor == "" && s.Digest == "" && s.Since.IsZero() && s.Until.IsZero()
}

// An EventQuery asks for a page of stored events.
type EventQuery struct {
	Selection
	Limit int    // how many; never 0 but in Stream
	After uint64 // where the page before ended: only sequences below, in Stream above; 0 for the first page
}
