package observer

import (
	"io"
	"sync"
)

// A body is a request's, and tells what the handler has read of it. A handler may answer
// while somebody else still reads, so it can be asked at any time.
type body struct {
	src    io.ReadCloser
	length int64 // as the client announced it, -1 if it did not

	mu    sync.Mutex
	n     int64
	whole bool // all of it was read
	tee   *tee // nil: nobody needs more than the length
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += int64(n)
	b.tee.write(p[:n])
	b.whole = b.whole || err == io.EOF || b.n == b.length
	return n, err
}

// Close implements [io.Closer].
func (b *body) Close() error { return b.src.Close() }

// read tells how much was read, and whether that is all.
func (b *body) read() (n int64, whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n, b.whole
}

// take returns what was kept, for good; nil if that is not all of the body.
func (b *body) take() *tee {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.whole {
		return nil
	}
	t := b.tee
	b.tee = nil
	return t
}

func (b *body) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tee.release()
	b.tee = nil
}
