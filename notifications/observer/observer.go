package observer

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/internal/outbox"
	"github.com/regcast/regcast/notifications/observer/cache"
)

// An Observer is a registry's HTTP handler that reports what its requests did. It is safe
// for concurrent use.
type Observer struct {
	next        http.Handler
	opts        Options
	outbox      *outbox.Outbox
	bridge      *notifications.Bridge
	sessions    *sessions
	tags        *tagIndex
	descriptors *descriptors
	manifests   *manifestMemory
	buffers     *buffers
	metrics     *metrics
}

// New returns an Observer of next that writes events to dst, as the registry process
// source. opts may be nil. The caller ends it with Shutdown, and shuts dst down after
// that.
func New(next http.Handler, dst notifications.Sink, source notifications.SourceRecord, opts *Options) *Observer {
	o := &Observer{next: next}
	if opts != nil {
		o.opts = *opts
	}
	o.opts.Prefix = strings.TrimRight(o.opts.Prefix, "/")
	o.opts.PublicPath = strings.TrimRight(o.opts.PublicPath, "/")
	if o.opts.Logger == nil {
		o.opts.Logger = slog.New(slog.DiscardHandler)
	}
	if o.opts.Descriptors == nil {
		o.opts.Descriptors = cache.NewReadThrough(cache.NewMemory(0), nil, &cache.ReadThroughOptions{
			Registerer: o.opts.Registerer, Logger: o.opts.Logger,
		})
	}
	o.metrics = newMetrics(o.opts.Registerer)
	o.outbox = outbox.New(dst, &outbox.Options{
		Wait:       o.opts.Wait,
		MaxEvents:  o.opts.Waiting,
		Accepting:  o.opts.Accepting,
		Registerer: o.opts.Registerer,
		Logger:     o.opts.Logger,
	})
	o.bridge = notifications.NewBridge(&counted{o.outbox, o.metrics}, source, &notifications.BridgeOptions{
		IncludeReferences: o.opts.IncludeReferences,
		HandOff:           -1, // the outbox bounds it
	}).WithFormat(Format)
	o.sessions = newSessions(o.metrics.forgotten)
	o.tags = newTagIndex()
	o.descriptors = newDescriptors(o.opts.Descriptors)
	o.manifests = newManifestMemory()
	o.buffers = newBuffers()
	return o
}

// ServeHTTP has the wrapped handler answer r, and reports what came of it. A panic of the
// handler passes through.
func (o *Observer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := o.classify(r)
	if x == nil {
		o.next.ServeHTTP(w, r)
		return
	}
	if o.opts.Refuse && x.operation.changes() {
		if err := o.outbox.Accepting(); err != nil {
			refuse(w)
			return
		}
	}
	x.serve(w)
}

// refuse answers a change that could not be recorded, as a registry does.
func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	w.Header().Set("Retry-After", "5")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNAVAILABLE","message":"changes cannot be recorded now"}]}` + "\n"))
}

// Shutdown writes what waits for the sink and returns when it is done, or with ctx's error
// and what is left lost and counted. Requests that are still under way go on, without
// events.
func (o *Observer) Shutdown(ctx context.Context) error { return o.outbox.Shutdown(ctx) }
