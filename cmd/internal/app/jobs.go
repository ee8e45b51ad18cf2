package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/notifications"
)

const (
	maxEndedJobs   = 100 // that are kept
	maxRunningJobs = 64
)

// jobs are those that run and those that ended lately.
type jobs struct {
	app *App

	mu   sync.Mutex
	last uint64 // the number of the newest
	all  map[string]*job
}

func newJobs(a *App) *jobs { return &jobs{app: a, all: make(map[string]*job)} }

// jobNumber is the number in the ID of a job, 0 if that is none.
func jobNumber(id string) uint64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(id, "job"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// restore lets the jobs of before a restart go on, and forgets the places of others.
func (js *jobs) restore(ctx context.Context) error {
	keys, err := js.app.engine.StateKeys(ctx, jobPrefix)
	if err != nil {
		return fmt.Errorf("listing jobs: %w", err)
	}
	places := make(map[string]bool)
	for _, key := range keys {
		record, err := readJob(ctx, js.app.engine, strings.TrimPrefix(key, jobPrefix))
		if err != nil {
			return err
		}
		j, err := newJob(js.app, record, js.ended)
		if err != nil {
			return fmt.Errorf("job %s: %w", record.ID, err)
		}
		js.all[record.ID] = j
		js.last = max(js.last, jobNumber(record.ID))
		if record.State == admin.JobRunning {
			places[j.flow.name] = true
			if err := js.resume(ctx, j); err != nil {
				return err
			}
		}
	}
	return js.forgetPlaces(ctx, places)
}

// resume lets a job of before a restart go on.
func (js *jobs) resume(ctx context.Context, j *job) error {
	if j.record.Kind == jobDead {
		left, err := js.app.letters().Deliverable(ctx, *j.record.Letters)
		if err != nil {
			return err
		}
		// Those that were delivered are no longer there; the others are tried again.
		j.record.Delivered = j.record.Total - min(left, j.record.Total)
		j.record.Done, j.record.Dead = j.record.Delivered, 0
	}
	if d := js.app.deliveries[j.endpoint]; d != nil && d.add(j.flow) {
		return nil
	}
	return j.finish(ctx, admin.JobFailed, endpointGone)
}

// endpointGone is why a job fails whose endpoint is taken out of the configuration.
const endpointGone = "the endpoint was removed from the configuration"

// forgetPlaces deletes the cursors of jobs that do not run: a crash has left them.
func (js *jobs) forgetPlaces(ctx context.Context, running map[string]bool) error {
	infos, err := js.app.engine.CursorInfos(ctx)
	if err != nil {
		return fmt.Errorf("listing the places of jobs: %w", err)
	}
	for _, info := range infos {
		if !records.IsJob(info.Name) || running[info.Name] {
			continue
		}
		if err := js.app.engine.DeleteCursor(ctx, info.Name); err != nil {
			return fmt.Errorf("forgetting the place %s: %w", info.Name, err)
		}
	}
	return nil
}

// start makes a job of record, which has no ID yet, and sets it going.
func (js *jobs) start(ctx context.Context, record jobRecord) (*admin.Job, error) {
	d := js.app.working()[record.Endpoint]
	if d == nil {
		return nil, fmt.Errorf("endpoint %s: %w: it is not in the configuration", record.Endpoint, admin.ErrConflict)
	}
	j, err := js.make(ctx, record)
	if err != nil {
		return nil, err
	}
	if _, err := j.flow.place(ctx); err != nil {
		return nil, errors.Join(err, j.finish(ctx, admin.JobFailed, err.Error()))
	}
	j.flow.logger.Info("job begins", "kind", record.Kind, "events", record.Total)
	switch {
	case d.add(j.flow):
	case js.app.stopping.Load(): // it goes on with the next start
		return nil, errors.Join(notifications.ErrClosed, j.flow.letGo())
	default:
		if err := j.finish(ctx, admin.JobFailed, endpointGone); err != nil {
			return nil, err
		}
	}
	shown := j.show(nil)
	return &shown, nil
}

// make gives record an ID and keeps it.
func (js *jobs) make(ctx context.Context, record jobRecord) (*job, error) {
	js.mu.Lock()
	defer js.mu.Unlock()
	running := 0
	for _, j := range js.all {
		if j.running() {
			running++
		}
	}
	if running >= maxRunningJobs {
		return nil, fmt.Errorf("%w: %d jobs are running, and that is the most", admin.ErrConflict, running)
	}
	record.ID = "job" + strconv.FormatUint(js.last+1, 10)
	record.State, record.Created = admin.JobRunning, time.Now().UTC()
	j, err := newJob(js.app, record, js.ended)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	if err := keepJob(ctx, js.app.engine, &record); err != nil {
		return nil, err
	}
	js.last++
	js.all[record.ID] = j
	if err := js.prune(ctx); err != nil {
		j.flow.logger.Error("making room for jobs; the next one tries again", "error", err)
	}
	return j, nil
}

func (j *job) running() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.record.State == admin.JobRunning
}

