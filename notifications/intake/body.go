package intake

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/regcast/regcast/notifications"
)

const (
	// smallBody is what the buffer of every request may hold; only what is larger counts
	// towards Options.MaxBuffered. Distribution's single event has about 1 KiB.
	smallBody = notifications.MaxQuarantinedBody

	// MemoryFactor is how much memory a body takes, times its size, until it is answered:
	// the body itself, the text of its events, what an engine makes of them to store it,
	// and as much that the garbage collector has not freed yet. Measured with bodies of
	// 8 MiB.
	MemoryFactor = 5

	// maxKept bounds the buffers that are used again.
	maxKept = 1 << 20

	// maxDrain bounds what is read, and thrown away, of a body over its limit. A sender
	// who is still writing when the connection closes may never see the 202 and would
	// send the same for ever; and nobody may write to us for ever either.
	maxDrain = 256 << 20
)

// errNoRoom says that the bodies being handled hold all the memory they may.
var errNoRoom = errors.New("no room for a large body")

// A bodyReader reads bodies within bounds and uses their buffers again.
type bodyReader struct {
	limit  int          // bytes of one body
	budget atomic.Int64 // bytes that larger bodies may still take, MemoryFactor for each of theirs
	pool   sync.Pool    // of *body
}

// A body is what was read of a request. It belongs to whoever read it until release.
type body struct {
	bytes    []byte
	size     int  // bytes that came; -1 if nobody knows
	over     bool // larger than the limit: bytes holds only its beginning
	complete bool // read to its end
	reserved int  // bytes taken from the budget
}

// read reads the body of r. A body over the limit is no error. Errors: errNoRoom, and
// those of the connection.
func (br *bodyReader) read(r *http.Request) (*body, error) {
	b, ok := br.pool.Get().(*body)
	if !ok {
		b = &body{bytes: make([]byte, 0, 4<<10)}
	}
	b.bytes, b.size, b.over, b.complete = b.bytes[:0], -1, false, false
	var err error
	if r.ContentLength > int64(br.limit) {
		err = br.readOver(b, r)
	} else {
		err = br.readAll(b, r)
	}
	if err != nil {
		br.release(b)
		return nil, err
	}
	return b, nil
}

// readAll reads to the end of the body, into a buffer that grows with what has come and
// not with what was announced.
func (br *bodyReader) readAll(b *body, r *http.Request) error {
	announced := int(r.ContentLength) // -1: unknown
	for {
		if len(b.bytes) == cap(b.bytes) {
			if err := br.grow(b, announced); err != nil {
				return err
			}
		}
		n, err := r.Body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		switch {
		case len(b.bytes) > br.limit:
			return br.readOver(b, r)
		case err == io.EOF || err == nil && len(b.bytes) == announced:
			b.size, b.complete = len(b.bytes), true
			return nil
		case err != nil:
			return err
		}
	}
}

// readOver keeps the beginning of a body that is over the limit and drains the rest.
func (br *bodyReader) readOver(b *body, r *http.Request) error {
	b.over = true
	read := int64(len(b.bytes))
	if missing := notifications.MaxQuarantinedBody - read; missing > 0 {
		head, err := io.ReadAll(io.LimitReader(r.Body, missing))
		if err != nil {
			return err
		}
		b.bytes = append(b.bytes, head...)
		read += int64(len(head))
	}
	b.bytes = b.bytes[:min(len(b.bytes), notifications.MaxQuarantinedBody)]
	drained, err := io.CopyN(io.Discard, r.Body, maxDrain-read)
	switch {
	case err == io.EOF:
		b.size, b.complete = int(read+drained), true
	case err != nil:
		return err
	case r.ContentLength >= 0:
		b.size = int(r.ContentLength)
	}
	return nil
}

// grow makes room for more than is there. Past smallBody it takes from the budget.
func (br *bodyReader) grow(b *body, announced int) error {
	size := 2 * cap(b.bytes)
	if announced > 0 {
		size = min(max(size, smallBody), announced)
	}
	size = min(size, br.limit+1) // one more tells that it is over
	if size > smallBody {
		more := MemoryFactor*size - b.reserved
		if br.budget.Add(-int64(more)) < 0 {
			br.budget.Add(int64(more))
			return errNoRoom
		}
		b.reserved += more
	}
	larger := make([]byte, len(b.bytes), size)
	copy(larger, b.bytes)
	b.bytes = larger
	return nil
}

// release gives back the body and what it took from the budget.
func (br *bodyReader) release(b *body) {
	br.budget.Add(int64(b.reserved))
	b.reserved = 0
	if cap(b.bytes) <= maxKept {
		br.pool.Put(b)
	}
}

// quarantined makes of b all that came of a request: a body for the quarantine, without
// the credentials that it may hold.
func (b *body) quarantined(reason notifications.Reason, detail string, from notifications.Provenance) notifications.Decoded {
	kept, redacted := notifications.Redact(b.bytes[:min(len(b.bytes), notifications.MaxQuarantinedBody)])
	return notifications.Decoded{
		Bad: []notifications.Quarantined{{
			Reason:     reason,
			Detail:     detail[:min(len(detail), maxDetail)],
			Body:       kept,
			Size:       b.size,
			Provenance: from,
		}},
		Redacted: redacted,
	}
}

// maxDetail is the bound of notifications.Quarantined.Detail.
const maxDetail = 512
