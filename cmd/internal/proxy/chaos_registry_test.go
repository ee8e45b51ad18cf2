package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An ending is how the registry of the chaos ends an answer.
type ending int

const (
	whole   ending = iota
	broken         // after the status and half of the body
	slammed        // before the status
)

// A did is what the registry of the chaos has done with a request: the truth.
type did struct {
	arrivals int
	read     int64 // of the request's body, in bytes
	taken    bool  // all of it
	status   int   // 0 if it has answered nothing
	size     int64 // of the content that a change is about, -1 if that is of no concern
	ended    bool  // the answer is out as far as it goes: whole, or flushed before it breaks
	returned bool  // it is whole
}

// A chaosRegistry does what the plan of each request says, and notes it.
type chaosRegistry struct {
	plans map[string]*plan // by User-Agent
	busy  sync.WaitGroup

	mu   sync.Mutex
	idle map[net.Conn]struct{}
}

// state is the ConnState of the registry's server.
func (s *chaosRegistry) state(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateIdle {
		s.idle[c] = struct{}{}
	} else {
		delete(s.idle, c)
	}
}

// closeIdle closes the connections on which nothing is asked.
func (s *chaosRegistry) closeIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.idle {
		c.Close()
	}
}

// ServeHTTP implements [http.Handler].
func (s *chaosRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.busy.Add(1)
	defer s.busy.Done()
	p := s.plans[r.UserAgent()]
	p.note(func(d *did) { d.arrivals++ })
	p.arrive()
	if p.cut == atArrival {
		p.leave()
	}
	n, taken, err := p.take(r.Body)
	var size int64 = -1
	if p.session != nil {
		size = p.session.keep(n) - n + int64(len(p.body))
	} else if p.describesBody {
		size = int64(len(p.body))
	}
	p.note(func(d *did) { d.read, d.taken, d.size = n, taken, size })
	if p.cut == atTaken && taken {
		p.leave()
		wait(p.gone) // or it would not matter that it has gone
	}
	if p.hints {
		h := w.Header()
		h.Set("Link", "</hint>")
		h.Set("Content-Length", "0") // has Go's server of HTTP/2 take a copy, see exchange.inform
		w.WriteHeader(http.StatusEarlyHints)
		clear(h)
	}
	if err != nil { // its client has gone
		p.note(func(d *did) { d.status = http.StatusBadRequest })
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.answer(w, r, p)
}

func (s *chaosRegistry) answer(w http.ResponseWriter, r *http.Request, p *plan) {
	if p.ending == slammed {
		slam(w)
	}
	h := w.Header()
	for name, value := range p.answers {
		h.Set(name, value)
	}
	if p.session != nil && r.Method != http.MethodPut {
		h.Set("Location", strings.TrimSuffix(r.URL.Path, "1")+"1")
		h.Set("Range", "0-"+strconv.FormatInt(max(p.session.keep(0)-1, 0), 10))
	}
	if p.hangsUp {
		h.Set("Connection", "close")
	}
	if p.announced || r.Method == http.MethodHead {
		h.Set("Content-Length", strconv.Itoa(len(p.answer)))
	}
	p.note(func(d *did) { d.status = p.status })
	w.WriteHeader(p.status)
	content := p.answer
	if p.ending == broken {
		content = content[:len(content)/2]
	}
	_, _ = w.Write(content) // of HEAD and some answers the server takes none
	if err := http.NewResponseController(w).Flush(); err == nil {
		p.note(func(d *did) { d.ended, d.returned = true, p.ending == whole })
	}
	if p.ending == broken {
		slam(w)
	}
}

// slam ends the connection or, in HTTP/2, the stream. Go's server would read the rest of the
// request first, and a client that was answered before it was asked to continue sends none.
func slam(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now())
	panic(http.ErrAbortHandler)
}

// take reads of a request's body what the plan says.
func (p *plan) take(body io.Reader) (n int64, taken bool, err error) {
	if p.reads >= 0 {
		n, err = io.CopyN(io.Discard, body, int64(p.reads))
		if err == io.EOF {
			return n, true, nil
		}
		return n, false, err
	}
	n, err = io.Copy(io.Discard, body)
	return n, err == nil, err
}

// A session is an upload of the chaos's registry.
type session struct {
	mu   sync.Mutex
	kept int64

	unsure bool // something went wrong with it; the client's
}

// keep adds bytes and returns how many there are.
func (s *session) keep(n int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept += n
	return s.kept
}

// wait is for what comes at once in a test that passes.
func wait(c <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *plan) note(change func(*did)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.did)
}

func (d did) String() string {
	return fmt.Sprintf("%d times asked, %d bytes read (all: %v), status %d, ended %v, returned %v, size %d",
		d.arrivals, d.read, d.taken, d.status, d.ended, d.returned, d.size)
}

// A torn body is one that its client sends in pieces and, if the plan says so, not to its end.
type tornBody struct {
	plan *plan
	at   int
}

// Read implements [io.Reader].
func (b *tornBody) Read(into []byte) (int, error) {
	p := b.plan
	end := len(p.body)
	if p.cut == inBody {
		end = min(p.after, end)
	}
	if b.at < end {
		n := copy(into[:min(len(into), p.piece)], p.body[b.at:end])
		b.at += n
		return n, nil
	}
	if p.cut != inBody {
		return 0, io.EOF
	}
	select { // what nobody sees is no fault; a registry that is not reached never sees it
	case <-p.arrived:
	case <-time.After(time.Second):
	}
	p.leave()
	return 0, context.Canceled
}

// Close implements [io.Closer].
func (b *tornBody) Close() error { return nil }

func newChaosRegistry(operations [][]*plan) *chaosRegistry {
	s := &chaosRegistry{plans: make(map[string]*plan), idle: make(map[net.Conn]struct{})}
	for _, o := range operations {
		for _, p := range o {
			s.plans[p.agent] = p
		}
	}
	return s
}
