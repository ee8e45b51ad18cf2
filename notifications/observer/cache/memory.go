package cache

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/golang-lru/arc/v2"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// DefaultEntries is how many entries a [Memory] has that was not told.
const DefaultEntries = 10_000

// A Memory is a [Provider] in this process. It keeps what is asked for recently or often
// (ARC), and knows the same at any moment for all who ask. Its operations never block and
// never fail, but for what is malformed.
type Memory struct{ scope }

// NewMemory returns an empty Memory. entries bounds it; 0 or less is [DefaultEntries]. What
// one repository has counts as two entries: one of the repository, one of all together. Each takes
// less than a kilobyte.
func NewMemory(entries int) *Memory {
	if entries <= 0 {
		entries = DefaultEntries
	}
	known, err := arc.NewARC[entry, v1.Descriptor](entries)
	if err != nil {
		panic(fmt.Sprintf("an ARC of %d entries: %v", entries, err)) // it refuses sizes below 1 alone
	}
	return &Memory{scope{store: &store{known: known}}}
}

// Repository implements [Provider].
func (m *Memory) Repository(name string) (Descriptors, error) {
	if err := ValidateName(name); err != nil {
		return nil, err
	}
	return scope{m.store, name}, nil
}

// A store holds the entries of all scopes.
type store struct {
	mu    sync.Mutex // several entries change together
	known *arc.ARCCache[entry, v1.Descriptor]
}

type entry struct {
	repository string // "": all together
	dgst       digest.Digest
}

// A scope is one repository in a store, or with an empty name all of them together.
type scope struct {
	store *store
	name  string
}

// Stat implements [Descriptors].
func (s scope) Stat(_ context.Context, dgst digest.Digest) (v1.Descriptor, error) {
	if err := dgst.Validate(); err != nil {
		return v1.Descriptor{}, err
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	desc, ok := s.store.known.Get(entry{s.name, dgst})
	if ok && desc.Digest != dgst {
		// A delete names content by one of its digests, and the others must not outlive it.
		_, ok = s.store.known.Get(entry{s.name, desc.Digest})
	}
	if !ok {
		return v1.Descriptor{}, ErrUnknown
	}
	return desc, nil
}

// Set implements [Descriptors].
func (s scope) Set(_ context.Context, dgst digest.Digest, desc v1.Descriptor) error {
	if err := Validate(dgst, desc); err != nil {
		return err
	}
	desc = v1.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.set(s.name, desc.Digest, desc)
	if dgst != desc.Digest {
		s.store.set(s.name, dgst, desc)
	}
	return nil
}

// set keeps one entry of a repository and the one of all together. It is called with the
// store locked.
func (s *store) set(repository string, dgst digest.Digest, desc v1.Descriptor) {
	if repository != "" {
		s.known.Add(entry{repository, dgst}, desc)
	}
	all := entry{dgst: dgst}
	if first, ok := s.known.Peek(all); ok {
		desc.MediaType = first.MediaType
	}
	s.known.Add(all, desc)
}

// Clear implements [Descriptors].
func (s scope) Clear(_ context.Context, dgst digest.Digest) error {
	if err := dgst.Validate(); err != nil {
		return err
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	desc, ok := s.store.known.Peek(entry{s.name, dgst})
	if !ok {
		s.store.known.Remove(entry{dgst: dgst})
		return ErrUnknown
	}
	for _, d := range []digest.Digest{dgst, desc.Digest} {
		s.store.known.Remove(entry{s.name, d})
		s.store.known.Remove(entry{dgst: d})
	}
	return nil
}
