package backfill

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/notifications/registry"
)

// emitEvery is how often what was found is sent on although the batch is not full.
const emitEvery = time.Second

// A Walk goes through a registry. Its exported fields are set before Run, which is called
// once.
type Walk struct {
	Client      *registry.Client
	Selection   Selection
	After       string // begin behind this repository
	Concurrency int    // manifests that are looked at at a time, and about as many repositories; at least 1
	// Unreadable, if not nil, is told of what the registry has and does not give, of one
	// thing at a time. It does not call the walk.
	Unreadable func(what string, err error)

	slots chan struct{} // holds one for each manifest that is looked at

	mu     sync.Mutex
	counts Counts
}

// Counts is what a walk has seen.
type Counts struct {
	Repositories int `json:"repositories"`
	Tags         int `json:"tags"`
	Manifests    int `json:"manifests"`  // each once in its repository
	Gone         int `json:"gone"`       // were listed or referred to, but are not there
	Unreadable   int `json:"unreadable"` // are there, but the registry does not give them, or not right
}

// A Batch is what was found: of one repository after the other, in the order in which the
// registry lists them.
type Batch struct {
	Found      []admin.Found // at most admin.MaxFound
	Finished   string        // all is told of this repository and those before it; "" of none yet
	Unreadable int           // in these repositories, on this walk
}

// Counts returns what the walk has seen so far.
func (w *Walk) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

func (w *Walk) count(change func(*Counts)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.counts)
}

// Run visits repositories, several at a time, and hands what it finds to emit, one batch
// after the other. What a registry has and does not give (for want of a permission, or
// because it is broken) is counted and passed by; a registry that does not answer ends the
// walk. Errors: ErrNoCatalog; emit's; the registry's; ctx's.
func (w *Walk) Run(ctx context.Context, emit func(context.Context, Batch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	w.slots = make(chan struct{}, max(w.Concurrency, 1))
	// In the order of the list; the one that is received from and the one that waits for
	// room are visited, too.
	visits := make(chan *visit, max(w.Concurrency-2, 0))
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	var listed error
	all.Go(func() {
		defer close(visits)
		for name, err := range w.Selection.repositories(ctx, w.Client, w.After) {
			if err != nil {
				listed = err
				return
			}
			v := &visit{Walk: w, name: name, found: make(chan []admin.Found, 1), seen: make(map[digest.Digest]bool)}
			all.Go(func() { v.run(ctx) })
			select {
			case visits <- v:
			case <-ctx.Done():
				return
			}
		}
	})
	out := &outbox{emit: emit, tick: time.NewTicker(emitEvery)}
	defer out.tick.Stop()
	if err := w.gather(ctx, visits, out); err != nil {
		return err
	}
	return errors.Join(listed, out.flush(ctx), ctx.Err())
}

// gather has what visits find sent on, one after the other.
func (w *Walk) gather(ctx context.Context, visits <-chan *visit, out *outbox) error {
	for {
		v, more, err := receive(ctx, visits, out)
		if err != nil || !more {
			return err
		}
		for {
			found, more, err := receive(ctx, v.found, out)
			if err != nil {
				return err
			}
			if !more {
				break
			}
			if err := out.add(ctx, found); err != nil {
				return err
			}
		}
		if v.err != nil {
			return errors.Join(v.err, out.flush(ctx))
		}
		w.count(func(c *Counts) { c.Repositories++ })
		out.batch.Finished = v.name
		out.batch.Unreadable += v.passedBy
	}
}

// receive waits for what comes over c, and has what was gathered sent on meanwhile. more
// is false once c is closed.
func receive[T any](ctx context.Context, c <-chan T, out *outbox) (v T, more bool, err error) {
	for {
		select {
		case v, more = <-c:
			return v, more, nil
		case <-out.tick.C:
			if err := out.flush(ctx); err != nil {
				return v, false, err
			}
		}
	}
}

// An outbox gathers batches.
type outbox struct {
	emit  func(context.Context, Batch) error
	batch Batch
	sent  string // the last repository that was said to be finished
	tick  *time.Ticker
}

func (o *outbox) add(ctx context.Context, found []admin.Found) error {
	for len(found) > 0 {
		n := min(len(found), admin.MaxFound-len(o.batch.Found))
		o.batch.Found = append(o.batch.Found, found[:n]...)
		found = found[n:]
		if len(o.batch.Found) == admin.MaxFound {
			if err := o.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *outbox) flush(ctx context.Context) error {
	if len(o.batch.Found) == 0 && o.batch.Finished == o.sent {
		return nil
	}
	if err := o.emit(ctx, o.batch); err != nil {
		return err
	}
	o.sent = o.batch.Finished
	o.batch.Found = nil
	return nil
}
