// Package cache remembers the descriptors of blobs and manifests, by repository: what
// size they have and of what media type they are, for events whose requests and answers
// do not tell.
//
// [Memory] keeps a bounded number in this process; package cache/redis, apart so that
// nobody else compiles a Redis client, shares them between processes. Both are judged by
// the suite in cache/cachetest. A [ReadThrough] stands before either: it asks a backend for
// what the cache does not have, measures, and stops trusting a cache that could not be
// told to forget.
//
// What a cache says of a digest is right or it is missing; that the content still exists
// is no part of the promise. A registry that collects garbage tells nobody. Hence a
// descriptor found here may describe an event, but must not answer a client that asks
// whether it has to upload, unless every write and delete passes by the cache.
//
// Nothing here starts a goroutine, so nothing has to be stopped.
package cache

import (
	"context"
	// Digests of these algorithms can only be judged where the hash is linked in.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrUnknown says that a cache does not have a descriptor: the only error that is a miss.
var ErrUnknown = errors.New("descriptor unknown")

// MaxMediaType bounds the media types that are kept, in bytes: type and subtype of 127
// characters each and the slash, see RFC 6838 section 4.2.
const MaxMediaType = 255

// A Descriptors has the descriptors of what is in one repository, or in all of them. It
// is safe for concurrent use. Of a descriptor it keeps the digest, the size and the media
// type alone. Any entry may be forgotten at any time.
//
// All methods return an error for a dgst that is malformed or of an unknown algorithm,
// see digest.Digest.Validate.
type Descriptors interface {
	// Stat returns what is known of dgst, or ErrUnknown. Any other error says nothing
	// about dgst.
	Stat(ctx context.Context, dgst digest.Digest) (v1.Descriptor, error)

	// Set keeps desc for dgst; what is no valid entry is refused, see Validate.
	//
	// If desc.Digest is of another algorithm than dgst, both name the content, and dgst
	// is known as long as desc.Digest is. What is set for a repository replaces what that
	// repository had, and is set for all of them too, where the media type stays that of
	// the first who set it: the media type of one content may differ between repositories.
	Set(ctx context.Context, dgst digest.Digest, desc v1.Descriptor) error

	// Clear forgets dgst, and what dgst is another name of; ErrUnknown if there is nothing
	// to forget. What a repository forgets is forgotten for all of them together as well;
	// other repositories that have it may keep it.
	Clear(ctx context.Context, dgst digest.Digest) error
}

// A Provider has descriptors of many repositories. What one repository has, another does
// not have for that reason, nor because it is known of all together.
type Provider interface {
	Descriptors // of all repositories together
	// Repository returns the descriptors of one repository, without asking whether there
	// is such a repository. An empty or malformed name, or one of more than 255 bytes, is
	// an error.
	Repository(name string) (Descriptors, error)
}

// Validate says why a cache must not keep desc for dgst: a digest is not valid, they are
// two of one algorithm, the size is negative, or the media type is empty or longer than
// [MaxMediaType].
func Validate(dgst digest.Digest, desc v1.Descriptor) error {
	if err := dgst.Validate(); err != nil {
		return err
	}
	if err := desc.Digest.Validate(); err != nil {
		return err
	}
	switch {
	case dgst != desc.Digest && dgst.Algorithm() == desc.Digest.Algorithm():
		return fmt.Errorf("a descriptor of %s for %s", desc.Digest, dgst)
	case desc.Size < 0:
		return fmt.Errorf("a descriptor with size %d", desc.Size)
	case desc.MediaType == "":
		return errors.New("a descriptor without media type")
	case len(desc.MediaType) > MaxMediaType:
		return fmt.Errorf("a descriptor with a media type of %d bytes", len(desc.MediaType))
	}
	return nil
}

// ValidateName says why name cannot be that of a repository.
func ValidateName(name string) error {
	if _, err := reference.WithName(name); err != nil {
		return fmt.Errorf("repository %.300q: %w", name, err)
	}
	return nil
}
