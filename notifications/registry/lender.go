package registry

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// errGivenBack ends the reading of a body whose reader is the caller's again.
var errGivenBack = errors.New("registry: the body was given back")

// A lender lends a caller's reader to a request. An HTTP transport may go on reading a
// body after it has returned; the caller's reader is the caller's again by then. The zero
// value is ready.
type lender struct {
	mu   sync.Mutex
	over bool
	err  error // by which the reader ended, if not by its end
}

// A readError says that a caller's reader failed, which is not the registry's fault.
type readError struct{ err error }

func (e *readError) Error() string { return "reading the blob: " + e.err.Error() }

func (e *readError) Unwrap() error { return e.err }

// blame returns err, or what the reader failed by if that is the reason for it.
func (l *lender) blame(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.err != nil {
		return &readError{l.err}
	}
	return err
}

// lend makes size bytes of r the body of a request. Those of a reader that can seek and
// read at an offset can be had again.
func (l *lender) lend(req *http.Request, r io.Reader, size int64) {
	req.ContentLength = size
	if at, ok := r.(interface {
		io.ReaderAt
		io.Seeker
	}); ok {
		if start, err := at.Seek(0, io.SeekCurrent); err == nil {
			req.GetBody = func() (io.ReadCloser, error) {
				return &lent{l, io.NewSectionReader(at, start, size)}, nil
			}
			r = io.NewSectionReader(at, start, size)
		}
	}
	req.Body = &lent{l, io.LimitReader(r, size)}
}

// end takes the reader back. It waits for a Read under way.
func (l *lender) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

// lent is a body that does not close what it reads.
type lent struct {
	l *lender
	r io.Reader
}

func (b *lent) Read(p []byte) (int, error) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if b.l.over {
		return 0, errGivenBack
	}
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.l.err = err
	}
	return n, err
}

func (b *lent) Close() error { return nil }
