package distribution

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	cncf "github.com/distribution/distribution/v3"
	registrymiddleware "github.com/distribution/distribution/v3/registry/middleware/registry"
	repositorymiddleware "github.com/distribution/distribution/v3/registry/middleware/repository"
	"github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/internal/outbox"
)

// Format is the Provenance.Format of events that a [Middleware] made.
const Format = "middleware"

// A Middleware reports what registries in this process do that name it in their
// configuration. It is safe for concurrent use.
type Middleware struct {
	outbox   *outbox.Outbox
	opts     Options
	previews *sync.Pool               // of *notifications.Event; nil if the sink wants everything
	last     atomic.Pointer[instance] // most processes have one
	ignored  sync.Once                // said that a configuration has options
}

// An instance is a registry by its id, and what makes its events.
type instance struct {
	id     string
	bridge *notifications.Bridge
}

// Register makes a Middleware that writes to dst available to the registries of this
// process as name, which is for good. opts may be nil. The caller ends it with Shutdown;
// what happens after that is counted as unrecorded.
//
// Errors: a name that is taken. Like all of distribution's registrations, it must not run
// at the same time as another or as a request.
func Register(name string, dst notifications.Sink, opts *Options) (*Middleware, error) {
	m := &Middleware{}
	if opts != nil {
		m.opts = *opts
	}
	if m.opts.Logger == nil {
		m.opts.Logger = slog.New(slog.DiscardHandler)
	}
	if _, ok := dst.(notifications.Selective); ok {
		m.previews = &sync.Pool{New: func() any { return new(notifications.Event) }}
	}
	if err := repositorymiddleware.Register(name, m.repository); err != nil {
		return nil, fmt.Errorf("registering a repository middleware: %w", err)
	}
	m.outbox = outbox.New(dst, &outbox.Options{
		Wait: m.opts.Wait, MaxEvents: m.opts.Waiting, Registerer: m.opts.Registerer, Logger: m.opts.Logger,
	})
	if err := registrymiddleware.Register(name, m.namespace); err != nil {
		// The repository middleware stays; whoever names it has its events counted as lost.
		return nil, errors.Join(fmt.Errorf("registering a registry middleware: %w", err), m.outbox.Shutdown(context.Background()))
	}
	return m, nil
}

// Shutdown writes what waits for the sink. When ctx ends first, it counts the rest as
// unrecorded and returns ctx's error. A later call returns nil.
func (m *Middleware) Shutdown(ctx context.Context) error { return m.outbox.Shutdown(ctx) }

// repository decorates the repository of one request. ctx is that of the registry, not of
// the request: that comes with each call of a service.
func (m *Middleware) repository(ctx context.Context, inner cncf.Repository, options map[string]any) (cncf.Repository, error) {
	m.ignore(options)
	return &repository{Repository: inner, reporter: m.reporter(ctx)}, nil
}

func (m *Middleware) namespace(ctx context.Context, inner cncf.Namespace, _ driver.StorageDriver, options map[string]any) (cncf.Namespace, error) {
	m.ignore(options)
	return wrapNamespace(inner, m.reporter(ctx)), nil
}

// ignore says that options of a configuration have no effect. An error would fail every
// request.
func (m *Middleware) ignore(options map[string]any) {
	if len(options) > 0 {
		m.ignored.Do(func() {
			m.opts.Logger.Warn("the middleware takes no options from the registry's configuration; they are ignored")
		})
	}
}

// reporter returns what reports for the registry of ctx.
func (m *Middleware) reporter(ctx context.Context) reporter {
	id := m.opts.Source.InstanceID
	if id == "" {
		id, _ = ctx.Value("instance.id").(string)
	}
	last := m.last.Load()
	if last == nil || last.id != id {
		source := m.opts.Source
		source.InstanceID = id
		bridge := notifications.NewBridge(m.outbox, source, &notifications.BridgeOptions{
			IncludeReferences: m.opts.IncludeReferences,
			HandOff:           -1, // the outbox takes it whether ctx has ended or not
		})
		last = &instance{id, bridge.WithFormat(Format)}
		m.last.Store(last)
	}
	return reporter{m, last.bridge}
}
