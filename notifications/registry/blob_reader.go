package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/registry/internal/backoff"
)

// maxReopens bounds how often a blob is opened again without a byte in between.
const maxReopens = 5

// OpenBlob returns a reader of a blob, whose digest and size are given: desc may come from
// a manifest or from [Client.StatBlob]. Nothing is asked before the first Read, and ctx is
// for all of them. A body that breaks off goes on where it did.
//
// If the registry has no ranges, what was read already is received again and skipped, but
// only behind a Seek to where nothing was read yet there is [ErrUnsupported].
//
// When all bytes have been read in their order, the last Read returns [ErrMismatch] in
// place of io.EOF if they are not those of the digest. What is read after a Seek, out of
// order, is not verified. One goroutine uses the reader at a time.
func (c *Client) OpenBlob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadSeekCloser, error) {
	if err := desc.Digest.Validate(); err != nil || desc.Size < 0 {
		return nil, fmt.Errorf("%q of %d bytes is not a blob", desc.Digest, desc.Size)
	}
	if err := c.reference(repository, "").ValidateRepository(); err != nil {
		return nil, fmt.Errorf("%q is not the name of a repository", repository)
	}
	return &blobReader{c: c, ctx: ctx, repository: repository, desc: desc, verifier: desc.Digest.Verifier()}, nil
}

// A blobReader keeps a context, against custom, because io.Reader has no place for one.
type blobReader struct {
	c          *Client
	ctx        context.Context
	repository string
	desc       v1.Descriptor

	offset   int64         // of the next Read
	body     io.ReadCloser // nil if it is to be opened
	skip     int64         // bytes of body that are before offset
	whole    bool          // ranges are not asked for: what came was none
	reopens  int           // since the last byte
	verifier digest.Verifier
	verified int64 // bytes that the verifier has, from the beginning
	closed   bool
}

var errClosed = errors.New("registry: the blob is closed")

func (r *blobReader) Read(p []byte) (int, error) {
	for {
		switch {
		case r.closed:
			return 0, errClosed
		case r.offset >= r.desc.Size:
			return 0, r.end()
		case len(p) == 0:
			return 0, nil
		}
		if r.body == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		n, err := r.next(p[:min(int64(len(p)), r.desc.Size-r.offset)])
		if n > 0 {
			r.take(p[:n])
			return n, nil
		}
		if err == nil {
			continue
		}
		r.drop()
		if r.ctx.Err() != nil {
			return 0, context.Cause(r.ctx)
		}
		if r.reopens++; r.reopens == maxReopens {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, fmt.Errorf("reading the blob %s at byte %d: %w", r.desc.Digest, r.offset, err)
		}
		if r.reopens > 1 { // the first time it may be the connection alone
			if err := backoff.Pause(r.ctx, backoff.Exponential(r.reopens-1)); err != nil {
				return 0, err
			}
		}
	}
}

// next reads from the body, behind what is to be skipped.
func (r *blobReader) next(p []byte) (int, error) {
	if r.skip > 0 {
		n, err := io.CopyN(io.Discard, r.body, r.skip)
		if r.skip -= n; err != nil {
			return 0, err
		}
	}
	return r.body.Read(p)
}

// take notes bytes that were read.
func (r *blobReader) take(p []byte) {
	if r.offset <= r.verified && r.offset+int64(len(p)) > r.verified {
		fresh := p[r.verified-r.offset:]
		_, _ = r.verifier.Write(fresh) // a hash takes everything
		r.verified += int64(len(fresh))
	}
	r.offset += int64(len(p))
	r.reopens = 0
}

// end is what Read returns behind the last byte.
func (r *blobReader) end() error {
	r.drop()
	if r.verified == r.desc.Size && !r.verifier.Verified() {
		return fmt.Errorf("%w: the blob %s", ErrMismatch, r.desc.Digest)
	}
	return io.EOF
}

// open asks for the blob from offset on. If what comes is another range, it asks again for
// the whole blob: of a blob that was read so far, the beginning can be skipped.
func (r *blobReader) open() error {
	for {
		header := http.Header{"Accept-Encoding": {"identity"}}
		ranged := r.offset > 0 && !r.whole
		if ranged {
			header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.offset, r.desc.Size-1))
		}
		err := r.ask(header, ranged)
		if err == nil || !ranged || r.offset > r.verified || !isNoRange(err) {
			return err
		}
		r.whole = true
	}
}

// isNoRange tells whether an answer to a request for a range is none that could be.
func isNoRange(err error) bool {
	answer, ok := errors.AsType[*Error](err)
	return ok && answer.Status == http.StatusRequestedRangeNotSatisfiable || errors.Is(err, ErrMismatch)
}

func (r *blobReader) ask(header http.Header, ranged bool) error {
	statuses := []int{http.StatusOK}
	if ranged {
		statuses = append(statuses, http.StatusPartialContent)
	}
	resp, err := r.c.call(r.ctx, r.repository, http.MethodGet, "blobs/"+r.desc.Digest.String(), header, statuses...)
	if err != nil {
		return err
	}
	if err := r.check(resp); err != nil {
		resp.Body.Close()
		return err
	}
	r.body, r.skip = resp.Body, 0
	if resp.StatusCode == http.StatusOK {
		r.skip = r.offset
	}
	return nil
}

// check compares what an answer says of the blob to what we know.
func (r *blobReader) check(resp *http.Response) error {
	if err := checkDigest(resp, r.desc.Digest); err != nil && resp.Request.Response == nil { // of the registry, not of a store behind it
		return err
	}
	first, size := int64(0), resp.ContentLength
	switch {
	case resp.StatusCode == http.StatusPartialContent:
		var err error
		if first, size, err = parseContentRange(resp.Header.Get("Content-Range")); err != nil {
			return err
		}
	case r.offset > r.verified:
		return fmt.Errorf("%w: %s has no ranges of blobs", ErrUnsupported, r.c.base.Host)
	default:
		first = r.offset // behind what is skipped
	}
	if first != r.offset || size >= 0 && size != r.desc.Size {
		return fmt.Errorf("%w: the blob %s has %d bytes, the registry sends from byte %d of %d", ErrMismatch, r.desc.Digest, r.desc.Size, first, size)
	}
	return nil
}

// parseContentRange reads "bytes FIRST-LAST/SIZE" (RFC 9110 section 14.4); the size is -1
// if it is "*".
func parseContentRange(value string) (first, size int64, err error) {
	span, total, ok := strings.Cut(strings.TrimPrefix(value, "bytes "), "/")
	from, _, dash := strings.Cut(span, "-")
	first, err = strconv.ParseInt(from, 10, 64)
	size = -1
	if err == nil && total != "*" {
		size, err = strconv.ParseInt(total, 10, 64)
	}
	if !ok || !dash || err != nil || first < 0 || size < -1 {
		return 0, 0, fmt.Errorf("%w: Content-Range %q", ErrMismatch, printable(value))
	}
	return first, size, nil
}

// Seek sets where the next Read reads. Behind the end there is nothing to read.
func (r *blobReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.desc.Size
	case io.SeekStart:
	default:
		return 0, fmt.Errorf("registry: no such whence: %d", whence)
	}
	if offset < 0 {
		return 0, errors.New("registry: seeking before the beginning of a blob")
	}
	if offset != r.offset {
		r.drop()
		r.offset = offset
	}
	return offset, nil
}

func (r *blobReader) Close() error {
	r.closed = true
	r.drop()
	return nil
}

// drop is done with the body, if there is one.
func (r *blobReader) drop() {
	if r.body != nil {
		r.body.Close()
		r.body = nil
	}
}
