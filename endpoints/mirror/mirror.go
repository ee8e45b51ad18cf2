package mirror

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
)

// A mirror makes the attempts of an endpoint: an [endpoints.Sender]. What it keeps between
// them is where it has put blobs, to mount them from there.
type mirror struct {
	opts           *Options
	source, target side
	platforms      []platform
	meter          *meter
	log            *slog.Logger
	places         places
	spare          chan struct{} // has a value for each hand that is lent, see crew
	closed         atomic.Bool

	// turns keep what looks at the source and then changes the target from doing both at
	// once in a repository: deliveries of new events and of a replay know nothing of each
	// other, and who has looked earlier must not write later.
	turns [64]chan struct{}
	seed  maphash.Seed

	mu   sync.Mutex
	jobs map[*job]struct{} // under way
}

func logger(l *slog.Logger, name string) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l.With(slog.String("endpoint", name))
}

// Send copies, or deletes, what the events of batch are about, one after the other.
func (m *mirror) Send(ctx context.Context, batch []*notifications.Event) error {
	for _, e := range batch {
		if m.closed.Load() {
			return notifications.ErrClosed
		}
		if err := m.send(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (m *mirror) send(ctx context.Context, e *notifications.Event) error {
	j := m.begin(ctx, e)
	defer j.end()
	err := j.do(e)
	if gone := (*supersededError)(nil); errors.As(err, &gone) {
		m.meter.superseded(gone.reason)
		m.log.Debug("superseded", slog.String("event", e.ID), slog.String("repository", e.Repository),
			slog.String("tag", e.Tag), slog.String("digest", string(e.Digest)), slog.String("reason", string(gone.reason)))
		return nil
	}
	if err == nil {
		return nil
	}
	return m.judge(ctx, j, err)
}

// do is what an event asks for.
func (j *job) do(e *notifications.Event) error {
	switch {
	case e.Action == notifications.ActionPing:
		return j.ping()
	case !j.m.opts.Wants(e):
		return nil
	case e.Action == notifications.ActionDelete:
		return j.delete(e)
	default:
		return j.push(e)
	}
}

// ping asks both registries whether they are there and know us.
func (j *job) ping() error {
	for _, s := range []*side{&j.m.source, &j.m.target} {
		if err := s.client.Ping(j.ctx); err != nil {
			return s.failed(err)
		}
		j.touch()
	}
	return nil
}

// A reason says why an event was superseded: a metric label.
type reason string

const (
	reasonMoved    reason = "moved"    // the tag names something else by now
	reasonGone     reason = "gone"     // the source does not have it any more
	reasonRestored reason = "restored" // what was deleted is there, still or again
)

func reasons() []reason { return []reason{reasonMoved, reasonGone, reasonRestored} }

// A supersededError ends a job for which the source has left no reason.
type supersededError struct{ reason reason }

func (e *supersededError) Error() string { return "superseded: " + string(e.reason) }

// inTurn runs f while no other f runs for that repository.
func (m *mirror) inTurn(ctx context.Context, repository string, f func() error) error {
	turn := m.turns[maphash.String(m.seed, repository)%uint64(len(m.turns))]
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-turn }()
	return f()
}

// Shutdown closes idle connections.
func (m *mirror) Shutdown(context.Context) error {
	m.closed.Store(true)
	for _, s := range []*side{&m.source, &m.target} {
		s.client.CloseIdleConnections()
	}
	return nil
}

// tagOrDigest is how a person names what e is about.
func tagOrDigest(e *notifications.Event) string {
	if e.Tag != "" {
		return e.Repository + ":" + e.Tag
	}
	return e.Repository + "@" + cmp.Or(string(e.Digest), "?")
}

var _ endpoints.Sender = (*mirror)(nil)
