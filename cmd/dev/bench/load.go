package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
	"github.com/regcast/regcast/sinks/journal"
)

// repositories is over how many repositories the events are spread.
const repositories = 200

// event makes the ith event: the pull of a manifest, about 900 bytes as distribution
// indents it.
func event(i int) *notifications.Event {
	dgst := digest.FromString(fmt.Sprint("manifest ", i%1000))
	repository := fmt.Sprintf("team-%d/app", i%repositories)
	return notifications.NewEvent(notifications.ActionPush, notifications.Details{
		Target: notifications.Target{
			Descriptor: v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: dgst, Size: 1234},
			Repository: repository,
			URL:        "https://registry.example/v2/" + repository + "/manifests/" + dgst.String(),
			Tag:        fmt.Sprint("v", i),
		},
		Request: notifications.RequestRecord{
			ID: "0198f2a4-7c0f-7d20-8d0e-0c5a3b1e77aa", Addr: "10.0.0.7:51234", Host: "registry.example",
			Method: http.MethodPut, UserAgent: "containerd/2.0.1",
		},
		Actor:  notifications.ActorRecord{Name: "ci-job"},
		Source: notifications.SourceRecord{Addr: "node-3:5000", InstanceID: "0198f29f-0000-7aaa-8bbb-000000000001"},
	})
}

func events(n int) []*notifications.Event {
	out := make([]*notifications.Event, n)
	for i := range out {
		out[i] = event(i)
	}
	return out
}

// bodies are n envelopes of size events each, indented as distribution sends them.
func bodies(n, size int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		batch := make([]*notifications.Event, size)
		for j := range batch {
			batch[j] = event(i*size + j)
		}
		out[i] = notifications.IndentEnvelope(nil, notifications.AppendEnvelope(nil, batch))
	}
	return out
}

// A server is a handler on a loopback port.
type server struct {
	url  string // of its events
	stop func()
}

// base is the server's URL without a path.
func (s *server) base() string { return strings.TrimSuffix(s.url, "/events") }

func serve(h http.Handler) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	return &server{"http://" + l.Addr().String() + "/events", func() { _ = s.Close(); <-done }}, nil
}

// A receiver is a webhook consumer that reads bodies and counts the events in them.
type receiver struct {
	*server
	perPost int
	count   atomic.Int64
	want    atomic.Int64
	reached chan struct{}
}

// receive starts a receiver that gets perPost events with each request. reached is
// closed when want events have arrived.
func receive(perPost, want int) (*receiver, error) {
	r := &receiver{perPost: perPost, reached: make(chan struct{})}
	r.want.Store(int64(want))
	var err error
	r.server, err = serve(r)
	return r, err
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	if n := r.count.Add(int64(r.perPost)); n >= r.want.Load() && n-int64(r.perPost) < r.want.Load() {
		close(r.reached)
	}
}

func (r *receiver) wait(ctx context.Context) error {
	select {
	case <-r.reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// post sends every body to url from clients connections at once; fresh makes a new
// connection for each request, as a distribution registry does.
func post(ctx context.Context, url string, bodies [][]byte, clients int, fresh bool) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableKeepAlives: fresh}}
	defer client.CloseIdleConnections()
	return inParallel(clients, bodies, func(body []byte) error { return postOne(ctx, client, url, body) })
}

// inParallel has several workers do all of the work, and returns their first error.
func inParallel[T any](workers int, work []T, do func(T) error) error {
	var next atomic.Int64
	var group errgroup.Group
	for range workers {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(work) {
					return nil
				}
				if err := do(work[i]); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

func postOne(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", notifications.MediaTypeV2)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("POST answered %s", resp.Status)
	}
	return nil
}

// An engineMaker opens an empty engine and says how to get rid of it.
type engineMaker func() (sinks.Engine, func(), error)

func memoryEngine() (sinks.Engine, func(), error) {
	e := sinks.NewMemory(&sinks.MemoryOptions{MaxEvents: 1 << 20, MaxBytes: 2 << 30})
	return e, func() { _ = e.Shutdown(context.Background()) }, nil
}

func journalEngine() (sinks.Engine, func(), error) {
	dir, err := os.MkdirTemp("", "regcast-bench-")
	if err != nil {
		return nil, nil, err
	}
	e, err := journal.Open(dir, nil)
	if err != nil {
		return nil, nil, err
	}
	return e, func() {
		_ = e.Shutdown(context.Background())
		_ = os.RemoveAll(dir)
	}, nil
}
