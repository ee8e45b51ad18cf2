package cache

import (
	"encoding/binary"
	"net/http"
	"strconv"
	"time"
)

// kept are the headers of an answer that belong to what was asked for, in the order in
// which an entry has them. The others belong to the one who asked, or to that time.
func kept() []string {
	return []string{"Accept-Ranges", "Cache-Control", "Content-Type", "Content-Length", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Etag", "Link", "Oci-Filters-Applied"}
}

// An entry is an answer as it is kept: one with status 200.
type entry struct {
	stored time.Time
	until  time.Time // whatever the store says
	header []field   // those of kept that there are, in its order
	body   []byte
}

// A field is a header of an entry, with one value or more.
type field struct {
	name   string
	values []string
}

// maxHeaderValues is how many values a header may have.
const maxHeaderValues = 16

// entryVersion is the first byte of an entry.
const entryVersion = 2

// encode returns what [decode] reads.
func (e *entry) encode() []byte {
	var head []byte
	rest := e.header
	for _, name := range kept() {
		var values []string
		if len(rest) > 0 && rest[0].name == name {
			values, rest = rest[0].values, rest[1:]
		}
		head = binary.AppendUvarint(head, uint64(len(values)))
		for _, v := range values {
			head = binary.AppendUvarint(head, uint64(len(v)))
			head = append(head, v...)
		}
	}
	b := append(make([]byte, 0, 32+len(head)+len(e.body)), entryVersion)
	b = binary.AppendVarint(b, e.stored.UnixMilli())
	b = binary.AppendVarint(b, e.until.UnixMilli())
	b = binary.AppendUvarint(b, uint64(len(head)))
	b = append(b, head...)
	return append(b, e.body...)
}

// decode reads an entry; ok tells whether b is one. Its body is part of b. It is done for
// each request, and so all values are parts of one string and of one slice.
func decode(b []byte) (e *entry, ok bool) {
	if len(b) == 0 || b[0] != entryVersion {
		return nil, false
	}
	d := decoder{rest: b[1:]}
	e = &entry{stored: time.UnixMilli(d.varint()), until: time.UnixMilli(d.varint())}
	head := d.next()
	e.body = d.rest
	in, text := decoder{rest: head}, string(head)
	e.header = make([]field, 0, len(kept()))
	values := make([]string, 0, len(kept()))
	for _, name := range kept() {
		from := len(values)
		for range min(in.uvarint(), maxHeaderValues) {
			v := in.next()
			end := len(text) - len(in.rest)
			values = append(values, text[end-len(v):end])
		}
		if len(values) > from {
			e.header = append(e.header, field{name, values[from:len(values):len(values)]})
		}
	}
	return e, !d.bad && !in.bad && len(in.rest) == 0
}

// A decoder reads from the front of rest until something is bad.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	d.skip(n)
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	d.skip(n)
	return v
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		d.bad = true
		d.rest = nil
		return
	}
	d.rest = d.rest[n:]
}

// next returns the next bytes, behind their number.
func (d *decoder) next() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.bad = true
		d.rest = nil
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

// serve answers r.
func (e *entry) serve(w http.ResponseWriter, r *http.Request, now time.Time) {
	h := w.Header()
	for _, f := range e.header {
		h[f.name] = f.values
	}
	age := max(0, int64(now.Sub(e.stored)/time.Second))
	h.Set("Age", strconv.FormatInt(age, 10))
	h.Set("X-Cache", "HIT")
	if matches(r.Header["If-None-Match"], h.Get("Etag")) {
		h.Del("Content-Length")
		h.Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(e.body)
	}
}
