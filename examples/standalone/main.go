// Standalone puts `regcast serve` in front of a registry that sends no events, and shows
// what two webhooks get when a client uses the registry through it. It starts everything
// on free ports, with the settings of regcast.toml beside it, and ends with 0.
//
//	go run ./examples/standalone
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/regcast/regcast/examples/internal/harness"
)

//go:embed regcast.toml
var settings string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "standalone:", err)
		os.Exit(1)
	}
}

// run plays the example, within two minutes once regcast is built, and tells it on w.
func run(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "regcast-standalone-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	// A registry that tells nobody what happens in it.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	silent := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0))), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- silent.Serve(listener) }()
	defer func() { _ = silent.Close(); <-served }()

	tell := &teller{w: w}
	audit, err := harness.StartConsumer(func(r harness.Received) { tell.event("audit ", r) })
	if err != nil {
		return err
	}
	defer audit.Close()
	deploy, err := harness.StartConsumer(func(r harness.Received) { tell.event("deploy", r) })
	if err != nil {
		return err
	}
	defer deploy.Close()

	fmt.Fprintln(w, "Building regcast …")
	binary, err := harness.Build(ctx, dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	file, proxy, admin, err := configure(ctx, dir, listener.Addr().String(), audit.URL(), deploy.URL())
	if err != nil {
		return err
	}
	serve, err := harness.StartServe(ctx, binary, file, admin, io.Discard)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, serve.Close()) }()
	fmt.Fprintf(w, "A registry on %s that sends no events; clients use %s instead.\n", listener.Addr(), proxy)

	client := harness.NewClient(ctx, proxy)
	for _, repository := range []string{"team/app", "scratch/try"} {
		if _, err := client.PushImage(repository, "1.0", 2); err != nil {
			return err
		}
	}
	if err := client.Pull("team/app:1.0"); err != nil {
		return err
	}
	// Three blobs and a manifest of each repository are pushed, those of one pulled.
	if err := audit.Wait(ctx, 12); err != nil {
		return err
	}
	return deploy.Wait(ctx, 1)
}

// configure writes the settings into dir with free ports instead of theirs, and returns
// the file, where the proxy will be, and where the admin API.
func configure(ctx context.Context, dir, registry, audit, deploy string) (file, proxy, admin string, err error) {
	var free [3]string
	for i := range free {
		if free[i], err = harness.FreeAddr(ctx); err != nil {
			return "", "", "", err
		}
	}
	proxy, admin = free[1], free[2]
	file = filepath.Join(dir, "regcast.toml")
	replaced := strings.NewReplacer(
		"127.0.0.1:8410", free[0], "127.0.0.1:5000", proxy, "127.0.0.1:8411", admin, "127.0.0.1:5001", registry,
		"http://127.0.0.1:9001/hook", audit, "http://127.0.0.1:9002/hook", deploy,
	).Replace(settings)
	return file, proxy, admin, os.WriteFile(file, []byte(replaced), 0o600)
}

// A teller prints events as they arrive.
type teller struct {
	mu sync.Mutex
	w  io.Writer
}

func (t *teller) event(consumer string, r harness.Received) {
	what := r.Repository
	if r.Tag != "" {
		what += ":" + r.Tag
	}
	request, _ := r.JSON["request"].(map[string]any)
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "  %s ← %-6s %-16s (%v)\n", consumer, r.Action, what, request["method"])
}
