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
	// toldFor is how long a cache is not told again of what it was told. It may have lost
	// that, and does not say: well under the time after which an entry expires.
	toldFor = 5 * time.Minute
)

// said marks the media type of what is remembered because a manifest says so, which is its
// author's word. All else was seen. It is no part of a media type, which has no spaces.
const said = " said"

// descriptors remembers sizes and media types for events whose answers do not tell. What
// it does not know, or cannot ask for, is missing from an event and no error.
type descriptors struct {
	provider cache.Provider
	seed     maphash.Seed
	start    time.Time
	told     [4096]atomic.Uint64 // hashes of what the cache was told recently, and when
}

func newDescriptors(p cache.Provider) *descriptors {
	return &descriptors{provider: p, seed: maphash.MakeSeed(), start: time.Now()}
}

// stat returns what is remembered of dgst, and whether that was seen.
func (d *descriptors) stat(ctx context.Context, repository string, dgst digest.Digest) (desc v1.Descriptor, seen, ok bool) {
	repo, err := d.provider.Repository(repository)
	if err != nil {
		return v1.Descriptor{}, false, false
	}
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	desc, err = repo.Stat(ctx, dgst)
	if err != nil {
		return v1.Descriptor{}, false, false
	}
	var marked bool
	desc.MediaType, marked = strings.CutSuffix(desc.MediaType, said)
	return desc, !marked, true
}

// learn remembers what was seen of content itself.
func (d *descriptors) learn(ctx context.Context, repository string, desc v1.Descriptor) {
	slot, id := d.slot(repository, desc.Digest, "")
	id |= d.print(desc)
	if slot.Load() == id {
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
		slot.Store(id)
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
		if seen, id := d.slot(repository, desc.Digest, ""); seen.Load()&^prints == id {
			continue
		}
		slot, id := d.slot(repository, desc.Digest, "reference")
		if slot.Load() == id {
			continue
		}
		if _, err := repo.Stat(ctx, desc.Digest); err == cache.ErrUnknown {
			marked := mediaType(desc.MediaType) + said
			err = repo.Set(ctx, desc.Digest, v1.Descriptor{MediaType: marked, Digest: desc.Digest, Size: desc.Size})
			if err != nil && ctx.Err() != nil {
				return
			}
		}
		slot.Store(id)
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

// prints are the bits of a slot that tell what the cache was told, not of what.
const prints = 0xffff

// slot is where it is noted that the cache was told of an entry, and the id under which it
// is, without its print. The id is another after toldFor, for each entry at a time of its
// own.
func (d *descriptors) slot(repository string, dgst digest.Digest, how string) (*atomic.Uint64, uint64) {
	var h maphash.Hash
	h.SetSeed(d.seed)
	_, _ = h.WriteString(how)
	_, _ = h.WriteString(dgst.String())
	_, _ = h.WriteString(repository)
	sum := h.Sum64()
	since := time.Since(d.start) + time.Duration(sum%uint64(toldFor))
	return &d.told[sum%uint64(len(d.told))], (sum ^ uint64(since/toldFor)*(prints+1)) &^ prints
}

// print tells descriptions of one content apart, as far as that matters.
func (d *descriptors) print(desc v1.Descriptor) uint64 {
	return (maphash.String(d.seed, desc.MediaType) ^ uint64(desc.Size)*0x9e3779b97f4a7c15>>48) & prints
}
