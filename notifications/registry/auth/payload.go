package auth

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// A payload is the body of a request over all attempts to send it. A body that can be
// had again is; a stream is sent once, unless an attempt ended before it read anything.
type payload struct {
	current io.ReadCloser // of the attempt under way
	again   func() (io.ReadCloser, error)
	stream  *stream // nil if the body can be had again
}

func newPayload(req *http.Request) *payload {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		body := req.Body
		return &payload{current: body, again: func() (io.ReadCloser, error) { return body, nil }}
	case req.GetBody != nil:
		return &payload{current: req.Body, again: req.GetBody}
	}
	s := &stream{body: req.Body}
	return &payload{current: &streamTurn{s, 0}, stream: s}
}

// rewind prepares another attempt. It returns false if there cannot be one.
func (p *payload) rewind() bool {
	if p.stream != nil {
		turn := p.stream.nextTurn()
		if turn == nil {
			return false
		}
		p.current = turn
		return true
	}
	body, err := p.again()
	if err != nil {
		return false
	}
	p.current = body
	return true
}

// close closes a body that no attempt was given.
func (p *payload) close() {
	if p.current != nil {
		p.current.Close()
	}
}

// sent says that there will be no other attempt.
func (p *payload) sent() {
	if p.stream != nil {
		p.stream.lastTurn()
	}
}

// errTurnOver ends the reading of an attempt that was given up.
var errTurnOver = errors.New("auth: this attempt was given up")

// A stream is a body that cannot be had again. It is lent to one attempt after the other
// until one reads. A transport may go on reading and closing after it has returned, so
// an attempt that was given up must not disturb the next.
type stream struct {
	mu                         sync.Mutex
	body                       io.ReadCloser
	turn                       int
	read, returned, last, done bool // returned: the present turn has closed it
}

func (s *stream) nextTurn() io.ReadCloser {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read || s.done {
		return nil
	}
	s.turn++
	s.returned = false
	return &streamTurn{s, s.turn}
}

func (s *stream) lastTurn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = true
	_ = s.closeIfDone()
}

func (s *stream) closeIfDone() error {
	if s.done || !s.returned || !s.read && !s.last {
		return nil
	}
	s.done = true
	return s.body.Close()
}

// A streamTurn is a stream as one attempt sees it.
type streamTurn struct {
	s    *stream
	turn int
}

func (t *streamTurn) Read(p []byte) (int, error) {
	t.s.mu.Lock()
	if t.turn != t.s.turn || t.s.returned {
		t.s.mu.Unlock()
		return 0, errTurnOver
	}
	t.s.read = true
	t.s.mu.Unlock()
	return t.s.body.Read(p)
}

func (t *streamTurn) Close() error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.turn != t.s.turn {
		return nil
	}
	t.s.returned = true
	return t.s.closeIfDone()
}
