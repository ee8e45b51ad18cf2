package distribution

import (
	"context"
	"io"
	"net/http"
	"sync"

	cncf "github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A blobs is a blob store that reports.
type blobs struct {
	cncf.BlobStore
	repo *repository

	mu   sync.Mutex
	last v1.Descriptor // that Stat found
}

// Stat remembers what it finds: distribution's handler asks before it serves a blob, and
// need not be asked again what was served.
func (b *blobs) Stat(ctx context.Context, dgst digest.Digest) (v1.Descriptor, error) {
	desc, err := b.BlobStore.Stat(ctx, dgst)
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.last = desc
	}
	return desc, err
}

func (b *blobs) Get(ctx context.Context, dgst digest.Digest) ([]byte, error) {
	content, err := b.BlobStore.Get(ctx, dgst)
	if err == nil {
		b.pulled(ctx, dgst)
	}
	return content, err
}

func (b *blobs) Open(ctx context.Context, dgst digest.Digest) (io.ReadSeekCloser, error) {
	content, err := b.BlobStore.Open(ctx, dgst)
	if err == nil {
		b.pulled(ctx, dgst)
	}
	return content, err
}

func (b *blobs) ServeBlob(ctx context.Context, w http.ResponseWriter, r *http.Request, dgst digest.Digest) error {
	err := b.BlobStore.ServeBlob(ctx, w, r, dgst)
	if err == nil {
		b.pulled(ctx, dgst)
	}
	return err
}

func (b *blobs) Put(ctx context.Context, mediaType string, content []byte) (v1.Descriptor, error) {
	desc, err := b.BlobStore.Put(ctx, mediaType, content)
	if err == nil {
		b.repo.done(b.repo.listener(ctx).BlobPushed(ctx, b.repo.Named(), desc))
	}
	return desc, err
}

func (b *blobs) Create(ctx context.Context, options ...cncf.BlobCreateOption) (cncf.BlobWriter, error) {
	w, err := b.BlobStore.Create(ctx, options...)
	if mounted, ok := err.(cncf.ErrBlobMounted); ok { // the handler looks for the type itself, too
		b.repo.done(b.repo.listener(ctx).BlobMounted(ctx, b.repo.Named(), mounted.Descriptor, mounted.From))
	}
	return b.writer(w, err)
}

func (b *blobs) Resume(ctx context.Context, id string) (cncf.BlobWriter, error) {
	return b.writer(b.BlobStore.Resume(ctx, id))
}

func (b *blobs) Delete(ctx context.Context, dgst digest.Digest) error {
	err := b.BlobStore.Delete(ctx, dgst)
	if err == nil {
		b.repo.done(b.repo.listener(ctx).BlobDeleted(ctx, b.repo.Named(), dgst))
	}
	return err
}

// pulled reports that a blob was pulled. Of one that is gone by now its digest is known.
func (b *blobs) pulled(ctx context.Context, dgst digest.Digest) {
	if !b.repo.wantsPull(ctx, b.repo.Named(), "", dgst) {
		return
	}
	desc := b.known(dgst)
	if desc.Digest == "" {
		var err error
		// The client may have gone while it was served.
		if desc, err = b.BlobStore.Stat(context.WithoutCancel(ctx), dgst); err != nil {
			desc = v1.Descriptor{Digest: dgst, Size: -1}
		}
	}
	b.repo.done(b.repo.listener(ctx).BlobPulled(ctx, b.repo.Named(), desc))
}

// known returns the descriptor that Stat found of dgst last. That of a registry behind a
// pull-through cache may have another media type than the cache will say.
func (b *blobs) known(dgst digest.Digest) v1.Descriptor {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.Digest != dgst || b.last.MediaType != mediaTypeBlob {
		return v1.Descriptor{}
	}
	return b.last
}

// mediaTypeBlob is what distribution's own storage says of every blob.
const mediaTypeBlob = "application/octet-stream"

func (b *blobs) writer(w cncf.BlobWriter, err error) (cncf.BlobWriter, error) {
	if err != nil || w == nil {
		return w, err
	}
	return &blobWriter{w, b.repo}, nil
}

// A blobWriter reports what it commits.
type blobWriter struct {
	cncf.BlobWriter
	repo *repository
}

func (w *blobWriter) Commit(ctx context.Context, provisional v1.Descriptor) (v1.Descriptor, error) {
	desc, err := w.BlobWriter.Commit(ctx, provisional)
	if err == nil {
		w.repo.done(w.repo.listener(ctx).BlobPushed(ctx, w.repo.Named(), desc))
	}
	return desc, err
}
