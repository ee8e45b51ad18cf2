package mirror

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/endpoints"
)

// Bounds of one copy.
const (
	maxDepth     = 8       // of indexes in indexes, and subjects of subjects
	maxManifests = 1000    // of indexes, all together
	maxGathered  = 1 << 20 // bytes of manifests that wait for their blobs, but for the last one
)

// A bundle gathers what a manifest refers to, on all levels, so that the blobs of all
// images of an index are copied side by side. When it is full, what it has is copied: the
// blobs, and then the manifests, each after those that it refers to.
type bundle struct {
	*job
	wanted []v1.Descriptor // blobs
	parts  []part
	bytes  int // of parts

	gone []digest.Digest // of indexes, and not at the source
}

// A part is a manifest that is put once its blobs are there.
type part struct {
	desc v1.Descriptor
	body []byte
	tag  string // "": it is put under its digest
	left int    // manifests of it that platforms leaves out
	gone int    // manifests of it that the source does not have
}

// gather adds a manifest, which the target is known to have or not, after what it refers to.
func (b *bundle) gather(desc v1.Descriptor, body []byte, tag string, known bool, depth int) error {
	c, err := parse(body)
	if err != nil {
		return err
	}
	children := chosen(c.Manifests, b.m.platforms)
	p := part{desc: desc, body: body, tag: tag, left: len(c.Manifests) - len(children)}
	for _, child := range children {
		found, err := b.child(child, depth+1)
		if err == nil && !found {
			err = b.without(desc, child)
			p.gone++
		}
		if err != nil {
			return err
		}
	}
	if known && tag == "" {
		b.m.meter.manifest(manifestSkipped)
		return nil
	}
	if !known {
		if c.Subject != nil { // which need not be there, nor ever come
			if _, err := b.child(*c.Subject, depth+1); err != nil {
				return err
			}
		}
		b.wanted = append(b.wanted, c.blobs()...)
	}
	b.parts = append(b.parts, p)
	if b.bytes += len(body); b.bytes > maxGathered {
		return b.flush()
	}
	return nil
}

// child gathers a manifest that another one refers to. It tells whether one of the
// registries has it.
func (b *bundle) child(desc v1.Descriptor, depth int) (found bool, err error) {
	if found, looked := b.manifestsThere[desc.Digest]; looked {
		return found, nil
	}
	if b.manifests++; b.manifests > maxManifests || depth > maxDepth {
		return false, eventError{fmt.Errorf("it has more than %d manifests, or %d levels of them", maxManifests, maxDepth)}
	}
	if err := desc.Digest.Validate(); err != nil {
		return false, errManifest
	}
	there, err := b.has(desc.Digest.String())
	if err != nil {
		return false, err
	}
	found = there.Digest == desc.Digest
	if found && !isIndex(desc.MediaType) { // whose manifests may be missing although it is there
		b.manifestsThere[desc.Digest] = true
		b.m.meter.manifest(manifestSkipped)
		return true, nil
	}
	desc, body, err := b.manifest(desc)
	switch {
	case isAbsent(err):
		b.manifestsThere[desc.Digest] = found
		return found, nil
	case err != nil:
		return false, b.m.source.failed(err)
	}
	if err := b.gather(desc, body, "", found, depth); err != nil {
		return false, err
	}
	b.manifestsThere[desc.Digest] = true // or the job ends
	return true, nil
}

// manifest reads a manifest that another one refers to from the source.
func (b *bundle) manifest(desc v1.Descriptor) (v1.Descriptor, []byte, error) {
	found, body, err := b.m.source.client.Manifest(b.ctx, b.repository, desc.Digest.String(), nil)
	if err != nil {
		return desc, nil, err
	}
	b.touch()
	found.MediaType = cmp.Or(found.MediaType, desc.MediaType)
	return found, body, nil
}

// without notes a manifest of an index that the source does not have, if that is to be
// believed. Not all indexes are complete: who pushed one may have left out platforms.
func (b *bundle) without(index, child v1.Descriptor) error {
	if b.early() {
		return &unsettledError{endpoints.Early, http.StatusNotFound,
			fmt.Sprintf("it has no %s, a manifest of the index %s in repository %s", child.Digest, index.Digest, b.repository)}
	}
	b.gone = append(b.gone, child.Digest)
	return nil
}

// flush copies what was gathered.
func (b *bundle) flush() error {
	if err := b.blobs(b.wanted); err != nil {
		return err
	}
	for _, p := range b.parts {
		if err := b.place(&p); err != nil {
			return err
		}
	}
	b.wanted, b.parts, b.bytes = nil, nil, 0
	return nil
}

// place puts a manifest under its tag or its digest.
func (b *bundle) place(p *part) (err error) {
	if p.tag != "" {
		err = b.tag(p.tag, p.desc, p.body)
	} else {
		err = b.put(p.desc.Digest.String(), p.desc, p.body)
	}
	switch {
	case err == nil || !refusesMissing(err):
		return err
	case p.left > 0:
		return eventError{fmt.Errorf("the target does not take an index without the %d manifests that platforms leaves out: %w", p.left, err)}
	case p.gone > 0:
		return eventError{fmt.Errorf("the target does not take an index without the %d manifest(s) that the source does not have: %w", p.gone, err)}
	}
	return err
}

// report counts and logs what an index was copied without.
func (b *bundle) report() {
	if len(b.gone) == 0 {
		return
	}
	for range b.gone {
		b.m.meter.manifest(manifestMissing)
	}
	b.m.log.Info("an index was copied without the manifests that the source does not have",
		slog.String("event", b.event), slog.String("artifact", b.title),
		slog.Int("missing", len(b.gone)), slog.String("first", b.gone[0].String()))
}
