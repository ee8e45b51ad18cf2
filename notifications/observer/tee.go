package observer

import (
	"crypto/sha256"
	"hash"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

// The bounds of what is kept of manifests while they pass, in bytes.
const (
	maxBuffered = 64 << 20 // by all exchanges together
	maxPooled   = 1 << 20  // in a buffer that is used again
	maxParsed   = 8 << 20  // that are read as JSON at a time, which takes several times as much
)

// buffers is where the bytes of manifests are kept while they pass.
type buffers struct {
	pool    sync.Pool // of *[]byte
	used    atomic.Int64
	parsing atomic.Int64
}

func newBuffers() *buffers {
	return &buffers{pool: sync.Pool{New: func() any { return new([]byte) }}}
}

// tee returns an empty one.
func (b *buffers) tee() *tee {
	return &tee{buffers: b, bytes: b.pool.Get().(*[]byte)}
}

// parse tells whether n more bytes may be read as JSON now. Who may says parsed afterwards.
// Nobody waits: the client of a push would.
func (b *buffers) parse(n int) bool {
	if b.parsing.Add(int64(n)) > maxParsed {
		b.parsed(n)
		return false
	}
	return true
}

func (b *buffers) parsed(n int) { b.parsing.Add(-int64(n)) }

// A tee keeps the bytes of a manifest. One that is larger than MaxManifest, or that passes
// while others have taken all there is for this, is hashed alone. All methods may be called
// on nil.
type tee struct {
	buffers *buffers
	bytes   *[]byte   // nil: they are hashed
	hash    hash.Hash // of all that was written, once bytes is nil
}

func (t *tee) write(p []byte) {
	switch {
	case t == nil:
	case t.bytes == nil:
		t.hash.Write(p)
	case len(*t.bytes)+len(p) > MaxManifest || t.buffers.used.Add(int64(len(p))) > maxBuffered:
		t.overflow(p)
	default:
		*t.bytes = append(*t.bytes, p...)
	}
}

// overflow gives the bytes up for their hash.
func (t *tee) overflow(p []byte) {
	if len(*t.bytes)+len(p) <= MaxManifest { // then they were counted
		t.buffers.used.Add(-int64(len(p)))
	}
	t.hash = sha256.New()
	t.hash.Write(*t.bytes)
	t.hash.Write(p)
	t.release()
}

// kept returns the bytes until release, nil if they were only hashed.
func (t *tee) kept() []byte {
	if t == nil || t.bytes == nil {
		return nil
	}
	return *t.bytes
}

// digest returns that of all that was written.
func (t *tee) digest() digest.Digest {
	if t.bytes == nil {
		return digest.NewDigest(digest.SHA256, t.hash)
	}
	return digest.FromBytes(*t.bytes)
}

// release gives the bytes back. The digest is not to be had afterwards, but of what was
// only hashed.
func (t *tee) release() {
	if t == nil || t.bytes == nil {
		return
	}
	t.buffers.used.Add(-int64(len(*t.bytes)))
	if cap(*t.bytes) <= maxPooled {
		*t.bytes = (*t.bytes)[:0]
		t.buffers.pool.Put(t.bytes)
	}
	t.bytes = nil
}
