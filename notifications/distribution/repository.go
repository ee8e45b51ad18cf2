package distribution

import (
	"context"
	"sync"

	cncf "github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
)

// A repository is distribution's of one request, whose services report. What the services
// can do beyond their interfaces, they still can.
type repository struct {
	cncf.Repository
	reporter

	mu       sync.Mutex
	untagged *untagged // nil unless a manifest waits for its tag
}

// An untagged manifest was put, to be given a tag next: distribution's handler does so in
// two steps.
type untagged struct {
	tag      string
	digest   digest.Digest
	manifest cncf.Manifest
	listener notifications.Listener
}

// Manifests returns the manifest service.
func (r *repository) Manifests(ctx context.Context, options ...cncf.ManifestServiceOption) (cncf.ManifestService, error) {
	inner, err := r.Repository.Manifests(ctx, options...)
	if err != nil {
		return nil, err
	}
	m := &manifests{inner, r}
	if e, ok := inner.(cncf.ManifestEnumerator); ok {
		return struct {
			*manifests
			cncf.ManifestEnumerator
		}{m, e}, nil
	}
	return m, nil
}

// Blobs returns the blob store.
func (r *repository) Blobs(ctx context.Context) cncf.BlobStore {
	inner := r.Repository.Blobs(ctx)
	b := &blobs{BlobStore: inner, repo: r}
	if e, ok := inner.(cncf.BlobEnumerator); ok {
		return struct {
			*blobs
			cncf.BlobEnumerator
		}{b, e}
	}
	return b
}

// Tags returns the tag service.
func (r *repository) Tags(ctx context.Context) cncf.TagService {
	inner := r.Repository.Tags(ctx)
	t := &tags{inner, r}
	if p, ok := inner.(cncf.TagManifestsProvider); ok {
		return struct {
			*tags
			cncf.TagManifestsProvider
		}{t, p}
	}
	return t
}

// A manifests is a manifest service that reports.
type manifests struct {
	cncf.ManifestService
	repo *repository
}

func (m *manifests) Get(ctx context.Context, dgst digest.Digest, options ...cncf.ManifestServiceOption) (cncf.Manifest, error) {
	manifest, err := m.ManifestService.Get(ctx, dgst, options...)
	if tag := tagOf(options); err == nil && m.repo.wantsPull(ctx, m.repo.Named(), tag, dgst) {
		m.repo.done(m.repo.listener(ctx).ManifestPulled(ctx, m.repo.Named(), manifest, tag))
	}
	return manifest, err
}

func (m *manifests) Put(ctx context.Context, manifest cncf.Manifest, options ...cncf.ManifestServiceOption) (digest.Digest, error) {
	dgst, err := m.ManifestService.Put(ctx, manifest, options...)
	if err != nil {
		return dgst, err
	}
	pushed := &untagged{tagOf(options), dgst, manifest, m.repo.listener(ctx)}
	if pushed.tag != "" {
		pushed = m.repo.setUntagged(pushed)
	}
	m.repo.report(ctx, pushed)
	return dgst, err
}

func (m *manifests) Delete(ctx context.Context, dgst digest.Digest) error {
	err := m.ManifestService.Delete(ctx, dgst)
	if err == nil {
		m.repo.done(m.repo.listener(ctx).ManifestDeleted(ctx, m.repo.Named(), dgst))
	}
	return err
}

// tagOf returns the tag by which a client named a manifest, "" if it was by digest.
func tagOf(options []cncf.ManifestServiceOption) string {
	for _, option := range options {
		if o, ok := option.(cncf.WithTagOption); ok {
			return o.Tag
		}
	}
	return ""
}

// setUntagged has u wait for its tag and returns what waited before. Nobody has tagged
// that, and it is reported now, as distribution would have before: who keeps a repository
// and puts by tag without tagging keeps no more than one manifest.
func (r *repository) setUntagged(u *untagged) *untagged {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.untagged
	r.untagged = u
	return before
}

// takeUntagged returns the manifest that waits for tag, nil if none does.
func (r *repository) takeUntagged(tag string, dgst digest.Digest) *untagged {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.untagged
	if u == nil || u.tag != tag || u.digest != dgst {
		return nil
	}
	r.untagged = nil
	return u
}

func (r *repository) report(ctx context.Context, pushed *untagged) {
	if pushed != nil {
		r.done(pushed.listener.ManifestPushed(ctx, r.Named(), pushed.manifest, pushed.tag))
	}
}

// A tags is a tag service that reports.
type tags struct {
	cncf.TagService
	repo *repository
}

// Tag reports the push of a manifest that waits for it. That an old manifest gets a tag is
// no event.
func (t *tags) Tag(ctx context.Context, tag string, desc v1.Descriptor) error {
	err := t.TagService.Tag(ctx, tag, desc)
	pushed := t.repo.takeUntagged(tag, desc.Digest)
	if err == nil {
		t.repo.report(ctx, pushed)
	}
	return err
}

func (t *tags) Untag(ctx context.Context, tag string) error {
	err := t.TagService.Untag(ctx, tag)
	if err == nil {
		t.repo.done(t.repo.listener(ctx).TagDeleted(ctx, t.repo.Named(), tag))
	}
	return err
}
