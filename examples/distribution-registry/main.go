// Distribution-registry is CNCF distribution v3 with our middleware in it: what happens in
// the registry is in a journal before its client gets an answer, and goes from there to a
// webhook. The registry's own file names the middleware.
//
//	regcast receive --listen 127.0.0.1:9001 &
//	go run ./examples/distribution-registry -webhook http://127.0.0.1:9001
//	crane copy … 127.0.0.1:5000/team/app:1.0 --insecure
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // registers itself, as all do that the file may name
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications/distribution"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

func main() {
	file := flag.String("config", "examples/distribution-registry/config.yml", "the registry's configuration")
	webhook := flag.String("webhook", "", "where events go")
	dir := flag.String("journal", "registry-events", "the folder of the journal")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *file, *webhook, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "distribution-registry:", err)
		os.Exit(1)
	}
}

// run says on w where the registry is, and serves until ctx ends. What was opened is shut
// down last-opened-first: the HTTP server, the middleware, delivery, the journal.
func run(ctx context.Context, w io.Writer, file, webhook, dir string) (err error) {
	events, err := journal.Open(dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, finish(events)) }()
	deliver, err := startDelivery(events, webhook)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, finish(deliver)) }()

	config, err := parse(file)
	if err != nil {
		return err
	}
	opts, err := distribution.OptionsOf(config)
	if err != nil {
		return err
	}
	middleware, err := distribution.Register("regcast", events, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, finish(middleware)) }()

	listener, err := net.Listen("tcp", config.HTTP.Addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handlers.NewApp(context.Background(), config), ReadHeaderTimeout: 10 * time.Second}
	defer func() { err = errors.Join(err, finish(server)) }()
	fmt.Fprintln(w, "a registry on", listener.Addr())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

func parse(file string) (*configuration.Configuration, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return configuration.Parse(f)
}

// A delivery moves events from the journal to a webhook.
type delivery struct {
	stop     context.CancelFunc
	ended    chan error
	cursor   sinks.Cursor
	endpoint *endpoints.Endpoint
}

func startDelivery(events *journal.Journal, webhook string) (*delivery, error) {
	endpoint, err := endpoints.NewEndpoint("webhook", webhook, nil)
	if err != nil {
		return nil, fmt.Errorf("the webhook: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	cursor, err := events.Cursor(ctx, endpoint.Name(), nil)
	if err != nil {
		stop()
		return nil, errors.Join(err, finish(endpoint))
	}
	d := &delivery{stop, make(chan error, 1), cursor, endpoint}
	go func() { d.ended <- sinks.Deliver(ctx, cursor, endpoint, endpoint.DeliverOptions()) }()
	return d, nil
}

// Shutdown ends the delivery; what the webhook has not got is in the journal.
func (d *delivery) Shutdown(ctx context.Context) error {
	d.stop()
	return errors.Join(<-d.ended, d.cursor.Close(), d.endpoint.Shutdown(ctx))
}

// finish gives whatever was opened ten seconds to end in good order.
func finish(s interface{ Shutdown(context.Context) error }) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return s.Shutdown(ctx)
}
