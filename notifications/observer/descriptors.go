package observer

import (
	"context"
	"hash/maphash"
	"strings"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/observer/cache"
)

const (
	// cacheTimeout bounds how long a request is held back to ask a cache, or to tell it.
	cacheTimeout = 50 * time.Millisecond
	// maxReferences is of how many descriptors in a manifest a cache is told.
	maxReferences = 512
)

// descriptors remembers sizes and media types for events whose answers do not tell. What
// it does not know, or cannot ask for, is missing from an event and no error.
type descriptors struct {
	provider cache.Provider
	seed     maphash.Seed
	told     [4096]atomic.Uint64 // hashes of what the cache was told recently
}

func newDescriptors(p cache.Provider) *descriptors {
	return &descriptors{provider: p, seed: maphash.MakeSeed()}
}

// stat returns what is remembered of dgst.
func (d *descriptors) stat(ctx context.Context, repository string, dgst digest.Digest) (v1.Descriptor, bool) {
	repo, err := d.provider.Repository(repository)
	if err != nil {
		return v1.Descriptor{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	desc, err := repo.Stat(ctx, dgst)
	return desc, err == nil
}

// learn remembers what was seen of content itself.
func (d *descriptors) learn(ctx context.Context, repository string, desc v1.Descriptor) {
	slot, hash := d.slot(repository, desc.Digest, "")
	if slot.Load() == hash {
		return
	}
	repo, err := d.provider.Repository(strings.Clone(repository))
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	dgst := digest.Digest(strings.Clone(desc.Digest.String()))
	if repo.Set(ctx, dgst, v1.Descriptor{MediaType: strings.Clone(desc.MediaType), Digest: dgst, Size: desc.Size}) == nil {
		slot.Store(hash)
	}
}

// learnReferences remembers what a manifest says of others. It is its author's word: it
// replaces nothing that was seen.
func (d *descriptors) learnReferences(ctx context.Context, repository string, references []v1.Descriptor) {
	repo, err := d.provider.Repository(strings.Clone(repository))
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	for _, desc := range references[:min(len(references), maxReferences)] {
		if seen, hash := d.slot(repository, desc.Digest, ""); seen.Load() == hash {
			continue
		}
		slot, hash := d.slot(repository, desc.Digest, "reference")
		if slot.Load() == hash {
			continue
		}
		if _, err := repo.Stat(ctx, desc.Digest); err == cache.ErrUnknown {
			err = repo.Set(ctx, desc.Digest, v1.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size})
			if err != nil && ctx.Err() != nil {
				return
			}
		}
		slot.Store(hash)
	}
}

// forget drops what is remembered of dgst in one repository.
func (d *descriptors) forget(ctx context.Context, repository string, dgst digest.Digest) {
	for _, how := range []string{"", "reference"} {
		slot, _ := d.slot(repository, dgst, how)
		slot.Store(0)
	}
	repo, err := d.provider.Repository(repository)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	_ = repo.Clear(ctx, dgst) // an outdated description is a right one
}

// slot is where the hash of an entry is noted once the cache was told of it.
func (d *descriptors) slot(repository string, dgst digest.Digest, how string) (*atomic.Uint64, uint64) {
	var h maphash.Hash
	h.SetSeed(d.seed)
	_, _ = h.WriteString(how)
	_, _ = h.WriteString(dgst.String())
	_, _ = h.WriteString(repository)
	sum := h.Sum64()
	return &d.told[sum%uint64(len(d.told))], sum
}
