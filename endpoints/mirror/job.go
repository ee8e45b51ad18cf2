package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications"
)

// A job is one attempt with one event.
type job struct {
	m          *mirror
	ctx        context.Context
	repository string
	event      string // its id
	title      string // for people
	fresh      bool   // the event is so young that the source may be behind
	replayed   bool

	idle   *time.Timer // ends ctx, unless there is progress
	cancel context.CancelCauseFunc

	// What the target's repository is known to have, or to get before it is referred to; of
	// manifests false is what neither registry has. A digest may be that of both: some
	// artifacts keep a manifest as a layer.
	blobsThere, manifestsThere map[digest.Digest]bool

	manifests int // looked at so far, but for the first

	// For Progress.
	total, settled atomic.Int64 // blobs
	moved          atomic.Int64 // bytes
}

// errIdle is the cause with which a job's context ends when nothing moves any more.
var errIdle = errors.New("no progress in time")

// begin makes the job of an event. end is to be called.
func (m *mirror) begin(ctx context.Context, e *notifications.Event) *job {
	ctx, cancel := context.WithCancelCause(ctx)
	j := &job{
		m: m, ctx: ctx, cancel: cancel,
		repository: e.Repository, event: e.ID, title: tagOrDigest(e),
		idle:       time.AfterFunc(m.opts.Endpoint.Timeout, func() { cancel(errIdle) }),
		blobsThere: make(map[digest.Digest]bool), manifestsThere: make(map[digest.Digest]bool),
	}
	j.age(e)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.jobs[j] = struct{}{}
	return j
}

func (j *job) end() {
	j.idle.Stop()
	j.cancel(nil)
	j.m.mu.Lock()
	defer j.m.mu.Unlock()
	delete(j.m.jobs, j)
}

// touch notes that something moved.
func (j *job) touch() { j.idle.Reset(j.m.opts.Endpoint.Timeout) }

// String is what the job is about and how far it is: "team/app:1.0 3/7 blobs, 120 MiB".
func (j *job) String() string {
	return fmt.Sprintf("%s %d/%d blobs, %s", j.title, j.settled.Load(), j.total.Load(), size(j.moved.Load()))
}

// size is a number of bytes as people say it.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprint(n>>30, " GiB")
	case n >= 10<<20:
		return fmt.Sprint(n>>20, " MiB")
	default:
		return fmt.Sprint((n+1023)>>10, " KiB")
	}
}

// maxShown is how many jobs Progress names.
const maxShown = 3

// Progress tells of the copies under way, those that have moved most first; "" if there
// are none.
func (m *mirror) Progress() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	jobs := make([]*job, 0, len(m.jobs))
	moved := make(map[*job]int64, len(m.jobs)) // at one moment
	for j := range m.jobs {
		jobs = append(jobs, j)
		moved[j] = j.moved.Load()
	}
	slices.SortFunc(jobs, func(a, b *job) int {
		return cmp.Or(cmp.Compare(moved[b], moved[a]), cmp.Compare(a.title, b.title))
	})
	var words []string
	for _, j := range jobs[:min(len(jobs), maxShown)] {
		words = append(words, j.String())
	}
	if more := len(jobs) - maxShown; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, "; ")
}
