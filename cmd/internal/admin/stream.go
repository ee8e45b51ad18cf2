package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The bounds of streams.
const (
	maxStreams   = 64               // at a time
	writeTimeout = 10 * time.Second // a caller that takes longer to read is cut off
	heartbeat    = 15 * time.Second // after which a stream says that it is alive, for proxies in between
)

// streamEvents sends stored events as they come, as server-sent events (WHATWG HTML,
// section 9.2): id is the sequence, data the JSON of an Event. A caller that connects
// again with Last-Event-ID misses none. If the stream fails, its last event is of type
// error and has the JSON of a Failure.
func (a *api) streamEvents(c *call) error {
	q, err := c.streamQuery()
	if err != nil {
		return err
	}
	select {
	case a.streams <- struct{}{}:
		defer func() { <-a.streams }()
	default:
		return refusal{http.StatusServiceUnavailable, fmt.Sprintf("%d streams are open, and that is the most", maxStreams)}
	}
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	events, err := a.Stream(ctx, q)
	if err != nil {
		return err
	}
	s := &stream{w: c.w, control: http.NewResponseController(c.w)}
	if s.open() != nil {
		return nil // the caller has gone, as one that reads no more, below; or wants the header alone
	}
	var beating sync.WaitGroup
	beating.Go(func() { s.beat(ctx, cancel, a.refused) })
	defer beating.Wait()
	defer cancel()
	for e, err := range events {
		switch {
		case err != nil && ctx.Err() == nil:
			err = s.send("event: error\n", Failure{Error: err.Error()})
		case err == nil:
			err = s.send("id: "+strconv.FormatUint(e.Sequence, 10)+"\n", e)
		}
		if err != nil {
			return nil
		}
	}
	return nil
}

func (c *call) streamQuery() (EventQuery, error) {
	q := c.query()
	eq := EventQuery{Selection: q.selection(), After: q.number("after")}
	if q.values.Has("limit") {
		eq.Limit = int(min(q.number("limit"), 1<<30))
	}
	if id := c.Header.Get("Last-Event-ID"); id != "" {
		after, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			q.wrong("Last-Event-ID", errors.New("it is the id of an event of this stream"))
		}
		eq.After = after
	}
	if err := q.done(); err != nil {
		return eq, err
	}
	return eq, eq.check()
}

// A stream writes server-sent events. Its methods are safe for concurrent use.
type stream struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *stream) open() error {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // nginx, for one, would keep events until it has many
	s.w.WriteHeader(http.StatusOK)
	return s.write(": regcast\n\n")
}

// send writes one event, whose JSON has no line breaks.
func (s *stream) send(fields string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write(fields + "data: " + string(data) + "\n\n")
}

func (s *stream) write(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A server's WriteTimeout is for answers that end.
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}

// beat shows that the stream is alive until ctx ends, and ends it when the handler
// refuses or the caller reads no more.
func (s *stream) beat(ctx context.Context, cancel func(), refused <-chan struct{}) {
	defer cancel()
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-refused:
			return
		case <-ticker.C:
			if s.write(": alive\n\n") != nil {
				return
			}
		}
	}
}
