// Package outbox takes events on the path of a registry's request and writes them to a
// sink without ever failing or long delaying the request.
package outbox

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
)

// An Outbox is a sink that has a bounded queue before another.
type Outbox struct{ dst notifications.Sink }

// Options bound an [Outbox].
type Options struct {
	Wait       time.Duration // how long Write waits for a mutation to be written
	MaxEvents  int
	MaxBytes   int
	Accepting  func() error // of the sink, nil if only its errors tell
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// New returns an Outbox before dst.
func New(dst notifications.Sink, opts *Options) *Outbox { return &Outbox{dst: dst} }

// Write queues a batch. It waits up to Options.Wait for it to be written, unless it is all
// pulls.
func (o *Outbox) Write(ctx context.Context, batch []*notifications.Event) error {
	return o.dst.Write(ctx, batch)
}

// Accepting says why an event could not be written now, nil if it could.
func (o *Outbox) Accepting() error { return nil }

// Shutdown writes what is queued, until ctx ends.
func (o *Outbox) Shutdown(ctx context.Context) error { return nil }
