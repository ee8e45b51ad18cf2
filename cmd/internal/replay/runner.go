package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/delivery"
	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

const (
	maxEndedJobs   = 100 // that are kept
	maxRunningJobs = 64
)

// A Runner has the jobs that run and those that ended lately. Its methods are safe for
// concurrent use. It has no goroutine of its own: the flows of jobs belong to the
// deliveries of their endpoints and stop with these.
type Runner struct {
	engine    sinks.Engine
	archive   records.Archive
	letters   records.Letters
	endpoints *delivery.Set
	logger    *slog.Logger

	mu   sync.Mutex
	last uint64 // the number of the newest
	all  map[string]*job
}

// NewRunner returns a runner without jobs, for what archive's engine stores and set
// delivers.
func NewRunner(archive records.Archive, set *delivery.Set, logger *slog.Logger) *Runner {
	return &Runner{
		engine: archive.Engine, archive: archive, letters: records.Letters{Engine: archive.Engine},
		endpoints: set, logger: logger, all: make(map[string]*job),
	}
}

// jobNumber is the number in the ID of a job, 0 if that is none.
func jobNumber(id string) uint64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(id, "job"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Restore lets the jobs of before a restart go on, and forgets the places of others.
func (r *Runner) Restore(ctx context.Context) error {
	keys, err := r.engine.StateKeys(ctx, jobPrefix)
	if err != nil {
		return fmt.Errorf("listing jobs: %w", err)
	}
	places := make(map[string]bool)
	for _, key := range keys {
		record, err := readJob(ctx, r.engine, strings.TrimPrefix(key, jobPrefix))
		if err != nil {
			return err
		}
		j, err := r.newJob(record)
		if err != nil {
			return fmt.Errorf("job %s: %w", record.ID, err)
		}
		r.all[record.ID] = j
		r.last = max(r.last, jobNumber(record.ID))
		if record.State == admin.JobRunning {
			places[j.flow.Name] = true
			if err := r.resume(ctx, j); err != nil {
				return err
			}
		}
	}
	return r.forgetPlaces(ctx, places)
}

// resume lets a job of before a restart go on.
func (r *Runner) resume(ctx context.Context, j *job) error {
	if j.record.Kind == jobDead {
		left, err := r.letters.Deliverable(ctx, *j.record.Letters)
		if err != nil {
			return err
		}
		// Those that were delivered are no longer there; the others are tried again.
		j.record.Delivered = j.record.Total - min(left, j.record.Total)
		j.record.Done, j.record.Dead = j.record.Delivered, 0
	}
	if d := r.endpoints.Named(j.endpoint); d != nil && d.Add(j.flow) == nil {
		return nil
	}
	return j.finish(ctx, admin.JobFailed, delivery.ErrRemoved.Error())
}

// forgetPlaces deletes the cursors of jobs that do not run: a crash has left them.
func (r *Runner) forgetPlaces(ctx context.Context, running map[string]bool) error {
	infos, err := r.engine.CursorInfos(ctx)
	if err != nil {
		return fmt.Errorf("listing the places of jobs: %w", err)
	}
	for _, info := range infos {
		if !records.IsJob(info.Name) || running[info.Name] {
			continue
		}
		if err := r.engine.DeleteCursor(ctx, info.Name); err != nil {
			return fmt.Errorf("forgetting the place %s: %w", info.Name, err)
		}
	}
	return nil
}

// start makes a job of record, which has no ID yet, and sets it going.
func (r *Runner) start(ctx context.Context, record jobRecord) (*admin.Job, error) {
	d := r.endpoints.Named(record.Endpoint)
	if d == nil {
		return nil, fmt.Errorf("endpoint %s: %w: it is not in the configuration", record.Endpoint, admin.ErrConflict)
	}
	j, err := r.make(ctx, record)
	if err != nil {
		return nil, err
	}
	if _, err := j.flow.Place(ctx); err != nil {
		return nil, errors.Join(err, j.finish(ctx, admin.JobFailed, err.Error()))
	}
	j.flow.Logger.Info("job begins", "kind", record.Kind, "events", record.Total)
	switch err := d.Add(j.flow); {
	case errors.Is(err, notifications.ErrClosed): // it goes on with the next start
		return nil, errors.Join(err, j.flow.LetGo())
	case err != nil:
		if err := j.finish(ctx, admin.JobFailed, err.Error()); err != nil {
			return nil, err
		}
	}
	shown := j.show(nil)
	return &shown, nil
}

// make gives record an ID and keeps it.
func (r *Runner) make(ctx context.Context, record jobRecord) (*job, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	running := 0
	for _, j := range r.all {
		if j.running() {
			running++
		}
	}
	if running >= maxRunningJobs {
		return nil, fmt.Errorf("%w: %d jobs are running, and that is the most", admin.ErrConflict, running)
	}
	record.ID = "job" + strconv.FormatUint(r.last+1, 10)
	record.State, record.Created = admin.JobRunning, time.Now().UTC()
	j, err := r.newJob(record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	if err := keepJob(ctx, r.engine, &record); err != nil {
		return nil, err
	}
	r.last++
	r.all[record.ID] = j
	if err := r.prune(ctx); err != nil {
		j.flow.Logger.Error("making room for jobs; the next one tries again", "error", err)
	}
	return j, nil
}

func (j *job) running() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.record.State == admin.JobRunning
}

// prune forgets the oldest of those that ended. The caller holds mu.
func (r *Runner) prune(ctx context.Context) error {
	var ended []*job
	for _, j := range r.all {
		if !j.running() {
			ended = append(ended, j)
		}
	}
	if len(ended) <= maxEndedJobs {
		return nil
	}
	slices.SortFunc(ended, func(a, b *job) int { return cmp.Compare(jobNumber(a.id), jobNumber(b.id)) })
	for _, j := range ended[:len(ended)-maxEndedJobs] {
		if err := r.engine.SetState(ctx, jobPrefix+j.id, nil); err != nil {
			return fmt.Errorf("forgetting job %s: %w", j.id, err)
		}
		delete(r.all, j.id)
	}
	return nil
}

// ended is told by the flow of a job that it has done all.
func (r *Runner) ended(j *job) {
	if d := r.endpoints.Named(j.endpoint); d != nil {
		d.Drop(j.flow)
	}
	if err := j.finish(context.Background(), admin.JobDone, ""); err != nil {
		j.flow.Logger.Error("ending a job; it ends again at the next start", "error", err)
	}
}

// EndpointRemoved ends the jobs of an endpoint, whose flows were stopped.
func (r *Runner) EndpointRemoved(ctx context.Context, name string) error {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.all))
	r.mu.Unlock()
	var errs []error
	for _, j := range all {
		if j.endpoint == name && j.running() {
			errs = append(errs, j.finish(ctx, admin.JobFailed, delivery.ErrRemoved.Error()))
		}
	}
	return errors.Join(errs...)
}

