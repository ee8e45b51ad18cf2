package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/regcast/regcast/sinks"
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

// selection takes the parameters that select events.
func (q *query) selection() Selection {
	return Selection{
		IDs:        q.list("id"),
		Repository: q.text("repository"),
		Tag:        q.text("tag"),
		Action:     q.text("action"),
		Actor:      q.text("actor"),
		Digest:     q.text("digest"),
		Since:      q.time("since"),
		Until:      q.time("until"),
	}
}

// check returns what is wrong with a selection.
func (s *Selection) check() error {
	if !s.Since.IsZero() && !s.Until.IsZero() && !s.Since.Before(s.Until) {
		return invalidf("nothing is stored since a time and until one before it")
	}
	return checkGlobs(s.Repository, s.Tag)
}

func checkGlobs(repository, tag string) error {
	var rules sinks.Rules
	if repository != "" {
		rules.Repositories = []string{repository}
	}
	if tag != "" {
		rules.Tags = []string{tag}
	}
	if _, err := sinks.NewMatcher(rules, sinks.Rules{}); err != nil {
		return invalidf("%w", err)
	}
	return nil
}

func (c *call) eventQuery() (EventQuery, error) {
	q := c.query()
	eq := EventQuery{Selection: q.selection(), Limit: q.limit(), After: q.number("after")}
	if err := q.done(); err != nil {
		return eq, err
	}
	return eq, eq.check()
}

func (a *api) listEvents(c *call) error {
	q, err := c.eventQuery()
	if err != nil {
		return err
	}
	limit := q.Limit
	q.Limit++
	found, err := a.Events(c.Context(), q)
	if err != nil {
		return err
	}
	for i := range found {
		found[i].Raw = nil
	}
	return c.answer(http.StatusOK, newPage(found, limit, func(e *Event) uint64 { return e.Sequence }))
}

func (a *api) showEvent(c *call) error {
	story, err := a.Event(c.Context(), c.PathValue("id"))
	if err != nil {
		return err
	}
	if story.Places == nil {
		story.Places = []Place{}
	}
	if story.Attempts == nil {
		story.Attempts = []Attempt{}
	}
	return c.answer(http.StatusOK, story)
}
