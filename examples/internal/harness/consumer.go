package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Consumer is a webhook receiver that remembers every event it accepted.
type Consumer struct {
	addr    string
	held    heldPort // addr's, for Resume; for as long as the Consumer is there
	server  *http.Server
	serving chan error

	mu       sync.Mutex
	status   func(request int) int
	onEvent  func(Received)
	requests int
	received []Received
	grown    chan struct{} // closed and replaced whenever received grows
}

// Received is one event as a consumer got it.
type Received struct {
	ID         string
	Action     string
	Repository string
	Tag        string
	JSON       map[string]any // the whole event
	Header     http.Header    // of the request it came in
	At         time.Time
}

// StartConsumer starts a consumer that answers 200. onEvent, if not nil, is told of each
// accepted event, in order. Close ends it.
func StartConsumer(onEvent func(Received)) (*Consumer, error) {
	c := &Consumer{onEvent: onEvent, grown: make(chan struct{})}
	var err error
	if c.addr, c.held, err = holdPort(); err != nil {
		return nil, err
	}
	if err := c.Resume(); err != nil {
		c.held.release()
		return nil, err
	}
	return c, nil
}

// URL is where the consumer receives events; it stays the same over Close and Resume.
func (c *Consumer) URL() string { return "http://" + c.addr + "/events" }

// Close ends the consumer. What it received stays.
func (c *Consumer) Close() error {
	err := c.server.Close()
	<-c.serving
	return err
}

// Resume makes a closed consumer listen again, on the same port.
func (c *Consumer) Resume() error {
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		return fmt.Errorf("starting a consumer: %w", err)
	}
	c.server = &http.Server{Handler: http.HandlerFunc(c.receive), ReadHeaderTimeout: 10 * time.Second}
	c.serving = make(chan error, 1)
	go func(server *http.Server, serving chan<- error) { serving <- server.Serve(listener) }(c.server, c.serving)
	return nil
}

// Answer makes the consumer answer its nth request (from 1) with status(n); only events
// answered with 200 count as received. nil: always 200.
func (c *Consumer) Answer(status func(request int) int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

func (c *Consumer) receive(w http.ResponseWriter, r *http.Request) {
	var envelope struct {
		Events []map[string]any `json:"events"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
	if err == nil {
		err = json.Unmarshal(body, &envelope)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	status := http.StatusOK
	if c.status != nil {
		status = c.status(c.requests)
	}
	if status == http.StatusOK {
		for _, e := range envelope.Events {
			got := receivedOf(e, r.Header)
			c.received = append(c.received, got)
			if c.onEvent != nil {
				c.onEvent(got)
			}
		}
		close(c.grown)
		c.grown = make(chan struct{})
	}
	w.WriteHeader(status)
}

func receivedOf(e map[string]any, header http.Header) Received {
	target, _ := e["target"].(map[string]any)
	text := func(m map[string]any, key string) string { s, _ := m[key].(string); return s }
	return Received{
		ID: text(e, "id"), Action: text(e, "action"),
		Repository: text(target, "repository"), Tag: text(target, "tag"),
		JSON: e, Header: header.Clone(), At: time.Now(),
	}
}

// Received returns everything accepted so far, in order of arrival, repeats included.
func (c *Consumer) Received() []Received {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Received(nil), c.received...)
}

// Wait waits until n distinct events were received.
func (c *Consumer) Wait(ctx context.Context, n int) error {
	for {
		c.mu.Lock()
		ids := make(map[string]bool, len(c.received))
		for _, r := range c.received {
			ids[r.ID] = true
		}
		grown := c.grown
		c.mu.Unlock()
		if len(ids) >= n {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d events, %d are here: %w", n, len(ids), ctx.Err())
		}
	}
}
