package harness

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // the registry's storage
	"github.com/sirupsen/logrus"
)

// A Registry is CNCF distribution v3 on a loopback port, with its own notifications
// pointed at some endpoints.
type Registry struct {
	host      string
	endpoints map[string]bool
	server    *http.Server
	serving   chan error
	inFlight  atomic.Int64
}

// registries numbers the registries of a process: distribution's list of endpoints is
// global and never forgets a name.
var registries atomic.Int64

// StartRegistry starts a registry that keeps its content in memory and notifies each of
// the given endpoints (name to URL). Close ends it.
func StartRegistry(endpoints map[string]string) (*Registry, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a registry: %w", err)
	}
	r := &Registry{
		host:      listener.Addr().String(),
		endpoints: make(map[string]bool),
		serving:   make(chan error, 1),
	}

	config := &configuration.Configuration{}
	config.HTTP.Addr = r.host
	config.HTTP.Secret = "for upload sessions of this process only"
	config.Catalog.MaxEntries = 1000
	config.Storage = configuration.Storage{
		"inmemory":    {},
		"delete":      {"enabled": true},
		"redirect":    {"disable": true},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
	}
	config.Notifications.EventConfig.IncludeReferences = true
	number := registries.Add(1)
	for name, url := range endpoints {
		name = fmt.Sprintf("%s-%d", name, number)
		r.endpoints[name] = true
		config.Notifications.Endpoints = append(config.Notifications.Endpoints, configuration.Endpoint{
			Name: name, URL: url, Timeout: 5 * time.Second, Threshold: 10, Backoff: 50 * time.Millisecond,
		})
	}

	logrus.SetOutput(io.Discard)
	//lint:ignore SA1029 the key is distribution's
	ctx := context.WithValue(context.Background(), "instance.id", fmt.Sprintf("registry-%d", number))
	app := handlers.NewApp(ctx, config)
	r.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			r.inFlight.Add(1)
			defer r.inFlight.Add(-1)
			app.ServeHTTP(w, req)
		}),
	}
	go func() { r.serving <- r.server.Serve(listener) }()
	return r, nil
}

// Host is the registry's host:port.
func (r *Registry) Host() string { return r.host }

// Close stops the registry. What its notifications have not delivered is lost, as it is
// with any distribution registry.
func (r *Registry) Close() error {
	err := r.server.Close()
	<-r.serving
	return err
}

// Settled waits until every endpoint has taken every event of the operations so far.
func (r *Registry) Settled(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := r.pending()
		if err != nil {
			return err
		}
		if left == 0 && r.inFlight.Load() == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the registry's notifications, %d pending: %w", left, ctx.Err())
		case <-tick.C:
		}
	}
}

// pending counts the events that distribution has queued for our endpoints, as its
// expvar page tells them.
func (r *Registry) pending() (int, error) {
	var page struct {
		Notifications struct {
			Endpoints []struct {
				Name    string `json:"name"`
				Metrics struct{ Pending, Events, Successes int }
			} `json:"endpoints"`
		} `json:"notifications"`
	}
	if err := json.Unmarshal([]byte(expvar.Get("registry").String()), &page); err != nil {
		return 0, fmt.Errorf("reading distribution's expvar page: %w", err)
	}
	left := 0
	for _, e := range page.Notifications.Endpoints {
		if r.endpoints[e.Name] {
			left += max(e.Metrics.Pending, e.Metrics.Events-e.Metrics.Successes)
		}
	}
	return left, nil
}
