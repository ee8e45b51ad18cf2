package admin

import "time"

// A Job delivers stored events, or dead letters, to one endpoint again.
type Job struct {
	ID       string     `json:"id"`
	Kind     string     `json:"kind"` // replay, or dead for dead letters
	Endpoint string     `json:"endpoint"`
	State    JobState   `json:"state"`
	Error    string     `json:"error,omitempty"` // of a failed one
	Select   *Selection `json:"select,omitempty"`
	Rate     float64    `json:"rate,omitempty"` // events a second, at most; 0 is no limit
	Created  time.Time  `json:"created"`
	Ended    time.Time  `json:"ended,omitzero"`

	Total     uint64 `json:"total"`     // events to look at
	Done      uint64 `json:"done"`      // of these, finished with, in whichever way
	Delivered uint64 `json:"delivered"` // of these, accepted by the endpoint
	Dead      uint64 `json:"dead"`      // of these, given up on
}

// A JobState says how a job is.
type JobState string

// The states of a job.
const (
	JobRunning  JobState = "running"
	JobDone     JobState = "done"
	JobCanceled JobState = "canceled"
	JobFailed   JobState = "failed"
)

// A ReplayRequest says what to deliver again, and to whom.
type ReplayRequest struct {
	Endpoint string `json:"endpoint"`
	Selection
	Limit  int     `json:"limit,omitempty"`   // the oldest so many alone; 0 is no limit
	All    bool    `json:"all,omitempty"`     // with no selection
	Rate   float64 `json:"rate,omitempty"`    // events a second, at most; 0 is no limit
	DryRun bool    `json:"dry_run,omitempty"` // only count
}
