package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/regcast/regcast/notifications/registry/internal/answer"
)

// manifestTypes are the types that we accept if the caller does not say.
func manifestTypes() []string {
	return []string{
		v1.MediaTypeImageManifest,
		v1.MediaTypeImageIndex,
		"application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.oci.artifact.manifest.v1+json",
		"*/*;q=0.1",
	}
}

// Resolve finds what a tag or digest names: its media type, digest and size. It asks by
// HEAD, and by GET where a registry has no good answer to that: one that says the digest.
func (c *Client) Resolve(ctx context.Context, repository, ref string) (v1.Descriptor, error) {
	if err := c.checkReference(repository, ref); err != nil {
		return v1.Descriptor{}, err
	}
	r, err := c.repository(repository)
	if err != nil {
		return v1.Descriptor{}, err
	}
	head := &digestNoted{Client: r.Client}
	r.Client = head
	desc, err := r.Manifests().Resolve(ctx, ref)
	if err == nil && head.said {
		return desc, nil
	}
	var answer *Error
	var unanswered *url.Error
	if errors.As(err, &unanswered) || errors.As(err, &answer) && final(answer.Status) {
		return v1.Descriptor{}, err
	}
	desc, _, err = c.Manifest(ctx, repository, ref, nil)
	return desc, err
}

// A digestNoted notes whether an answer says its digest. oras-go believes an answer to HEAD
// that does not to be what a digest was asked for, which a server that answers everything
// is good for.
type digestNoted struct {
	remote.Client
	said bool
}

func (d *digestNoted) Do(req *http.Request) (*http.Response, error) {
	resp, err := d.Client.Do(req)
	d.said = err == nil && resp.Header.Get("Docker-Content-Digest") != ""
	return resp, err
}

// final tells whether GET would be answered as HEAD was.
func final(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests:
		return true
	}
	return false
}

// ManifestOptions are for [Client.Manifest]; nil is its zero value.
type ManifestOptions struct {
	Accept      []string      // media types; default all that are known, then any
	IfNoneMatch digest.Digest // ErrNotModified if the reference still names this
}

// maxReads bounds how often a manifest is asked for whose body breaks off.
const maxReads = 3

// Manifest gets what a tag or digest names. The content has the digest of its descriptor,
// and the one that was asked for. Errors: [ErrNotModified]; [ErrTooLarge] beyond
// MaxManifest; [ErrMismatch].
func (c *Client) Manifest(ctx context.Context, repository, ref string, opts *ManifestOptions) (v1.Descriptor, []byte, error) {
	if err := c.checkReference(repository, ref); err != nil {
		return v1.Descriptor{}, nil, err
	}
	accept := manifestTypes()
	if opts != nil && opts.Accept != nil {
		accept = opts.Accept
	}
	header := http.Header{"Accept": {strings.Join(accept, ", ")}}
	if opts != nil && opts.IfNoneMatch != "" {
		header.Set("If-None-Match", `"`+opts.IfNoneMatch.String()+`"`)
	}
	for read := 1; ; read++ {
		resp, err := c.call(ctx, repository, http.MethodGet, "manifests/"+ref, header, http.StatusOK)
		if err != nil {
			return v1.Descriptor{}, nil, err
		}
		content, err := c.readManifest(resp)
		if err == nil {
			desc, err := describe(resp, ref, content)
			return desc, content, err
		}
		if errors.Is(err, ErrTooLarge) || ctx.Err() != nil || read == maxReads {
			return v1.Descriptor{}, nil, err
		}
	}
}

func (c *Client) readManifest(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	tooLarge := fmt.Errorf("%w: the manifest at %s has more than %d bytes", ErrTooLarge, answer.Shown(resp.Request.URL), c.opts.MaxManifest)
	if resp.ContentLength > c.opts.MaxManifest {
		return nil, tooLarge
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, c.opts.MaxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", answer.Shown(resp.Request.URL), err)
	}
	if int64(len(content)) > c.opts.MaxManifest {
		return nil, tooLarge
	}
	return content, nil
}

