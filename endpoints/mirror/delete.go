package mirror

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry"
)

// delete carries out at the target what was done at the source, if it is so still. An
// event may tell of a tag and of the manifest that was deleted with it.
func (j *job) delete(e *notifications.Event) error {
	if e.Digest != "" && e.Digest.Validate() != nil {
		return eventError{fmt.Errorf("the event's digest %.80q is none", e.Digest)}
	}
	return j.m.inTurn(j.ctx, j.repository, func() error {
		if e.Tag != "" {
			if err := j.absent(e.Tag); err != nil {
				return j.restored(err, e.Tag)
			}
			if err := j.deleted(j.m.target.client.Untag(j.ctx, j.repository, e.Tag)); err != nil {
				return err
			}
		}
		if e.Digest == "" {
			return nil
		}
		if err := j.absent(e.Digest.String()); err != nil {
			if e.Tag != "" && isSuperseded(err) {
				return nil // the tag alone was deleted
			}
			return j.restored(err, e.Digest.String())
		}
		return j.deleteManifest(e.Digest)
	})
}

// deleteManifest deletes a manifest that the source does not have any more.
func (j *job) deleteManifest(dgst digest.Digest) error {
	return j.deleted(j.m.target.client.DeleteManifest(j.ctx, j.repository, dgst))
}

// absent returns nil if the source says that it does not have ref.
func (j *job) absent(ref string) error {
	_, found, err := j.m.source.find(j.ctx, j.repository, ref)
	if err != nil {
		return err
	}
	j.touch()
	if found {
		return &supersededError{reasonRestored}
	}
	return nil
}

// restored is what absent returned, unless what it found may be gone elsewhere.
func (j *job) restored(err error, ref string) error {
	if !isSuperseded(err) {
		return err
	}
	return j.superseded(reasonRestored, 0, fmt.Sprintf("%s in repository %s is there, still or again", ref, j.repository))
}

// deleted judges what came of a delete. What the target never had is not there either.
func (j *job) deleted(err error) error {
	switch {
	case err == nil:
		j.m.meter.manifest(manifestDeleted)
	case errors.Is(err, registry.ErrNotFound) && isAbsent(err):
	default:
		return j.m.target.failed(err)
	}
	j.touch()
	return nil
}

func isSuperseded(err error) bool {
	_, ok := errors.AsType[*supersededError](err)
	return ok
}
