package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/registry"
)

// blob makes sure that the target's repository has a blob, and tells how.
func (j *job) blob(ctx context.Context, desc v1.Descriptor) (blobOutcome, error) {
	target := &j.m.target
	there, err := target.client.StatBlob(ctx, j.repository, desc.Digest)
	if err == nil && there.Size != desc.Size { // it has something else, or says yes to everything
		err = fmt.Errorf("%w: the blob %s has %d bytes there and %d in the manifest", registry.ErrMismatch, desc.Digest, there.Size, desc.Size)
	}
	if err == nil {
		return blobSkipped, nil
	}
	if !errors.Is(err, registry.ErrNotFound) {
		return "", target.failed(err)
	}
	j.touch()
	from, err := j.mountable(ctx, desc)
	if err != nil {
		return "", err
	}
	if from != "" {
		upload, err := target.client.MountBlob(ctx, j.repository, desc.Digest, from)
		switch {
		case err != nil:
			return "", target.failed(err)
		case upload == nil:
			return blobMounted, nil
		}
		j.touch()
		if err := j.stream(ctx, desc, upload); err == nil || !isUploadLost(err) {
			return blobCopied, err
		}
	}
	return blobCopied, j.upload(ctx, desc)
}

// maxUploads bounds how often an attempt begins the upload of a blob.
const maxUploads = 3

// upload uploads a blob, and begins anew if the target cannot go on with what broke off.
func (j *job) upload(ctx context.Context, desc v1.Descriptor) error {
	for n := 1; ; n++ {
		upload, err := j.m.target.client.StartUpload(ctx, j.repository)
		if err != nil {
			return j.m.target.failed(err)
		}
		j.touch()
		if err = j.stream(ctx, desc, upload); err == nil || n == maxUploads || ctx.Err() != nil || !isUploadLost(err) {
			return err
		}
	}
}

// mountable returns a repository of the target from which a blob may be mounted, "" if
// there is none. The source must have the blob in the event's own repository: a manifest
// that only names it, which some registries take from whoever may push there, must not
// open the blobs of other repositories at the target.
func (j *job) mountable(ctx context.Context, desc v1.Descriptor) (from string, err error) {
	from = j.m.places.find(desc.Digest)
	if from == "" || from == j.repository {
		return "", nil
	}
	_, err = j.m.source.client.StatBlob(ctx, j.repository, desc.Digest)
	if errors.Is(err, registry.ErrNotFound) { // in an answer to HEAD, which has no words; GET will have them
		return "", nil
	}
	if err != nil {
		return "", j.m.source.failed(err)
	}
	j.touch()
	return from, nil
}

// stream lets a blob flow from the source into an upload.
func (j *job) stream(ctx context.Context, desc v1.Descriptor, upload *registry.Upload) error {
	body, err := j.m.source.client.OpenBlob(ctx, j.repository, desc)
	if err != nil {
		return j.m.source.failed(err)
	}
	defer body.Close()
	r := &flow{job: j, body: body, size: desc.Size}
	j.m.meter.inflight(desc.Size)
	defer func() { j.m.meter.inflight(r.passed - desc.Size) }()
	err = upload.Put(ctx, desc, r)
	if r.err != nil {
		return j.m.source.failed(r.err)
	}
	return j.m.target.failed(err)
}

// A flow is the body of a blob as it passes, from wherever the target wants it. It holds
// back the last bytes of one that is not what its digest says, so that no target can take
// it for complete.
type flow struct {
	job          *job
	body         io.ReadSeeker
	size, passed int64
	err          error // why the source could not be read
}

func (f *flow) Read(p []byte) (int, error) {
	n, err := f.body.Read(p)
	if n > 0 && f.passed+int64(n) == f.size {
		var none [1]byte
		if _, end := f.body.Read(none[:]); end != io.EOF {
			n, err = 0, end
		}
	}
	if n > 0 {
		f.passed += int64(n)
		f.job.moved.Add(int64(n))
		f.job.m.meter.passed(int64(n))
		f.job.touch()
	}
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// Seek goes to where the target has to go on. What it has lost is still to pass.
func (f *flow) Seek(offset int64, whence int) (int64, error) {
	offset, err := f.body.Seek(offset, whence)
	if err != nil {
		return 0, err
	}
	f.job.moved.Add(offset - f.passed)
	f.job.m.meter.inflight(f.passed - offset)
	f.passed = offset
	return offset, nil
}