// describe verifies a manifest against what was asked for and what was claimed.
func describe(resp *http.Response, ref string, content []byte) (v1.Descriptor, error) {
	dgst := digest.FromBytes(content)
	for _, claim := range []string{resp.Header.Get("Docker-Content-Digest"), ref} {
		if claimed, err := digest.Parse(claim); err == nil {
			dgst = claimed.Algorithm().FromBytes(content)
			if dgst != claimed {
				return v1.Descriptor{}, fmt.Errorf("%w: %s: not %s but %s", ErrMismatch, answer.Shown(resp.Request.URL), claimed, dgst)
			}
		} else if claim != "" && claim != ref {
			return v1.Descriptor{}, fmt.Errorf("%w: %s: the registry says that its digest is %q", ErrMismatch, answer.Shown(resp.Request.URL), printable(claim))
		}
	}
	return v1.Descriptor{MediaType: mediaType(resp.Header, content), Digest: dgst, Size: int64(len(content))}, nil
}

// mediaType is what the answer says, or the manifest where the answer says nothing.
func mediaType(h http.Header, content []byte) string {
	if kind, _, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil && kind != "application/json" && kind != "application/octet-stream" {
		return kind
	}
	var own struct {
		MediaType string `json:"mediaType"`
	}
	_ = json.Unmarshal(content, &own) // a manifest of an unknown type need not be JSON
	return own.MediaType
}

// PutManifest stores a manifest under a tag, or under its digest: ref is that, or "" to
// have it computed. It returns the manifest's descriptor. Blobs and manifests that it
// refers to have to be there. Errors: [ErrMismatch] if ref is a digest of something else, or
// if the registry stored something else; [ErrTooLarge] beyond MaxManifest.
func (c *Client) PutManifest(ctx context.Context, repository, ref, mediaType string, content []byte) (v1.Descriptor, error) {
	if int64(len(content)) > c.opts.MaxManifest {
		return v1.Descriptor{}, fmt.Errorf("%w: a manifest of %d bytes", ErrTooLarge, len(content))
	}
	desc := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	if ref == "" {
		ref = desc.Digest.String()
	}
	if err := c.checkReference(repository, ref); err != nil {
		return v1.Descriptor{}, err
	}
	if given, err := digest.Parse(ref); err == nil {
		if desc.Digest = given.Algorithm().FromBytes(content); desc.Digest != given {
			return v1.Descriptor{}, fmt.Errorf("%w: not %s but %s", ErrMismatch, given, desc.Digest)
		}
	}
	u := c.base
	u.Path = "/v2/" + c.prefix + repository + "/manifests/" + ref
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(content))
	if err != nil {
		return v1.Descriptor{}, err
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := c.do(req, http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusNoContent)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer answer.Discard(resp)
	return desc, checkDigest(resp, desc.Digest)
}

// DeleteManifest deletes a manifest and, with most registries, all tags that name it.
func (c *Client) DeleteManifest(ctx context.Context, repository string, dgst digest.Digest) error {
	if err := dgst.Validate(); err != nil {
		return fmt.Errorf("%q is not a digest", dgst)
	}
	return c.delete(ctx, repository, "manifests/"+dgst.String())
}

// Untag deletes a tag and leaves what it names. Errors: [ErrUnsupported] from registries
// that delete by digest alone; some of them say 400.
func (c *Client) Untag(ctx context.Context, repository, tag string) error {
	if err := c.reference(repository, tag).ValidateReferenceAsTag(); err != nil {
		return fmt.Errorf("%q is not a tag", tag)
	}
	return c.delete(ctx, repository, "manifests/"+tag)
}

func (c *Client) delete(ctx context.Context, repository, path string) error {
	resp, err := c.call(ctx, repository, http.MethodDelete, path, nil, http.StatusAccepted, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return err
	}
	answer.Discard(resp)
	return nil
}

// checkReference refuses what is neither a tag nor a digest, before it gets into a URL.
func (c *Client) checkReference(repository, ref string) error {
	reference := c.reference(repository, ref)
	if reference.ValidateRepository() != nil {
		return fmt.Errorf("%q is not the name of a repository", repository)
	}
	if ref == "" || reference.ValidateReference() != nil {
		return fmt.Errorf("%q is neither a tag nor a digest", ref)
	}
	return nil
}
