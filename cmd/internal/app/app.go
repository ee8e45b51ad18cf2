// Package app is where the configuration meets the constructors: it builds a dispatcher
// from a config.Config, runs it, changes it while it runs and stops it.
//
// What works lives in packages of its own: deliveries of new events in delivery, jobs that
// deliver old ones again in replay. What an engine keeps is shown by records. App puts
// them together for operators as a dispatcher. What has to outlive a restart (states of
// endpoints, jobs, the operators' log) is in the engine, beside the events.
//
// Things are built inside-out (engine, then cursors and deliveries, then intake and
// proxies, then admin) and stopped last-built-first. [Start] returns a running [App]; who started it
// calls [App.Shutdown].
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/delivery"
	"github.com/regcast/regcast/cmd/internal/records"
	"github.com/regcast/regcast/cmd/internal/replay"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/endpoints/mirror"
	"github.com/regcast/regcast/notifications/intake"
	"github.com/regcast/regcast/sinks"
)

// Options are what an App needs beside its configuration.
type Options struct {
	Version string         // for the User-Agent and regcast_build_info
	Logger  *slog.Logger   // nil: nothing is logged
	Console io.Writer      // where "console:" endpoints print; nil: os.Stdout
	Level   *slog.LevelVar // of Logger, set as the configuration says; nil: it stays
}

// An App is a running dispatcher. Its methods are safe for concurrent use.
type App struct {
	opts     Options
	logger   *slog.Logger
	registry *prometheus.Registry
	metrics  *endpoints.Metrics
	mirrored *mirror.Metrics
	reloaded prometheus.Gauge // regcast_config_last_reload_successful

	engine    sinks.Engine
	condition condition     // of the engine
	history   sinks.History // of the engine; nil if attempts are not recorded
	news      *records.News // the door of the engine
	slots     *endpoints.Slots

	deliveries *delivery.Set
	replays    *replay.Runner
	dispatcher *dispatcher
	intake     *intake.Handler
	admin      *admin.Handler
	servers    servers
	fronts     []*front // by the order of the configuration

	invalidators invalidators // of the fronts with a cache

	stopping atomic.Bool
	tokens   atomic.Pointer[credentials]

	config atomic.Pointer[config.Config] // that applies now

	mu      sync.Mutex // one Reload or Shutdown at a time
	stopped bool
}

// maxInFlight bounds the requests in flight of all endpoints together.
const maxInFlight = 256

// Start builds a dispatcher and sets it going: when it returns, the app listens, accepts
// and delivers. ctx bounds the start alone. Nothing is left behind when it fails.
func Start(ctx context.Context, cfg *config.Config, opts Options) (_ *App, err error) {
	if problems := Check(cfg); len(problems) > 0 {
		return nil, problems
	}
	a := &App{
		opts: opts, logger: opts.Logger,
		registry: prometheus.NewRegistry(),
		slots:    endpoints.NewSlots(maxInFlight),
	}
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	a.registerProcessMetrics()
	a.metrics, a.mirrored = endpoints.NewMetrics(a.registry), mirror.NewMetrics(a.registry)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Shutdown(context.WithoutCancel(ctx)))
		}
	}()

	if err := a.openEngine(ctx, cfg); err != nil {
		return nil, err
	}
	a.metrics.Observe(a.engine)
	a.news = &records.News{Door: a.engine}
	if slices.ContainsFunc(cfg.Proxies, func(p config.Proxy) bool { return p.Cache.Kind != config.CacheNone }) {
		a.news.Heard = a.invalidators.hear
	}
	a.deliveries = delivery.Start(&delivery.Options{
		Engine: a.engine, Metrics: series{a.metrics, a.mirrored}, Logger: a.logger, Build: a.newEndpoint,
		Removed: func(ctx context.Context, name string) error { return a.replays.EndpointRemoved(ctx, name) },
	})
	a.replays = replay.NewRunner(a.archive(), a.deliveries, a.logger)
	if err := a.change(ctx, cfg); err != nil {
		return nil, err
	}
	if err := a.openDispatcher(ctx); err != nil {
		return nil, err
	}
	if err := a.startServers(cfg); err != nil {
		return nil, err
	}
	a.reloaded.Set(1)
	return a, nil
}

func (a *App) registerProcessMetrics() {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "regcast_build_info", Help: "1, labelled with the version that runs.",
		ConstLabels: prometheus.Labels{"version": a.opts.Version},
	})
	build.Set(1)
	a.reloaded = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "regcast_config_last_reload_successful",
		Help: "1 if the configuration file was accepted the last time it was read, else 0.",
	})
	a.registry.MustRegister(build, a.reloaded,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// IntakeAddr is the address that intake listens on, with the port it was given.
func (a *App) IntakeAddr() string { return a.servers.intake.addr() }

// ProxyAddr is the address that the proxy of that name listens on, with the port it was
// given; "" if there is none.
func (a *App) ProxyAddr(name string) string {
	for _, f := range a.fronts {
		if f.name == name {
			return f.server.addr()
		}
	}
	return ""
}

// AdminAddr is the address that the admin server listens on, with the port it was given.
func (a *App) AdminAddr() string { return a.servers.admin.addr() }

// Failed reports an error that ended a server on its own; the app is to be shut down then.
func (a *App) Failed() <-chan error { return a.servers.failed }

// Health returns nil while the process and its engine work.
func (a *App) Health() error { return a.condition.Healthy() }

// Ready returns nil while the app accepts events.
func (a *App) Ready() error {
	if a.stopping.Load() {
		return errors.New("stopping")
	}
	return a.condition.Accepting()
}

// Shutdown stops the app: it is not ready any more, intake answers 503, proxies take no
// new connection, what was accepted and observed is stored, places and settlements are
// written, and the admin server ends last. Requests under way get the configuration's
// drain_timeout: first those that pass a proxy, then those to endpoints. The backlog stays
// in the engine. When ctx ends first, what is left is cut short and its error is returned. A
// second call returns nil.
func (a *App) Shutdown(ctx context.Context) error {
	a.stopping.Store(true)
	if a.admin != nil {
		a.admin.Refuse()
	}
	errs := a.stop(ctx)
	// What operators asked for may still be waiting for mu.
	return errors.Join(append(errs, a.servers.admin.shutdown(ctx))...)
}

// stop is all of Shutdown but for the admin server.
func (a *App) stop(ctx context.Context) (errs []error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return nil
	}
	a.stopped = true
	if a.intake != nil {
		a.intake.Refuse()
	}
	if len(a.fronts) > 0 {
		errs = append(errs, a.stopFronts(ctx, a.config.Load().DrainTimeout))
	}
	errs = append(errs, a.servers.intake.shutdown(ctx), a.closeCaches(ctx))
	if a.deliveries != nil {
		errs = append(errs, a.deliveries.Shutdown(ctx))
	}
	if a.engine != nil {
		if err := a.engine.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("closing the engine: %w", err))
		}
	}
	return errs
}

// adminTokens are the admin credentials that are valid now.
func (a *App) adminTokens() []admin.Token { return a.tokens.Load().admin(a.logger) }
