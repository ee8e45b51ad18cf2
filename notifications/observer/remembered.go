package observer

import (
	"strings"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The bounds of what is remembered of manifests. The weights are about the bytes of memory
// that it takes, which may be many times as much as the manifest has.
const (
	maxManifests  = 1024
	maxRemembered = 64 << 20 // the weight of all together
	maxWeight     = 1 << 20  // of one
)

// A manifestMemory has manifests whose bytes have passed with the right digest, so that
// they need not be read each time, and that a HEAD can be told with references.
type manifestMemory struct {
	mu     sync.Mutex
	recent *simplelru.LRU[content, *manifest]
	weight int
}

type content struct {
	repository string
	dgst       digest.Digest
}

func newManifestMemory() *manifestMemory {
	m := &manifestMemory{}
	m.recent = newLRU(maxManifests, func(c content, old *manifest) { m.weight -= weigh(c, old) })
	return m
}

func (m *manifestMemory) get(repository string, dgst digest.Digest) (*manifest, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recent.Get(content{repository, dgst})
}

func (m *manifestMemory) has(repository string, dgst digest.Digest) bool {
	_, ok := m.get(repository, dgst)
	return ok
}

// add remembers a manifest, with its references if somebody wants them.
func (m *manifestMemory) add(repository string, known *manifest, references bool) {
	kept := &manifest{descriptor: known.descriptor, subject: digest.Digest(strings.Clone(known.subject.String()))}
	kept.descriptor.MediaType = strings.Clone(known.descriptor.MediaType)
	kept.descriptor.Digest = digest.Digest(strings.Clone(known.descriptor.Digest.String()))
	if references {
		kept.references = known.references
	}
	c := content{strings.Clone(repository), kept.descriptor.Digest}
	weight := weigh(c, kept)
	if weight > maxWeight {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recent.Remove(c)
	m.recent.Add(c, kept)
	for m.weight += weight; m.weight > maxRemembered; {
		m.recent.RemoveOldest()
	}
}

func (m *manifestMemory) remove(repository string, dgst digest.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recent.Remove(content{repository, dgst})
}

// weigh tells about how many bytes a manifest takes here.
func weigh(c content, m *manifest) int {
	n := 512 + allocated(len(c.repository)) + allocated(len(m.subject))
	for i := range m.references {
		n += weighDescriptor(&m.references[i])
	}
	return n + weighDescriptor(&m.descriptor)
}

// weighDescriptor tells about how many bytes a descriptor takes.
func weighDescriptor(d *v1.Descriptor) int {
	n := 128 + allocated(len(d.MediaType)) + allocated(len(d.Digest)) + allocated(len(d.ArtifactType)) + allocated(len(d.Data))
	for _, s := range d.URLs {
		n += 16 + allocated(len(s))
	}
	if d.Annotations != nil {
		n += 384
	}
	for k, v := range d.Annotations {
		n += 64 + allocated(len(k)) + allocated(len(v))
	}
	if p := d.Platform; p != nil {
		n += 112 + allocated(len(p.Architecture)) + allocated(len(p.OS)) + allocated(len(p.OSVersion)) + allocated(len(p.Variant))
		for _, s := range p.OSFeatures {
			n += 16 + allocated(len(s))
		}
	}
	return n
}

// allocated tells about how many bytes it takes to keep n.
func allocated(n int) int {
	if n == 0 {
		return 0
	}
	return n + n/8 + 8
}