// Jobs lists jobs, newest first; see [admin.Jobs].
func (r *Runner) Jobs(ctx context.Context) ([]admin.Job, error) {
	infos, err := cursorInfos(ctx, r.engine)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []admin.Job
	for _, j := range r.all {
		list = append(list, j.show(infos))
	}
	slices.SortFunc(list, func(a, b admin.Job) int { return cmp.Compare(jobNumber(b.ID), jobNumber(a.ID)) })
	return list, nil
}

// CancelJob ends a job; see [admin.Jobs].
func (r *Runner) CancelJob(ctx context.Context, id string) (admin.Job, error) {
	r.mu.Lock()
	j := r.all[id]
	r.mu.Unlock()
	if j == nil {
		return admin.Job{}, fmt.Errorf("job %s: %w", id, admin.ErrNotFound)
	}
	ctx = context.WithoutCancel(ctx) // from here on there is no way back; it takes the drain timeout at most
	if d := r.endpoints.Named(j.endpoint); d != nil {
		d.Drop(j.flow)
	}
	if err := j.flow.Halt(ctx); err != nil {
		return admin.Job{}, err
	}
	if err := j.finish(ctx, admin.JobCanceled, ""); err != nil {
		return admin.Job{}, err
	}
	return j.show(nil), nil
}

// Replay starts a job that delivers stored events again; see [admin.Jobs]. What the
// endpoint's filter does not select is not delivered.
func (r *Runner) Replay(ctx context.Context, q admin.ReplayRequest) (admin.Outcome, error) {
	out := admin.Outcome{DryRun: q.DryRun}
	if _, err := r.endpoints.Find(ctx, q.Endpoint); err != nil {
		return out, err
	}
	record := jobRecord{Job: admin.Job{Kind: jobReplay, Endpoint: q.Endpoint, Rate: q.Rate}}
	if !q.Selection.IsZero() {
		record.Select = &q.Selection
	}
	var err error
	if record.From, record.To, out.Count, err = r.archive.Extent(ctx, &q); err != nil || q.DryRun || out.Count == 0 {
		return out, err
	}
	record.Total = record.To - record.From + 1
	out.Job, err = r.start(ctx, record)
	return out, err
}
