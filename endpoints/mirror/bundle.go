package mirror

import (
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
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
}

// A part is a manifest that is put once its blobs are there.
type part struct {
	desc v1.Descriptor
	body []byte
	tag  string // "": it is put under its digest
	left int    // manifests of it that platforms leaves out
}

// gather adds a manifest, after what it refers to.
func (b *bundle) gather(desc v1.Descriptor, body []byte, tag string, depth int) error {
	if b.manifests++; b.manifests > maxManifests || depth > maxDepth {
		return eventError{fmt.Errorf("it has more than %d manifests, or %d levels of them", maxManifests, maxDepth)}
	}
	c, err := parse(body)
	if err != nil {
		return err
	}
	there, err := b.has(desc.Digest.String())
	if err != nil {
		return err
	}
	known := there.Digest == desc.Digest
	children := chosen(c.Manifests, b.m.platforms)
	left := len(c.Manifests) - len(children)
	if c.Subject != nil && !known {
		children = append(children, *c.Subject)
	}
	for _, child := range children {
		if err := b.child(child, depth+1); err != nil {
			return err
		}
	}
	if known && tag == "" {
		b.m.meter.manifest(manifestSkipped)
		return nil
	}
	if !known {
		b.wanted = append(b.wanted, c.blobs()...)
	}
	b.parts = append(b.parts, part{desc, body, tag, left})
	if b.bytes += len(body); b.bytes > maxGathered {
		return b.flush()
	}
	return nil
}

// child gathers a manifest that another one refers to, if the source has it: not all
// indexes and subjects are complete.
func (b *bundle) child(desc v1.Descriptor, depth int) error {
	if b.manifestsThere[desc.Digest] {
		return nil
	}
	if err := desc.Digest.Validate(); err != nil {
		return errManifest
	}
	if !isIndex(desc.MediaType) { // whose manifests may be missing although it is there
		there, err := b.has(desc.Digest.String())
		if err != nil {
			return err
		}
		if there.Digest == desc.Digest {
			b.manifestsThere[desc.Digest] = true
			b.m.meter.manifest(manifestSkipped)
			return nil
		}
	}
	found, body, err := b.m.source.client.Manifest(b.ctx, b.repository, desc.Digest.String(), nil)
	if isAbsent(err) {
		return nil
	}
	if err != nil {
		return b.m.source.failed(err)
	}
	b.touch()
	if found.MediaType == "" {
		found.MediaType = desc.MediaType
	}
	if err := b.gather(found, body, "", depth); err != nil {
		return err
	}
	b.manifestsThere[desc.Digest] = true // or the job ends
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
	if err != nil && p.left > 0 && refusesMissing(err) {
		err = eventError{fmt.Errorf("the target does not take an index without the %d manifests that platforms leaves out: %w", p.left, err)}
	}
	return err
}
