package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/registry/internal/answer"
)

// StatBlob asks whether a repository has a blob, by HEAD. Errors: [ErrNotFound].
func (c *Client) StatBlob(ctx context.Context, repository string, dgst digest.Digest) (v1.Descriptor, error) {
	r, err := c.repository(repository)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return r.Blobs().Resolve(ctx, dgst.String())
}

// DeleteBlob deletes a blob from a repository.
func (c *Client) DeleteBlob(ctx context.Context, repository string, dgst digest.Digest) error {
	if err := dgst.Validate(); err != nil {
		return fmt.Errorf("%q is not a digest", dgst)
	}
	return c.delete(ctx, repository, "blobs/"+dgst.String())
}

// PutBlob stores a blob: it opens an upload and sends desc.Size bytes of r in one request,
// whose digest the registry verifies. If r can seek, an upload that breaks off goes on where
// the registry is, in more requests; otherwise a failure is the caller's to repeat, with a
// new reader. Whether the blob is there already is for [Client.StatBlob] to
// say.
func (c *Client) PutBlob(ctx context.Context, repository string, desc v1.Descriptor, r io.Reader) error {
	u, err := c.StartUpload(ctx, repository)
	if err != nil {
		return err
	}
	return u.Put(ctx, desc, r)
}

// PutBlobChunks stores a blob of which r has desc.Size bytes in chunks, for registries or
// networks that do not take it at once. What is lost of a chunk is sent again: ChunkSize
// bytes are held in memory, more if the registry asks for larger chunks.
func (c *Client) PutBlobChunks(ctx context.Context, repository string, desc v1.Descriptor, r io.Reader) error {
	u, err := c.StartUpload(ctx, repository)
	if err != nil {
		return err
	}
	return u.PutChunks(ctx, desc, r)
}

// MountBlob makes a blob of another repository one of this, too, without moving it; from
// "" lets the registry choose where it has it. It returns nil if that was done, or an
// upload to go on with if the registry does not mount, has no such blob there, or does
// not let us see it.
func (c *Client) MountBlob(ctx context.Context, repository string, dgst digest.Digest, from string) (*Upload, error) {
	if err := dgst.Validate(); err != nil {
		return nil, fmt.Errorf("%q is not a digest", dgst)
	}
	query := url.Values{"mount": {dgst.String()}}
	if from != "" {
		query.Set("from", c.prefix+from)
	}
	resp, err := c.call(ctx, repository, http.MethodPost, "blobs/uploads/?"+query.Encode(), nil, http.StatusCreated, http.StatusAccepted)
	if refusesMount(err) {
		return c.StartUpload(ctx, repository)
	}
	if err != nil {
		return nil, err
	}
	defer answer.Discard(resp)
	if resp.StatusCode == http.StatusCreated {
		return nil, checkDigest(resp, dgst)
	}
	return c.newUpload(repository, resp)
}
