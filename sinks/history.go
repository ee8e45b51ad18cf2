package sinks

import (
	"context"
	"slices"
	"time"
)

// A History keeps what was tried: one record for each request, whatever became of it.
// Engines may implement it; those that do keep records for [HistoryAge] at most and
// within a bound in bytes or entries, and count what the bound has cut.
type History interface {
	// RecordAttempts keeps the records, which nobody changes from then on, soon: they
	// are lost in a crash of the next second. It never waits; what comes faster than it
	// can be kept is dropped and counted.
	RecordAttempts(attempts ...AttemptRecord)

	// Attempts lists what q selects.
	Attempts(ctx context.Context, q AttemptQuery) ([]AttemptRecord, error)
}

// HistoryAge is how long attempts are kept.
const HistoryAge = 7 * 24 * time.Hour

// An AttemptRecord is one request with a batch of events, and its answer.
type AttemptRecord struct {
	ID        uint64 // the engine's, increasing; 0 before it is stored
	Endpoint  string
	At        time.Time     // when the request began
	Sequences []uint64      // of the batch, increasing
	Number    int           // Attempt.Number
	Status    int           // of the answer; 0 without one
	Fault     string        // the class of failure, a short fixed word; "" if it was accepted
	Duration  time.Duration // until the answer or the error
	Error     string        // what went wrong, in words, without secrets; "" if it was accepted
	Excerpt   []byte        // the beginning of the answer's body, at most MaxExcerpt
	Replay    string        // the job that delivered again, "" for live traffic
}

// Failed tells whether the batch was not accepted.
func (a *AttemptRecord) Failed() bool { return a.Fault != "" || a.Error != "" }

// An AttemptQuery selects attempts. The zero value selects the newest 1000 of all.
type AttemptQuery struct {
	Endpoint    string // "" for all
	Sequence    uint64 // of an event: only attempts with it; 0 for all
	Failures    bool   // only those that were not accepted
	After       uint64 // go on after the attempt with this ID, in the order asked for; 0: begin
	Limit       int    // 0: 1000
	OldestFirst bool   // else newest first
}

// Match tells whether q selects a, its order and bounds aside.
func (q *AttemptQuery) Match(a *AttemptRecord) bool {
	if q.Sequence != 0 {
		if _, ok := slices.BinarySearch(a.Sequences, q.Sequence); !ok {
			return false
		}
	}
	return (q.Endpoint == "" || a.Endpoint == q.Endpoint) && (!q.Failures || a.Failed())
}

// A HistoryMode says which attempts a [History] keeps.
type HistoryMode string

// The modes of a [History]. The zero value means [HistoryAll].
const (
	HistoryAll      HistoryMode = "all"
	HistoryFailures HistoryMode = "failures" // those that were not accepted
	HistoryOff      HistoryMode = "off"
)

// Keeps tells whether a is to be kept.
func (m HistoryMode) Keeps(a *AttemptRecord) bool {
	switch m {
	case HistoryOff:
		return false
	case HistoryFailures:
		return a.Failed()
	}
	return true
}
