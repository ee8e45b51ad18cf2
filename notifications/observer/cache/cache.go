// Package cache remembers the descriptors of blobs and manifests, by repository.
package cache

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrUnknown says that a cache does not have a descriptor: the only error that is a miss.
var ErrUnknown = errors.New("descriptor unknown")

// A Descriptors has the descriptors of what is in one repository, or in all of them. It
// is safe for concurrent use.
type Descriptors interface {
	// Stat returns what is known of dgst, or ErrUnknown. Any other error says nothing
	// about dgst.
	Stat(ctx context.Context, dgst digest.Digest) (v1.Descriptor, error)
	// Set keeps desc for dgst.
	Set(ctx context.Context, dgst digest.Digest, desc v1.Descriptor) error
	// Clear forgets dgst; ErrUnknown if there is nothing to forget.
	Clear(ctx context.Context, dgst digest.Digest) error
}

// A Provider has descriptors of many repositories. What one repository has, another does
// not have for that reason.
type Provider interface {
	Descriptors // of all repositories
	// Repository returns the descriptors of one repository. An empty or malformed name is
	// an error.
	Repository(name string) (Descriptors, error)
}
