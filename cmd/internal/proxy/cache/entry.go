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
	header http.Header
	body   []byte
}

// entryVersion is the first byte of an entry.
const entryVersion = 1

// encode returns what [decode] reads.
func (e *entry) encode() []byte {
	b := append(make([]byte, 0, 512+len(e.body)), entryVersion)
	b = binary.AppendVarint(b, e.stored.UnixMilli())
	b = binary.AppendVarint(b, e.until.UnixMilli())
	for _, name := range kept() {
		values := e.header[name]
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, v := range values {
			b = binary.AppendUvarint(b, uint64(len(v)))
			b = append(b, v...)
		}
	}
	return append(b, e.body...)
}

// decode reads an entry; ok tells whether b is one. Its body is part of b.
func decode(b []byte) (e *entry, ok bool) {
	if len(b) == 0 || b[0] != entryVersion {
		return nil, false
	}
	d := decoder{rest: b[1:]}
	e = &entry{stored: time.UnixMilli(d.varint()), until: time.UnixMilli(d.varint()), header: make(http.Header, len(kept()))}
	for _, name := range kept() {
		for range min(d.uvarint(), 16) {
			e.header[name] = append(e.header[name], d.text())
		}
	}
	e.body = d.rest
	return e, !d.bad
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

func (d *decoder) text() string {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.bad = true
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

// serve answers r.
func (e *entry) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, values := range e.header {
		h[name] = values[:len(values):len(values)]
	}
	age := max(0, int64(time.Since(e.stored)/time.Second))
	h.Set("Age", strconv.FormatInt(age, 10))
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
