package mirror

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry"
)

// An eventError says that the event, or what it is about, cannot be copied: not now and
// not later.
type eventError struct{ error }

func (e eventError) Unwrap() error { return e.error }

var errManifest = eventError{errors.New("the manifest is not JSON of the known kinds")}

// push copies what was pushed.
func (j *job) push(e *notifications.Event) error {
	dgst := e.Digest
	if dgst != "" && dgst.Validate() != nil {
		return eventError{fmt.Errorf("the event's digest %.80q is none", dgst)}
	}
	if e.Tag == "" {
		if dgst == "" {
			return eventError{errors.New("the event has neither a tag nor a digest")}
		}
		if !j.m.opts.ByDigest {
			return j.referrer(dgst)
		}
		return j.root(dgst, "")
	}
	current, found, err := j.m.source.find(j.ctx, j.repository, e.Tag)
	if err != nil {
		return err
	}
	j.touch()
	if dgst == "" && found { // some registries name the tag alone
		dgst = current.Digest
	}
	switch {
	case found && current.Digest == dgst:
		return j.root(dgst, e.Tag)
	case j.m.opts.ByDigest && dgst != "":
		if err := j.root(dgst, ""); err != nil {
			return err
		}
	}
	return j.overtaken(e.Tag, current, found)
}

// referrer copies a manifest if it has a subject that the target has
// (https://github.com/opencontainers/image-spec/blob/main/manifest.md). Other manifests
// that are pushed by digest alone come with what refers to them, or not at all.
func (j *job) referrer(dgst digest.Digest) error {
	desc, body, err := j.m.source.client.Manifest(j.ctx, j.repository, dgst.String(), nil)
	if isAbsent(err) {
		return j.missing(dgst.String())
	}
	if err != nil {
		return j.m.source.failed(err)
	}
	j.m.source.served.Store(true)
	j.touch()
	c, err := parse(body)
	if err != nil {
		return err
	}
	if c.Subject != nil && c.Subject.Digest.Validate() == nil {
		there, err := j.has(c.Subject.Digest.String())
		if err != nil {
			return err
		}
		if there.Digest == c.Subject.Digest {
			if err := j.copy(desc, body, ""); err != nil {
				return j.recheck(dgst, err)
			}
			return nil
		}
	}
	j.m.meter.manifest(manifestLeft)
	return nil
}

// overtaken says what it means that a tag, if it is found at all, names something else.
func (j *job) overtaken(tag string, current v1.Descriptor, found bool) error {
	if found {
		return j.superseded(reasonMoved, 0, fmt.Sprintf("%s:%s is %s", j.repository, tag, current.Digest))
	}
	return j.missing(tag)
}

// root copies a manifest and, if it is named by one, its tag.
func (j *job) root(dgst digest.Digest, tag string) error {
	if tag != "" {
		there, err := j.has(tag)
		if err != nil {
			return err
		}
		if there.Digest == dgst {
			if !isIndex(there.MediaType) {
				j.m.meter.manifest(manifestSkipped)
				return nil
			}
			tag = "" // it is there; its manifests may be missing
		}
	}
	desc, body, err := j.m.source.client.Manifest(j.ctx, j.repository, dgst.String(), nil)
	if isAbsent(err) {
		return j.missing(dgst.String())
	}
	if err != nil {
		return j.m.source.failed(err)
	}
	j.m.source.served.Store(true)
	j.touch()
	if err := j.copy(desc, body, tag); err != nil {
		return j.recheck(dgst, err)
	}
	return nil
}

// recheck tells whether err, by which a copy ended, comes from the manifest having been
// deleted at the source meanwhile.
func (j *job) recheck(dgst digest.Digest, err error) error {
	at, ok := errors.AsType[*sideError](err)
	if !ok || at.side != &j.m.source || !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	if _, found, ferr := j.m.source.find(j.ctx, j.repository, dgst.String()); ferr == nil && !found {
		return j.missing(dgst.String())
	}
	return err
}

// has returns what the target has under a tag or digest, the zero value if nothing.
func (j *job) has(ref string) (v1.Descriptor, error) {
	desc, err := j.m.target.client.Resolve(j.ctx, j.repository, ref)
	if errors.Is(err, registry.ErrNotFound) {
		desc, err = v1.Descriptor{}, nil
	}
	if err != nil {
		return v1.Descriptor{}, j.m.target.failed(err)
	}
	j.touch()
	return desc, nil
}

// copy copies what a manifest refers to, then the manifest: under tag, if that is given
// and still right, else under its digest.
func (j *job) copy(desc v1.Descriptor, body []byte, tag string) error {
	there, err := j.has(desc.Digest.String())
	if err != nil {
		return err
	}
	b := &bundle{job: j}
	if err := b.gather(desc, body, tag, there.Digest == desc.Digest, 0); err != nil {
		return err
	}
	if err := b.flush(); err != nil {
		return err
	}
	b.report()
	return nil
}

// tag puts a manifest under a tag that still names it at the source.
func (j *job) tag(tag string, desc v1.Descriptor, body []byte) error {
	if j.m.opts.ByDigest {
		if err := j.put(desc.Digest.String(), desc, body); err != nil {
			return err
		}
	}
	return j.m.inTurn(j.ctx, j.repository, func() error {
		current, found, err := j.m.source.find(j.ctx, j.repository, tag)
		if err != nil {
			return err
		}
		j.touch()
		if current.Digest != desc.Digest {
			return j.overtaken(tag, current, found)
		}
		return j.put(tag, desc, body)
	})
}

// put puts a manifest.
func (j *job) put(ref string, desc v1.Descriptor, body []byte) error {
	if _, err := j.m.target.client.PutManifest(j.ctx, j.repository, ref, desc.MediaType, body); err != nil {
		return j.m.target.failed(err)
	}
	j.touch()
	j.m.meter.manifest(manifestCopied)
	return nil
}
