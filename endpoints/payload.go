package endpoints

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// A payload is the body of a request. http.Transport may still read a body when RoundTrip
// has returned, and takes a second one where it finds a kept connection dead; so the
// bytes go back to the pool when the last body was closed.
type payload struct {
	bytes []byte
	users atomic.Int32
}

// maxPooled bounds, in bytes, the buffers that are kept for reuse.
const maxPooled = 1 << 20

// A payloadPool keeps buffers. The zero value is ready to use.
type payloadPool struct{ pool sync.Pool }

// get returns an empty payload with one user.
func (p *payloadPool) get() *payload {
	b, ok := p.pool.Get().(*payload)
	if !ok {
		b = new(payload)
	}
	b.bytes = b.bytes[:0]
	b.users.Store(1)
	return b
}

// leave ends one use of b.
func (p *payloadPool) leave(b *payload) {
	if b.users.Add(-1) == 0 && cap(b.bytes) <= maxPooled {
		p.pool.Put(b)
	}
}

// body returns a body that reads b and uses it until it is closed.
func (p *payloadPool) body(b *payload) *payloadBody {
	b.users.Add(1)
	r := &payloadBody{pool: p, payload: b}
	r.reader.Reset(b.bytes)
	return r
}

// A payloadBody is safe for concurrent use, so that a Close in one goroutine cannot give
// away what another still reads.
type payloadBody struct {
	pool *payloadPool

	mu      sync.Mutex
	payload *payload // nil once closed
	reader  bytes.Reader
}

func (r *payloadBody) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.payload == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	return r.reader.Read(p)
}

func (r *payloadBody) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.payload != nil {
		r.pool.leave(r.payload)
		r.payload = nil
		r.reader.Reset(nil)
	}
	return nil
}

// again is Request.GetBody.
func (p *payloadPool) again(b *payload) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return p.body(b), nil }
}
