package backfill

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
)

const (
	// headerTimeout is how long a registry may take to begin an answer.
	headerTimeout = 30 * time.Second
	// bodyTimeout is how long it may take to end one, of a few MiB at most.
	bodyTimeout = 2 * time.Minute
)

// ConnectOptions say how a registry is asked.
type ConnectOptions struct {
	Credentials auth.Credentials // nil: none
	UserAgent   string
	Concurrency int     // requests at a time; at least 1
	Rate        float64 // requests that begin in a second, at most; 0 is no limit
}

// Connect returns a client of the registry at base that is asked no more than opts allow:
// requests for tokens and repeated ones count, too. Nothing is connected yet.
// CloseIdleConnections gives connections back.
func Connect(base string, opts *ConnectOptions) (*registry.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // what is compressed has another digest
	transport.MaxIdleConnsPerHost = opts.Concurrency
	transport.ResponseHeaderTimeout = headerTimeout
	g := &gate{base: transport, slots: make(chan struct{}, max(opts.Concurrency, 1))}
	if opts.Rate > 0 {
		g.every = time.Duration(float64(time.Second) / opts.Rate)
	}
	return registry.NewClient(base, &registry.ClientOptions{
		Transport: auth.NewTransport(g, &auth.Options{
			Credentials: opts.Credentials,
			UserAgent:   opts.UserAgent,
			Proxy:       transport.Proxy,
			// How long a request waits at the gate is no fault of the registry.
			HeaderTimeout: -1,
			AuthTimeout:   time.Hour,
		}),
	})
}

// A gate lets so many requests through at a time, and so many in a second.
type gate struct {
	base  http.RoundTripper
	slots chan struct{} // holds one for each request under way
	every time.Duration // between beginnings; 0: none

	mu   sync.Mutex
	next time.Time // before which no other request begins
}

// RoundTrip waits for its turn and makes the request. A request is over with the header
// of its answer: who holds on to a body must not keep others, and himself, from asking for
// a token.
func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case g.slots <- struct{}{}:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	defer func() { <-g.slots }()
	if err := g.pace(req.Context()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := g.base.RoundTrip(req.WithContext(ctx))
	if err != nil || resp == nil {
		cancel(nil)
		return nil, err
	}
	late := fmt.Errorf("no end of the answer in %v: %w", bodyTimeout, os.ErrDeadlineExceeded)
	resp.Body = &timedBody{resp.Body, ctx, cancel, time.AfterFunc(bodyTimeout, func() { cancel(late) })}
	return resp, nil
}

// A timedBody is the body of an answer that has to end in time, which the timer sees to.
type timedBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *timedBody) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// CloseIdleConnections is for http.Client.
func (g *gate) CloseIdleConnections() {
	if c, ok := g.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// pace waits until the next request may begin.
func (g *gate) pace(ctx context.Context) error {
	if g.every == 0 {
		return nil
	}
	g.mu.Lock()
	now := time.Now()
	if g.next.Before(now) {
		g.next = now
	}
	due := g.next
	g.next = due.Add(g.every)
	g.mu.Unlock()
	timer := time.NewTimer(due.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
