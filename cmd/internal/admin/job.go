package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

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

func (a *api) replay(c *call) error {
	var req ReplayRequest
	body, err := c.body(&req)
	if err != nil {
		return err
	}
	if req.Endpoint == "" {
		return invalidf("say to which endpoint")
	}
	if req.Limit < 0 {
		return invalidf("a limit is not negative")
	}
	if err := checkExtent(req.IsZero(), req.All, "ids, repository, tag, action, actor, digest, since or until"); err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	if err := checkRate(req.Rate); err != nil {
		return err
	}
	return a.changeMany(c, Operation{Action: "replay", Endpoint: req.Endpoint, Request: body}, req.DryRun, func(ctx context.Context) (Outcome, error) {
		return a.Replay(ctx, req)
	})
}

func (a *api) listJobs(c *call) error {
	if err := c.query().done(); err != nil {
		return err
	}
	jobs, err := a.Jobs(c.Context())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, newPage(jobs, len(jobs), nil))
}

func (a *api) showJob(c *call) error {
	job, err := a.job(c.Context(), c.PathValue("id"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, job)
}

func (a *api) job(ctx context.Context, id string) (Job, error) {
	jobs, err := a.Jobs(ctx)
	if err != nil {
		return Job{}, err
	}
	for _, j := range jobs {
		if j.ID == id {
			return j, nil
		}
	}
	return Job{}, fmt.Errorf("job %.64q: %w", id, ErrNotFound)
}

// cancelJob answers with how far the job came.
func (a *api) cancelJob(c *call) error {
	job, err := a.job(c.Context(), c.PathValue("id"))
	if err != nil {
		return err
	}
	err = a.operate(c, Operation{Action: "jobs cancel", Endpoint: job.Endpoint, Job: job.ID}, func(ctx context.Context, o *Operation) (err error) {
		job, err = a.CancelJob(ctx, job.ID)
		o.Count = job.Done
		return err
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, job)
}
