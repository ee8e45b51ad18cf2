package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

const (
	chunkVersion   = 1
	chunkEvents    = 4096    // events in one chunk, at most
	chunkBytes     = 1 << 20 // a chunk that has reached this many bytes is closed
	flagProvenance = 1       // the event's provenance follows
)

// A print recognises an event: half of a SHA-256 of its id and of its JSON.
type print struct {
	id      [8]byte
	content [16]byte
}

const printBytes = 8 + 16

func printOf(id string, json []byte) print {
	var p print
	sum := sha256.Sum256([]byte(id))
	copy(p.id[:], sum[:])
	sum = sha256.Sum256(json)
	copy(p.content[:], sum[:])
	return p
}

// key is what the window of repeats knows of the event. It hashes the print, not the
// event, so that the window can be rebuilt from the column chunk.prints.
func (p print) key(r *sinks.Repeats) sinks.RepeatKey {
	return r.Key(&notifications.Event{ID: string(p.id[:])}, p.content[:])
}

// idPrint is what by_id has of an event with that id.
func idPrint(id string) int64 {
	sum := sha256.Sum256([]byte(id))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// index is idPrint of the event.
func (p print) index() int64 { return int64(binary.BigEndian.Uint64(p.id[:])) }

// prints reads the column chunk.prints.
func prints(column []byte) ([]print, error) {
	if len(column)%printBytes != 0 {
		return nil, fmt.Errorf("%d bytes are no whole number of prints", len(column))
	}
	out := make([]print, len(column)/printBytes)
	for i := range out {
		b := column[i*printBytes:]
		copy(out[i].id[:], b)
		copy(out[i].content[:], b[8:printBytes])
	}
	return out, nil
}

// A chunk is a row of the table of that name that is being built.
type chunk struct {
	first  uint64
	stored int64 // microseconds, of the first event
	events []stored
	prints []byte
	body   []byte
	last   notifications.Provenance // of the event before
	hash   []byte
	total  int64 // chunk.bytes
}

// eventCost is what an event takes in the file beside its JSON, in bytes, roughly: its
// head, print and index entries.
const eventCost = 96

// cost is what the chunk takes in the file, roughly, as retention reckons.
func (c *chunk) cost() int64 { return int64(len(c.body) + len(c.events)*eventCost) }

// span returns the chunk's events for cursors.
func (c *chunk) span() *span {
	s := &span{first: c.first, events: c.events}
	for _, e := range c.events {
		s.bytes += e.size + eventOverhead
	}
	return s
}

// stored is an event as cursors read it.
type stored struct {
	event *notifications.Event
	at    int64 // microseconds
	size  int   // bytes of its JSON
}

func (c *chunk) full() bool { return len(c.events) >= chunkEvents || len(c.body) >= chunkBytes }

// add appends e, whose compact JSON is json, as stored at that time.
func (c *chunk) add(e *notifications.Event, json []byte, p print, at int64) {
	if len(c.events) == 0 {
		c.stored = at
		c.body = append(c.body, chunkVersion)
	}
	c.prints = append(append(c.prints, p.id[:]...), p.content[:]...)
	c.body = appendEvent(c.body, e.Provenance, c.last, uint64(at-c.stored), json)
	c.events = append(c.events, stored{event: e, at: at, size: len(json)})
	c.last = e.Provenance
}

func appendEvent(dst []byte, p, before notifications.Provenance, delta uint64, json []byte) []byte {
	if p == before {
		dst = binary.AppendUvarint(append(dst, 0), delta)
	} else {
		dst = binary.AppendUvarint(append(dst, flagProvenance), delta)
		dst = binary.AppendUvarint(dst, uint64(len(p.Format)))
		dst = append(dst, p.Format...)
		dst = binary.AppendUvarint(dst, uint64(len(p.Sender)))
		dst = append(dst, p.Sender...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(json)))
	return append(dst, json...)
}

// chain is the hash of the chunk that begins with sequence first and holds body, after
// a chunk with the hash before.
func chain(before []byte, first uint64, body []byte) []byte {
	h := sha256.New()
	h.Write(before)
	h.Write(binary.BigEndian.AppendUint64(nil, first))
	h.Write(body)
	return h.Sum(nil)
}

// record is an event in a chunk's body. Its JSON aliases the body.
type record struct {
	at         int64 // microseconds
	provenance notifications.Provenance
	json       []byte
}

var errShort = errors.New("chunk ends within an event")

// scanChunk calls each for every event of a chunk's body, in order.
func scanChunk(body []byte, at int64, each func(record) error) error {
	if len(body) == 0 || body[0] != chunkVersion {
		return errors.New("not a chunk of version 1")
	}
	body = body[1:]
	var p notifications.Provenance
	for len(body) > 0 {
		r := reader{rest: body[1:]}
		flags := body[0]
		if flags&^flagProvenance != 0 {
			return fmt.Errorf("unknown flags %#x of an event", flags)
		}
		delta := r.uvarint()
		if flags&flagProvenance != 0 {
			p = notifications.Provenance{Format: string(r.bytes()), Sender: string(r.bytes())}
		}
		json := r.bytes()
		if r.bad || delta > uint64(math.MaxInt64-at) {
			return errShort
		}
		if err := each(record{at: at + int64(delta), provenance: p, json: json}); err != nil {
			return err
		}
		body = r.rest
	}
	return nil
}

// reader takes apart bytes; once something was missing it is bad and stays so.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// decodeChunk reads the events of the chunk that begins with sequence first and ends
// with last.
func decodeChunk(first, last uint64, at int64, body []byte) (*span, error) {
	if last < first || at < 0 {
		return nil, fmt.Errorf("chunk %d: ends with %d, stored at %d", first, last, at)
	}
	s := &span{first: first}
	// What a damaged row says must not decide how much memory is taken.
	s.events = make([]stored, 0, min(last-first+1, uint64(len(body)/3+1)))
	err := scanChunk(body, at, func(r record) error {
		e, err := notifications.RestoreEvent(string(r.json))
		if err != nil {
			return err
		}
		e.Provenance = r.provenance
		s.add(stored{event: e, at: r.at, size: len(r.json)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("chunk %d: %w", first, err)
	}
	if n := uint64(len(s.events)); n != last-first+1 {
		return nil, fmt.Errorf("chunk %d: holds %d events instead of %d", first, n, last-first+1)
	}
	return s, nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
