package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/delivery"
	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// The kinds of jobs.
const (
	jobReplay = "replay" // stored events
	jobDead   = "dead"   // dead letters
)

// jobWindow is how many events a job holds at a time: few beside those of live traffic.
const jobWindow = 1024

// A jobRecord is a job as it is kept.
type jobRecord struct {
	admin.Job
	From    uint64           `json:"from,omitempty"`    // of a replay: the first sequence
	To      uint64           `json:"to,omitempty"`      // of a replay: the last
	Letters *sinks.DeadQuery `json:"letters,omitempty"` // of dead letters
}

// A job delivers again. Its flow is one of those of its endpoint's delivery.
type job struct {
	id       string
	endpoint string
	engine   sinks.Engine
	flow     *delivery.Flow

	mu     sync.Mutex
	record jobRecord
}

// newJob returns a job whose record says all, and that does nothing yet.
func (r *Runner) newJob(record jobRecord) (*job, error) {
	j := &job{id: record.ID, endpoint: record.Endpoint, engine: r.engine, record: record}
	name := records.JobCursor(record.Endpoint, record.ID)
	var match sinks.Matcher // which of the events that a replay passes it is to deliver; nil: all
	if record.Select != nil {
		var err error
		if match, err = records.Matcher(record.Select); err != nil {
			return nil, err
		}
	}
	j.flow = &delivery.Flow{
		Name: name, Logger: r.logger.With("endpoint", record.Endpoint, "job", record.ID),
		Claim: func(ctx context.Context) (sinks.Cursor, error) {
			if record.Kind == jobDead {
				return r.engine.DeadCursor(ctx, name, *record.Letters)
			}
			return r.engine.Cursor(ctx, name, &sinks.CursorOptions{From: sinks.AtSequence(record.From), To: record.To})
		},
		Adapt: func(o *sinks.DeliverOptions) {
			o.Rate, o.Replay, o.Window = record.Rate, record.ID, jobWindow
			o.Match = both(o.Match, match)
			o.OnSettle = j.settled
		},
		Ended: func() { r.ended(j) },
	}
	return j, nil
}

// both returns a matcher that selects what a and b do. nil selects everything.
func both(a, b sinks.Matcher) sinks.Matcher {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	default:
		return sinks.MatcherFunc(func(e *notifications.Event) bool { return a.Match(e) && b.Match(e) })
	}
}

// settled counts what became of dead letters, which no cursor's totals say.
func (j *job) settled(outcome sinks.Outcome, settled []sinks.Delivery) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.record.Kind == jobDead {
		count(&j.record.Job, outcome, uint64(len(settled)))
	}
}

func count(j *admin.Job, outcome sinks.Outcome, n uint64) {
	j.Done += n
	switch outcome {
	case sinks.Delivered:
		j.Delivered += n
	case sinks.DeadLettered:
		j.Dead += n
	}
}

// show returns the job as it is. infos are those of its cursor, if that is known.
func (j *job) show(infos map[string]*sinks.CursorInfo) admin.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	shown := j.record.Job
	if info := infos[j.flow.Name]; info != nil && shown.State == admin.JobRunning {
		shown.Total, shown.Done, shown.Delivered, shown.Dead = info.Pending, 0, 0, 0
		for outcome, n := range info.Totals {
			shown.Total += n
			count(&shown, sinks.Outcome(outcome), n)
		}
	}
	return shown
}

// finish notes that the job has ended, and how, unless it has ended before, and forgets
// its place.
func (j *job) finish(ctx context.Context, state admin.JobState, cause string) error {
	if err := j.note(ctx, state, cause); err != nil {
		return err
	}
	if err := j.flow.LetGo(); err != nil {
		return err
	}
	if err := j.engine.DeleteCursor(ctx, j.flow.Name); err != nil {
		return fmt.Errorf("job %s: forgetting its place: %w", j.id, err)
	}
	return nil
}

func (j *job) note(ctx context.Context, state admin.JobState, cause string) error {
	infos, err := cursorInfos(ctx, j.engine)
	if err != nil {
		return err
	}
	shown := j.show(infos)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.record.State != admin.JobRunning {
		return nil
	}
	ended := j.record
	ended.Job = shown
	ended.State, ended.Error, ended.Ended = state, cause, time.Now().UTC()
	if err := keepJob(ctx, j.engine, &ended); err != nil {
		return err
	}
	j.record = ended
	j.flow.Logger.Info("job ended", "state", state, "cause", cause, "delivered", ended.Delivered, "dead", ended.Dead)
	return nil
}

func cursorInfos(ctx context.Context, engine sinks.Cursors) (map[string]*sinks.CursorInfo, error) {
	infos, err := engine.CursorInfos(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing how far jobs are: %w", err)
	}
	byName := make(map[string]*sinks.CursorInfo, len(infos))
	for i := range infos {
		byName[infos[i].Name] = &infos[i]
	}
	return byName, nil
}

// jobPrefix begins the state key of each job.
const jobPrefix = "job/"

// keepJob writes a record.
func keepJob(ctx context.Context, store sinks.StateStore, r *jobRecord) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("job %s: encoding it: %w", r.ID, err)
	}
	if len(value) > sinks.MaxStateValue {
		return fmt.Errorf("%w: the selection is too long; select less at once", admin.ErrInvalid)
	}
	if err := store.SetState(ctx, jobPrefix+r.ID, value); err != nil {
		return fmt.Errorf("job %s: writing it: %w", r.ID, err)
	}
	return nil
}

func readJob(ctx context.Context, store sinks.StateStore, id string) (r jobRecord, err error) {
	value, err := store.State(ctx, jobPrefix+id)
	if err == nil {
		err = json.Unmarshal(value, &r)
	}
	if err != nil {
		return r, fmt.Errorf("job %s: reading it: %w", id, err)
	}
	return r, nil
}
