package notifications

import (
	"context"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A ManifestListener is told of successful operations on manifests. tag is "" when the
// client named a digest.
//
// The methods of all listeners return the error of the sink behind them, for the caller
// to count or log: the operation has happened and must not fail because of it.
type ManifestListener interface {
	ManifestPushed(ctx context.Context, repo reference.Named, m Manifest, tag string) error
	ManifestPulled(ctx context.Context, repo reference.Named, m Manifest, tag string) error
	ManifestDeleted(ctx context.Context, repo reference.Named, dgst digest.Digest) error
}

// A BlobListener is told of successful operations on blobs. A negative size of a blob says
// that it is not known.
type BlobListener interface {
	BlobPushed(ctx context.Context, repo reference.Named, blob v1.Descriptor) error
	BlobPulled(ctx context.Context, repo reference.Named, blob v1.Descriptor) error
	BlobMounted(ctx context.Context, repo reference.Named, blob v1.Descriptor, from reference.Named) error
	BlobDeleted(ctx context.Context, repo reference.Named, dgst digest.Digest) error
}

// A TagListener is told of deleted tags.
type TagListener interface {
	TagDeleted(ctx context.Context, repo reference.Named, tag string) error
}

// A RepositoryListener is told of deleted repositories.
type RepositoryListener interface {
	RepositoryDeleted(ctx context.Context, repo reference.Named) error
}

// A Listener is told of everything that happens in a registry.
type Listener interface {
	ManifestListener
	BlobListener
	TagListener
	RepositoryListener
}

// Manifest is what the bridge needs of one. distribution's own manifests satisfy it as
// they are.
type Manifest interface {
	// References lists what the manifest refers to: config and layers, or children.
	References() []v1.Descriptor
	// Payload returns the media type and the bytes that the registry serves.
	Payload() (mediaType string, payload []byte, err error)
}

// A DescribedManifest is a Manifest whose descriptor is known without hashing its payload,
// or although the payload is not at hand. The bridge takes what it says as it is; its
// Payload is not called.
type DescribedManifest interface {
	Manifest
	// Descriptor returns media type, digest and size as far as they are known; the size is
	// negative if it is not. Without a valid digest there is no event.
	Descriptor() v1.Descriptor
}

// A URLBuilder makes the URLs that consumers of events get.
type URLBuilder interface {
	ManifestURL(ref reference.Canonical) (string, error)
	BlobURL(ref reference.Canonical) (string, error)
}
