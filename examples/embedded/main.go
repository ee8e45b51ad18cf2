// Embedded is a registry in Go that reports what happens in it: the observer stands around
// its handler, and two webhooks get the events, one of them only what was pushed and
// deleted by tag.
//
//	regcast receive --listen 127.0.0.1:9001 &
//	regcast receive --listen 127.0.0.1:9002 &
//	go run ./examples/embedded -audit http://127.0.0.1:9001 -deploy http://127.0.0.1:9002
//	crane copy … 127.0.0.1:5000/team/app:1.0 --insecure
//
// With -journal DIR the events are on disk before the client of the registry gets its
// answer, and what the webhooks have not got survives a crash.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/observer"
	"github.com/regcast/regcast/sinks"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:5000", "where the registry listens")
	audit := flag.String("audit", "", "the webhook that gets every event")
	deploy := flag.String("deploy", "", "the webhook that gets what was pushed and deleted by tag")
	journal := flag.String("journal", "", "the folder of a journal; without it events are in memory")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *listen, *audit, *deploy, *journal); err != nil {
		fmt.Fprintln(os.Stderr, "embedded:", err)
		os.Exit(1)
	}
}

// run says on w where the registry is, and serves until ctx ends.
func run(ctx context.Context, w io.Writer, listen, audit, deploy, journal string) error {
	images, err := sinks.NewMatcher(sinks.Rules{Kinds: []string{"image"}, Actions: []string{"push", "delete"}}, sinks.Rules{})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	events, err := open(journal, []target{{"audit", audit, nil}, {"deploy", deploy, images}})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	observed := observer.New(store, events, notifications.SourceRecord{Addr: listener.Addr().String()},
		&observer.Options{IncludeReferences: true, KeepsTags: true}) // this registry keeps the tags of a deleted manifest
	mux := http.NewServeMux()
	mux.Handle("/v2/", observed) // alone: this registry looks at the end of a path, wherever that begins
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}

	fmt.Fprintln(w, "a registry on", listener.Addr())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	return errors.Join(err, finish(server), finish(observed), finish(events)) // in this order: from the clients to the webhooks
}

// finish gives whatever was opened ten seconds to end in good order.
func finish(s interface{ Shutdown(context.Context) error }) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return s.Shutdown(ctx)
}
