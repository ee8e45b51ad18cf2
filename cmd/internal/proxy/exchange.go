package proxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications/observer/route"
)

// An exchange is one request and its answer on the client's side: it is the
// ResponseWriter that everything behind the gate gets. It counts what passes and moves
// the deadlines of the client's connection along.
type exchange struct {
	http.ResponseWriter
	proxy   *Proxy
	request *http.Request // as it came
	control http.ResponseController
	class   route.Class
	timeout time.Duration // until the answer begins
	series  *series
	start   time.Time
	status  int // of the answer, 0 until there is one

	mu         sync.Mutex
	last       bool      // the deadlines that are set stay: it has ended or was cut
	writeUntil time.Time // the deadline that is set
	readUntil  time.Time // the same; zero for none
	readErr    error     // with which the request's body ended; io.EOF if it is whole or there is none
}

// parting is how long a client may take, when its exchange is cut, to send what is missing,
// and then once more to take the answer that says so, or what there is of another.
const parting = 100 * time.Millisecond

type exchangeKey struct{}

func newExchange(p *Proxy, w http.ResponseWriter, r *http.Request) *exchange {
	class := route.Unclassified
	if r.URL.RawPath == "" {
		class = route.Parse(r.URL.Path).Class
	}
	x := &exchange{
		ResponseWriter: w,
		proxy:          p,
		control:        *http.NewResponseController(w), // here so that no more is allocated
		class:          class,
		timeout:        p.opts.Timeouts.Metadata,
		series:         p.metrics.of(class),
		start:          time.Now(),
		request:        r,
	}
	if mutates(r.Method) {
		x.timeout = p.opts.Timeouts.Commit
	}
	return x
}

// context returns ctx with the exchange in it.
func (x *exchange) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// end counts the exchange. To read what is left of a body that nobody wanted, and then to
// send what is left of the answer, the server has Timeouts.Idle each; after that it sets
// deadlines of its own.
func (x *exchange) end() {
	idle, now := x.proxy.opts.Timeouts.Idle, time.Now()
	x.mu.Lock()
	if x.readErr == nil {
		x.setLast(now.Add(idle), now.Add(2*idle))
	} else {
		x.slideWrite(now)
		x.last = true
	}
	x.mu.Unlock()
	x.series.seconds.Observe(now.Sub(x.start).Seconds())
	x.series.requests[x.code()].Inc()
}

// brokeOff is when the registry has broken its answer off. The client is told so by closing
// the connection, before which ReverseProxy and the server wait for more of the request: one
// that was answered early need not send any.
func (x *exchange) brokeOff() {
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.setLast(now.Add(parting), now.Add(x.proxy.opts.Timeouts.Idle))
}

// cut ends what a client keeps waiting, as Drain does not wait any longer.
func (x *exchange) cut() {
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.setLast(now.Add(parting), now.Add(2*parting))
}

// setLast sets the deadlines for the last time: that of reads as long as the body of the
// request is not whole. It is called with the exchange locked.
func (x *exchange) setLast(read, write time.Time) {
	if x.last {
		return
	}
	x.last = true
	_ = x.control.SetWriteDeadline(write) // a writer without deadlines is a test's
	if x.readErr == nil {
		_ = x.control.SetReadDeadline(read)
	}
}

// code is the class of the answer's status. A client that has gone before there was an
// answer of the registry has got none.
func (x *exchange) code() code {
	switch {
	case x.status == 0 || x.status >= 500 && x.clientGone():
		return codeNone
	case x.status < 600:
		return code(x.status / 100)
	}
	return codeNone
}

func (x *exchange) clientGone() bool {
	return x.request.Context().Err() != nil || x.bodyErr() != nil
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// WriteHeader keeps the server from guessing a Content-Type that the registry did not
// send.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 {
		x.status = status
		if h := x.Header(); len(h["Content-Type"]) == 0 {
			h["Content-Type"] = nil
		}
	}
	x.writing()
	if status < 200 && status != http.StatusSwitchingProtocols {
		x.inform(status)
		return
	}
	x.ResponseWriter.WriteHeader(status)
}

// inform sends an answer that another follows, such as 103. When a client takes its request
// back meanwhile, Go's server of HTTP/2 (of 1.26) returns at once and still reads the header,
// which ReverseProxy then clears: two that share a map so can end the process. Of a header
// with a length, which such an answer does not have, that server takes a copy.
func (x *exchange) inform(status int) {
	h := x.Header()
	h["Content-Length"] = []string{"0"}
	x.ResponseWriter.WriteHeader(status)
	delete(h, "Content-Length")
}

func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	x.writing()
	n, err := x.ResponseWriter.Write(p)
	x.series.out.Add(float64(n))
	return n, err
}

// writing is when the client is sent something.
func (x *exchange) writing() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.slideWrite(time.Now())
}

// slideWrite moves the deadline of writes along, not more often than is worth it. It is
// called with the exchange locked.
func (x *exchange) slideWrite(now time.Time) {
	until := now.Add(x.proxy.opts.Timeouts.Idle)
	if x.last || until.Sub(x.writeUntil) < x.proxy.opts.Timeouts.Idle/16 {
		return
	}
	x.writeUntil = until
	_ = x.control.SetWriteDeadline(until)
}

// inbound wraps the body of the request.
func (x *exchange) inbound(body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		x.bodyEnded(io.EOF)
		return body
	}
	return &inbound{body, x}
}

// An inbound is the body of a request as the client sends it.
type inbound struct {
	io.ReadCloser
	x *exchange
}

func (b *inbound) Read(p []byte) (int, error) {
	b.x.slideRead()
	n, err := b.ReadCloser.Read(p)
	b.x.series.in.Add(float64(n))
	if err != nil {
		b.x.bodyEnded(err)
	}
	return n, err
}

func (x *exchange) slideRead() {
	x.mu.Lock()
	defer x.mu.Unlock()
	until := time.Now().Add(x.proxy.opts.Timeouts.Idle)
	if x.last || x.readErr != nil || until.Sub(x.readUntil) < x.proxy.opts.Timeouts.Idle/16 {
		return
	}
	x.readUntil = until
	_ = x.control.SetReadDeadline(until)
}

// bodyEnded takes the deadline away if the body is whole: the server goes on reading, to
// see the client go.
func (x *exchange) bodyEnded(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.readErr == nil {
		x.readErr = err
	}
	if x.readErr == io.EOF && !x.last && !x.readUntil.IsZero() {
		x.readUntil = time.Time{}
		_ = x.control.SetReadDeadline(time.Time{})
	}
}

// bodyErr returns the error with which the body of the request ended early, if it did.
func (x *exchange) bodyErr() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.readErr == io.EOF {
		return nil
	}
	return x.readErr
}
