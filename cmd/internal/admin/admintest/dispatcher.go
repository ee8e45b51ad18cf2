// Package admintest has a dispatcher that only pretends, for tests of whoever speaks to
// one: its lists are what a test puts into them, and what it was asked to do is written
// down.
package admintest

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/regcast/regcast/cmd/internal/admin"
)

// A Dispatcher is an [admin.Dispatcher] that does nothing. The lists are set before it is
// used and in the order in which it returns them; of selections it knows IDs alone, but it
// pages. Its methods are safe for concurrent use.
type Dispatcher struct {
	EndpointList   []admin.Endpoint
	EventList      []admin.EventStory // newest first
	Live           chan admin.Event   // what Stream returns; closing it ends all streams
	DeadList       []admin.DeadLetter
	JobList        []admin.Job
	QuarantineList []admin.Quarantined

	Pong    admin.Pong
	Outcome admin.Outcome
	Filled  admin.Backfilled
	Errs    map[string]error // by method: returned instead of doing anything

	mu    sync.Mutex
	calls []string
	log   []admin.Operation
}

// Calls returns and forgets the calls so far: the name of the method, and its arguments
// as JSON. Reads that only list are not among them unless they have arguments.
func (d *Dispatcher) Calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := d.calls
	d.calls = nil
	return calls
}

func (d *Dispatcher) called(method string, args ...any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(args) > 0 {
		call := method
		for _, arg := range args {
			data, err := json.Marshal(arg)
			if err != nil {
				return err
			}
			call += " " + string(data)
		}
		d.calls = append(d.calls, call)
	}
	return d.Errs[method]
}

func (d *Dispatcher) Endpoints(context.Context) ([]admin.Endpoint, error) {
	return slices.Clone(d.EndpointList), d.called("Endpoints")
}

func (d *Dispatcher) Control(_ context.Context, name string, action admin.Action) error {
	return d.called("Control", name, action)
}

func (d *Dispatcher) Ping(_ context.Context, name, sample string) (admin.Pong, error) {
	return d.Pong, d.called("Ping", name, sample)
}

func (d *Dispatcher) Events(_ context.Context, q admin.EventQuery) ([]admin.Event, error) {
	var found []admin.Event
	for _, s := range d.EventList {
		if (len(q.IDs) == 0 || slices.Contains(q.IDs, s.ID)) && (q.After == 0 || s.Sequence < q.After) && len(found) < q.Limit {
			found = append(found, s.Event)
		}
	}
	return found, d.called("Events", q)
}

func (d *Dispatcher) Event(_ context.Context, id string) (admin.EventStory, error) {
	if err := d.called("Event", id); err != nil {
		return admin.EventStory{}, err
	}
	for _, s := range d.EventList {
		if s.ID == id {
			return s, nil
		}
	}
	return admin.EventStory{}, fmt.Errorf("event %q: %w", id, admin.ErrNotFound)
}

// Stream returns what comes over d.Live; with an error in Errs under "streaming" it ends
// with that.
func (d *Dispatcher) Stream(ctx context.Context, q admin.EventQuery) (iter.Seq2[admin.Event, error], error) {
	if err := d.called("Stream", q); err != nil {
		return nil, err
	}
	return func(yield func(admin.Event, error) bool) {
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				yield(admin.Event{}, ctx.Err())
				return
			case e, ok := <-d.Live:
				if !ok {
					if err := d.called("streaming"); err != nil {
						yield(admin.Event{}, err)
					}
					return
				}
				if !yield(e, nil) || n == q.Limit {
					return
				}
			}
		}
	}, nil
}

func (d *Dispatcher) DeadLetters(_ context.Context, q admin.DeadQuery) ([]admin.DeadLetter, error) {
	var found []admin.DeadLetter
	for _, l := range d.DeadList {
		if (len(q.IDs) == 0 || slices.Contains(q.IDs, l.ID)) && l.ID > q.After && len(found) < q.Limit {
			found = append(found, l)
		}
	}
	return found, d.called("DeadLetters", q)
}

func (d *Dispatcher) ReplayDead(_ context.Context, r admin.DeadRequest) (admin.Outcome, error) {
	return d.Outcome, d.called("ReplayDead", r)
}

func (d *Dispatcher) DropDead(_ context.Context, r admin.DeadRequest) (admin.Outcome, error) {
	return d.Outcome, d.called("DropDead", r)
}

func (d *Dispatcher) Replay(_ context.Context, r admin.ReplayRequest) (admin.Outcome, error) {
	return d.Outcome, d.called("Replay", r)
}

func (d *Dispatcher) Jobs(context.Context) ([]admin.Job, error) {
	return slices.Clone(d.JobList), d.called("Jobs")
}

func (d *Dispatcher) CancelJob(_ context.Context, id string) (admin.Job, error) {
	i := slices.IndexFunc(d.JobList, func(j admin.Job) bool { return j.ID == id })
	if i < 0 {
		return admin.Job{}, fmt.Errorf("job %q: %w", id, admin.ErrNotFound)
	}
	job := d.JobList[i]
	job.State = admin.JobCanceled
	return job, d.called("CancelJob", id)
}

func (d *Dispatcher) Quarantined(_ context.Context, q admin.QuarantineQuery) ([]admin.Quarantined, error) {
	var found []admin.Quarantined
	for _, b := range d.QuarantineList {
		if (len(q.IDs) == 0 || slices.Contains(q.IDs, b.ID)) && b.ID > q.After && len(found) < q.Limit {
			found = append(found, b)
		}
	}
	return found, d.called("Quarantined", q)
}

func (d *Dispatcher) RetryQuarantined(_ context.Context, r admin.QuarantineRequest) (admin.Outcome, error) {
	return d.Outcome, d.called("RetryQuarantined", r)
}

func (d *Dispatcher) DropQuarantined(_ context.Context, r admin.QuarantineRequest) (admin.Outcome, error) {
	return d.Outcome, d.called("DropQuarantined", r)
}

func (d *Dispatcher) Backfill(_ context.Context, sender string, r admin.BackfillRequest) (admin.Backfilled, error) {
	return d.Filled, d.called("Backfill", sender, r)
}

func (d *Dispatcher) Reload(context.Context) error { return d.called("Reload", struct{}{}) }

// Record keeps operations for Log. With an error in Errs under "Record" it keeps nothing,
// and with one under "ended" not how operations ended.
func (d *Dispatcher) Record(_ context.Context, o *admin.Operation) error {
	if err := d.called("Record"); err != nil {
		return err
	}
	if !o.Ended.IsZero() {
		if err := d.called("ended"); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if o.ID == 0 {
		o.ID = uint64(len(d.log)) + 1
		d.log = append(d.log, *o)
	}
	d.log[o.ID-1] = *o
	return nil
}

func (d *Dispatcher) Log(_ context.Context, q admin.LogQuery) ([]admin.Operation, error) {
	err := d.called("Log", q)
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []admin.Operation
	for _, o := range slices.Backward(d.log) {
		if (q.After == 0 || o.ID < q.After) && len(found) < q.Limit {
			found = append(found, o)
		}
	}
	return found, err
}
