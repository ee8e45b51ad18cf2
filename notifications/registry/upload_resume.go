package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/registry/internal/backoff"
)

const (
	// maxResumes bounds how often one upload that broke off is gone on with.
	maxResumes = 32
	// maxFruitless bounds how often that may be in a row without the registry storing any
	// more: each time the same bytes may go over the wire again.
	maxFruitless = 1
)

// A rest is a blob of which any part can be read.
type rest struct {
	io.Reader
	seeker io.Seeker
	start  int64 // where the blob begins
}

// from goes to where the blob has that offset.
func (r *rest) from(offset int64) error {
	if _, err := r.seeker.Seek(r.start+offset, io.SeekStart); err != nil {
		return &readError{err}
	}
	return nil
}

// goOn sends what the registry does not have of a blob of which Put could not send all
// because of err, and ends the upload
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks).
// What it returns is what the last request failed by.
func (u *Upload) goOn(ctx context.Context, desc v1.Descriptor, r *rest, err error) error {
	for tries, fruitless, most := 0, 0, int64(0); tries < maxResumes; tries++ {
		// A registry may still be storing what came of the request that broke off.
		if !u.brokeOff(err) || backoff.Pause(ctx, backoff.Exponential(fruitless+1)) != nil {
			return err
		}
		if serr := u.sync(ctx); serr != nil {
			if errors.Is(serr, ErrNotFound) && u.stored(ctx, desc) {
				return nil // the answer was lost
			}
			return err
		}
		switch {
		case u.offset > desc.Size:
			return fmt.Errorf("%w: the registry says that it has %d bytes of the upload of %d", ErrMismatch, u.offset, desc.Size)
		case u.offset > most:
			most, fruitless = u.offset, 0
		default:
			if fruitless++; fruitless > maxFruitless {
				return err
			}
		}
		if serr := r.from(u.offset); serr != nil {
			return serr
		}
		if err = u.putRest(ctx, desc, r); err == nil {
			return nil
		}
	}
	return err
}

// putRest sends a blob from Offset on and ends the upload.
func (u *Upload) putRest(ctx context.Context, desc v1.Descriptor, r io.Reader) error {
	if left := desc.Size - u.offset; left > 0 {
		if err := u.patch(ctx, r, left); err != nil {
			return err
		}
		if u.offset < desc.Size {
			return fmt.Errorf("the registry has stored %d of %d bytes", u.offset, desc.Size)
		}
	}
	return u.Commit(ctx, desc.Digest)
}

// brokeOff tells whether an upload that ended by err may go on: nothing was wrong with
// what was sent, and the registry does not ask to be left alone.
func (u *Upload) brokeOff(err error) bool {
	if answer, ok := errors.AsType[*Error](err); ok && answer.RetryAfter > 0 {
		return false
	}
	_, ours := errors.AsType[*readError](err)
	return !ours && !errors.Is(err, ErrMismatch) && u.resumable(err)
}

// stored tells whether the repository has the blob.
func (u *Upload) stored(ctx context.Context, desc v1.Descriptor) bool {
	there, err := u.c.StatBlob(ctx, strings.TrimPrefix(u.repository, u.c.prefix), desc.Digest)
	return err == nil && there.Size == desc.Size
}
