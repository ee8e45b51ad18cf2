package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// An Endpoint is what there is to know of one. At any moment, the events stored since
// its start are Delivered + Filtered + Dead + Dropped + Evicted + Pending.
type Endpoint struct {
	Name   string    `json:"name"`
	URL    string    `json:"url"`    // scheme, host and path; scheme and host alone if it came from a file; "" once removed
	Format string    `json:"format"` // of its requests, "mirror" for one that makes none; "" once removed
	State  string    `json:"state"`  // one of endpoints.StateNames
	Cause  string    `json:"cause,omitempty"`
	Since  time.Time `json:"since,omitzero"` // of the state

	Pending              uint64  `json:"pending"` // parked ones included
	Parked               uint64  `json:"parked"`  // of these, put aside until later
	OldestPendingSeconds float64 `json:"oldest_pending_seconds"`
	InFlight             int     `json:"in_flight"`          // requests
	Progress             string  `json:"progress,omitempty"` // what a mirror is copying, in a line

	Delivered uint64 `json:"delivered"`
	Filtered  uint64 `json:"filtered"`
	Dead      uint64 `json:"dead"` // given up on with a dead letter
	Dropped   uint64 `json:"dropped"`
	Evicted   uint64 `json:"evicted"`
	Retried   uint64 `json:"retried"` // attempts after an event's first, since regcast started

	LastError   string    `json:"last_error,omitempty"`
	LastSuccess time.Time `json:"last_success,omitzero"`
}

// An Action is what an operator can do to an endpoint.
type Action string

// The actions.
const (
	Pause   Action = "pause"   // send nothing until Resume
	Resume  Action = "resume"  // ends Pause, and any hold: try at once
	Disable Action = "disable" // send nothing until Enable, not even probes
	Enable  Action = "enable"  // ends Disable, whoever or whatever disabled it
	Forget  Action = "forget"  // give up the place of an endpoint that is not in the configuration any more
)

// A PingRequest says which test event to send.
type PingRequest struct {
	Sample string `json:"sample,omitempty"` // what the event looks like: push, pull, mount or delete; "" is push
}

// A Pong is what an endpoint answered to a test event.
type Pong struct {
	ID              string  `json:"id"`               // of the event
	Status          int     `json:"status,omitempty"` // 0 without an answer
	DurationSeconds float64 `json:"duration_seconds"`
	Error           string  `json:"error,omitempty"`   // why it does not count as accepted
	Excerpt         Text    `json:"excerpt,omitempty"` // the beginning of the answer's body
}

func (a *api) listEndpoints(c *call) error {
	if err := c.query().done(); err != nil {
		return err
	}
	all, err := a.Endpoints(c.Context())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, newPage(all, len(all), nil))
}

func (a *api) showEndpoint(c *call) error {
	e, err := a.endpoint(c.Context(), c.PathValue("name"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, e)
}

func (a *api) endpoint(ctx context.Context, name string) (Endpoint, error) {
	all, err := a.Endpoints(ctx)
	if err != nil {
		return Endpoint{}, err
	}
	for _, e := range all {
		if e.Name == name {
			return e, nil
		}
	}
	return Endpoint{}, fmt.Errorf("endpoint %.64q: %w", name, ErrNotFound)
}

// control answers with how the endpoint is then; a forgotten one is not any more.
func (a *api) control(action Action) func(*call) error {
	return func(c *call) error {
		name := c.PathValue("name")
		if _, err := a.endpoint(c.Context(), name); err != nil {
			return err
		}
		err := a.operate(c, Operation{Action: string(action), Endpoint: name}, func(ctx context.Context, _ *Operation) error {
			return a.Control(ctx, name, action)
		})
		if err != nil {
			return err
		}
		if action == Forget {
			c.w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return a.showEndpoint(c)
	}
}

func (a *api) pingEndpoint(c *call) error {
	var req PingRequest
	body, err := c.body(&req)
	if err != nil {
		return err
	}
	if req.Sample == "" {
		req.Sample = "push"
	}
	name := c.PathValue("name")
	if _, err := a.endpoint(c.Context(), name); err != nil {
		return err
	}
	var pong Pong
	err = a.operate(c, Operation{Action: "ping", Endpoint: name, Request: body}, func(ctx context.Context, _ *Operation) (err error) {
		pong, err = a.Ping(ctx, name, req.Sample)
		return err
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, pong)
}