// prune forgets the oldest of those that ended. The caller holds mu.
func (js *jobs) prune(ctx context.Context) error {
	var ended []*job
	for _, j := range js.all {
		if !j.running() {
			ended = append(ended, j)
		}
	}
	if len(ended) <= maxEndedJobs {
		return nil
	}
	slices.SortFunc(ended, func(a, b *job) int { return cmp.Compare(jobNumber(a.id), jobNumber(b.id)) })
	for _, j := range ended[:len(ended)-maxEndedJobs] {
		if err := js.app.engine.SetState(ctx, jobPrefix+j.id, nil); err != nil {
			return fmt.Errorf("forgetting job %s: %w", j.id, err)
		}
		delete(js.all, j.id)
	}
	return nil
}

// ended is told by the flow of a job that it has done all.
func (js *jobs) ended(j *job) {
	if d := js.app.working()[j.endpoint]; d != nil {
		d.drop(j.flow)
	}
	if err := j.finish(context.Background(), admin.JobDone, ""); err != nil {
		j.flow.logger.Error("ending a job; it ends again at the next start", "error", err)
	}
}

// endpointRemoved ends the jobs of an endpoint, whose flows were stopped.
func (js *jobs) endpointRemoved(ctx context.Context, name string) error {
	js.mu.Lock()
	all := slices.Collect(maps.Values(js.all))
	js.mu.Unlock()
	var errs []error
	for _, j := range all {
		if j.endpoint == name && j.running() {
			errs = append(errs, j.finish(ctx, admin.JobFailed, endpointGone))
		}
	}
	return errors.Join(errs...)
}

// Jobs lists jobs, newest first; see [admin.Jobs].
func (js *jobs) Jobs(ctx context.Context) ([]admin.Job, error) {
	infos, err := cursorInfos(ctx, js.app.engine)
	if err != nil {
		return nil, err
	}
	js.mu.Lock()
	defer js.mu.Unlock()
	var list []admin.Job
	for _, j := range js.all {
		list = append(list, j.show(infos))
	}
	slices.SortFunc(list, func(a, b admin.Job) int { return cmp.Compare(jobNumber(b.ID), jobNumber(a.ID)) })
	return list, nil
}

// CancelJob ends a job; see [admin.Jobs].
func (js *jobs) CancelJob(ctx context.Context, id string) (admin.Job, error) {
	js.mu.Lock()
	j := js.all[id]
	js.mu.Unlock()
	if j == nil {
		return admin.Job{}, fmt.Errorf("job %s: %w", id, admin.ErrNotFound)
	}
	ctx = context.WithoutCancel(ctx) // from here on there is no way back; it takes the drain timeout at most
	if d := js.app.working()[j.endpoint]; d != nil {
		d.drop(j.flow)
	}
	if err := j.flow.halt(ctx); err != nil {
		return admin.Job{}, err
	}
	if err := j.finish(ctx, admin.JobCanceled, ""); err != nil {
		return admin.Job{}, err
	}
	return j.show(nil), nil
}

// Replay starts a job that delivers stored events again; see [admin.Jobs]. What the
// endpoint's filter does not select is not delivered.
func (js *jobs) Replay(ctx context.Context, r admin.ReplayRequest) (admin.Outcome, error) {
	out := admin.Outcome{DryRun: r.DryRun}
	if _, err := js.app.find(ctx, r.Endpoint); err != nil {
		return out, err
	}
	record := jobRecord{Job: admin.Job{Kind: jobReplay, Endpoint: r.Endpoint, Rate: r.Rate}}
	if !r.Selection.IsZero() {
		record.Select = &r.Selection
	}
	var err error
	if record.From, record.To, out.Count, err = js.app.archive().Extent(ctx, &r); err != nil || r.DryRun || out.Count == 0 {
		return out, err
	}
	record.Total = record.To - record.From + 1
	out.Job, err = js.start(ctx, record)
	return out, err
}
