package mirror

import (
	"sync"

	"github.com/opencontainers/go-digest"
)

// maxPlaces bounds a generation of places: some 4 MiB.
const maxPlaces = 16_384

// places remember in which repository of the target a blob was seen last, in two
// generations: when the newer is full it becomes the older, whose blobs are forgotten
// unless they were seen again meanwhile. What is forgotten, or not true any more, costs an
// upload that a mount would have saved. The zero value is ready; safe for concurrent use.
type places struct {
	mu           sync.Mutex
	newer, older map[digest.Digest]string
}

// note remembers that a repository has a blob.
func (p *places) note(dgst digest.Digest, repository string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.newer) >= maxPlaces {
		p.older, p.newer = p.newer, nil
	}
	if p.newer == nil {
		p.newer = make(map[digest.Digest]string)
	}
	p.newer[dgst] = repository
}

// find returns a repository that has, or had, a blob; "" if none is known.
func (p *places) find(dgst digest.Digest) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if repository, ok := p.newer[dgst]; ok {
		return repository
	}
	return p.older[dgst]
}
