package proxy

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
)

// A forwarder sends requests on to the registry.
type forwarder struct {
	proxy     *Proxy
	transport *http.Transport
	reverse   *httputil.ReverseProxy
	addresses *addresses
	foreign   atomic.Bool // an upload that went elsewhere has been logged
}

func newForwarder(p *Proxy, transport *http.Transport) *forwarder {
	f := &forwarder{proxy: p, transport: transport, addresses: newAddresses(p.opts)}
	f.reverse = &httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		ModifyResponse: f.modify,
		ErrorHandler:   p.faults.answer,
		Transport:      transport,
		BufferPool:     &buffers{},
		ErrorLog:       slog.NewLogLogger(p.opts.Logger.Handler(), slog.LevelDebug),
	}
	return f
}

// ServeHTTP sends r on and its answer back.
//
// A request that changes something does not end with its client: if its body has not
// arrived, reading it fails and that ends it; if it has, the registry completes it, and
// its answer is worth an event.
//
// Of an answer that breaks off the client gets what there is, as it would without us: Go's
// server drops what is still buffered, which may be the status.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if mutates(r.Method) {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(f.proxy.cut, func() { cancel(errCut) })
	defer stop()

	t := newTurn(exchangeOf(ctx), cancel, f.proxy.opts.Timeouts.Idle)
	defer t.end()
	out := r.WithContext(context.WithValue(ctx, turnKey{}, t))
	if r.ContentLength == 0 {
		t.asked()
	} else {
		t.dial()
		out.Body = &upload{r.Body, t}
	}
	complete := false
	defer func() {
		if !complete { // ReverseProxy panics when an answer breaks off
			_ = http.NewResponseController(w).Flush()
		}
	}()
	f.reverse.ServeHTTP(w, out)
	complete = true
}

// rewrite addresses a request to the registry. All but the addresses stays as it was, the
// query included, of which ReverseProxy has dropped what Go does not parse.
func (f *forwarder) rewrite(pr *httputil.ProxyRequest) {
	pr.SetURL(f.proxy.opts.Upstream)
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	// The same map: it is filled when the body has been read. Trailers that the request does
	// not announce are not passed on, as the transport announces what it sends before it
	// sends the body; on their way trailers may be discarded (RFC 9110, section 6.5.1).
	pr.Out.Trailer = pr.In.Trailer
	if !f.proxy.opts.UpstreamHost {
		pr.Out.Host = pr.In.Host
	}
	f.proxy.forwarded(pr)
	once(pr.Out.Header)
}

// once keeps the transport from sending a request again whose connection dies: it does so
// with every method if these headers are there and a body is not. A registry reads them
// in small letters, too (RFC 9110, section 5.1), and the transport does not.
func once(h http.Header) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := h[name]; ok {
			delete(h, name)
			h[strings.ToLower(name)] = values
		}
	}
}

// modify prepares an answer for the client.
func (f *forwarder) modify(resp *http.Response) error {
	t := turnOf(resp.Request.Context())
	t.answered()
	resp.Body = &download{resp.Body, t, f.proxy.faults}
	f.proxy.faults.recovered()
	location := resp.Header.Get("Location")
	if location == "" && len(resp.Header["Link"]) == 0 {
		return nil
	}
	c := f.proxy.clientOf(t.exchange.request)
	if resp.StatusCode == http.StatusAccepted && f.addresses.isForeign(location, c) {
		f.proxy.metrics.foreign.Inc()
		if !f.foreign.Swap(true) {
			f.proxy.opts.Logger.Warn("the registry sends uploads to another host, past the proxy: pushes of blobs make no events",
				"host", hostOf(location))
		}
	}
	if f.proxy.opts.Location != AsIs {
		f.addresses.rewrite(resp.Header, c)
	}
	return nil
}

// bufferSize is what an answer's body is copied with, in bytes.
const bufferSize = 128 << 10

// buffers is a pool of them.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }

// An upload is the body of a request as the registry takes it.
type upload struct {
	io.ReadCloser
	turn *turn
}

func (u *upload) Read(p []byte) (int, error) {
	u.turn.pause() // the client's connection has a deadline of its own
	n, err := u.ReadCloser.Read(p)
	if err == nil {
		u.turn.taking()
	} else {
		u.turn.asked()
	}
	return n, err
}

// A download is the body of an answer as the registry gives it.
type download struct {
	io.ReadCloser
	turn   *turn
	faults *faults
}

func (d *download) Read(p []byte) (int, error) {
	d.turn.giving()
	n, err := d.ReadCloser.Read(p)
	d.turn.pause()
	if err != nil && err != io.EOF {
		d.turn.exchange.brokeOff()
		d.faults.broken(d.turn, err)
	}
	return n, err
}
