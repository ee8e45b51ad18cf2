package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/registry/internal/answer"
	"github.com/regcast/regcast/notifications/registry/internal/backoff"
)

const (
	// maxStalls bounds how often a chunk is sent without the registry storing any more.
	maxStalls = 5
	// cancelTimeout is how long the end of an upload that failed may take.
	cancelTimeout = 5 * time.Second
)

// An Upload is a blob under way into a repository. It ends with Put, PutChunks, Commit or
// Cancel; the first two cancel it when they fail. One goroutine uses it at a time.
type Upload struct {
	c          *Client
	repository string // with the prefix
	location   *url.URL
	offset     int64 // stored so far, as the registry said
	minChunk   int64
}

// StartUpload opens an upload.
func (c *Client) StartUpload(ctx context.Context, repository string) (*Upload, error) {
	resp, err := c.call(ctx, repository, http.MethodPost, "blobs/uploads/", nil, http.StatusAccepted)
	if err != nil {
		return nil, err
	}
	defer answer.Discard(resp)
	return c.newUpload(repository, resp)
}

// ResumeUpload goes on with an upload whose [Upload.Location] was kept, for instance over
// a restart. Errors: [ErrNotFound] if the registry has forgotten it.
func (c *Client) ResumeUpload(ctx context.Context, repository, location string) (*Upload, error) {
	if err := c.reference(repository, "").ValidateRepository(); err != nil {
		return nil, fmt.Errorf("%q is not the name of a repository", repository)
	}
	u := &Upload{c: c, repository: c.prefix + repository, location: &c.base}
	if err := u.move(location); err != nil {
		return nil, err
	}
	return u, u.sync(ctx)
}

// newUpload reads the answer that opened an upload.
func (c *Client) newUpload(repository string, resp *http.Response) (*Upload, error) {
	u := &Upload{c: c, repository: c.prefix + repository, location: resp.Request.URL}
	u.noteMinChunk(resp)
	return u, u.move(resp.Header.Get("Location"))
}

// noteMinChunk keeps what the registry says of the length of chunks, if it says something.
func (u *Upload) noteMinChunk(resp *http.Response) {
	if n, err := strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil && n > 0 {
		u.minChunk = n
	}
}

// Location is where the upload goes on: it changes with each chunk. It may hold a secret
// of the registry.
func (u *Upload) Location() string { return u.location.String() }

// Offset is how much of the blob is stored, in bytes.
func (u *Upload) Offset() int64 { return u.offset }

// Put sends the whole blob, desc.Size bytes of r, and ends the upload. See
// [Client.PutBlob] for what r may be.
func (u *Upload) Put(ctx context.Context, desc v1.Descriptor, r io.Reader) error {
	req, err := u.request(ctx, http.MethodPut, desc.Digest)
	if err != nil {
		return err
	}
	start, sought := int64(0), errors.ErrUnsupported
	seeker, ok := r.(io.Seeker)
	if ok {
		start, sought = seeker.Seek(0, io.SeekCurrent)
	}
	err = u.putAll(req, desc, r)
	if err != nil && sought == nil {
		err = u.goOn(ctx, desc, &rest{r, seeker, start}, err)
	}
	if err != nil {
		return u.abort(ctx, err)
	}
	return nil
}

// putAll sends the whole blob with the request that ends the upload.
func (u *Upload) putAll(req *http.Request, desc v1.Descriptor, r io.Reader) error {
	var body lender
	defer body.end()
	if desc.Size > 0 {
		body.lend(req, r, desc.Size)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	return body.blame(u.finish(req, desc.Digest))
}

// PutChunks sends the rest of the blob, of which r has desc.Size bytes less [Upload.Offset],
// in chunks, and ends the upload.
func (u *Upload) PutChunks(ctx context.Context, desc v1.Descriptor, r io.Reader) error {
	size := max(u.c.opts.ChunkSize, u.minChunk)
	if size > u.c.opts.MaxChunk {
		return u.abort(ctx, fmt.Errorf("%w: the registry wants chunks of %d bytes, at most %d are allowed", ErrTooLarge, size, u.c.opts.MaxChunk))
	}
	buffer := make([]byte, min(size, max(0, desc.Size-u.offset)))
	for u.offset < desc.Size {
		chunk := buffer[:min(int64(len(buffer)), desc.Size-u.offset)]
		if _, err := io.ReadFull(r, chunk); err != nil {
			return u.abort(ctx, fmt.Errorf("reading the blob: %w", err))
		}
		if err := u.Append(ctx, chunk); err != nil {
			return u.abort(ctx, err)
		}
	}
	if err := u.Commit(ctx, desc.Digest); err != nil {
		return u.abort(ctx, err)
	}
	return nil
}

// Append sends the next bytes of the blob as one chunk. If the registry does not say that
// it has them all, it is asked how many it has, and sent the rest. Chunks but the last
// have to be of the length that the registry asked for: PutChunks minds that.
func (u *Upload) Append(ctx context.Context, chunk []byte) error {
	end := u.offset + int64(len(chunk))
	for stalls := 0; u.offset < end; {
		before := u.offset
		err := u.patch(ctx, bytes.NewReader(chunk[int64(len(chunk))-(end-u.offset):]), end-u.offset)
		if err != nil {
			if ctx.Err() != nil || !u.resumable(err) {
				return err
			}
			if serr := u.sync(ctx); serr != nil {
				return errors.Join(err, serr)
			}
		}
		if u.offset < before || u.offset > end {
			return fmt.Errorf("%w: the registry says that it has %d bytes of the upload", ErrMismatch, u.offset)
		}
		if u.offset > before {
			stalls = 0
			continue
		}
		if stalls++; stalls == maxStalls {
			if err == nil {
				err = fmt.Errorf("%w: the registry stores nothing of the upload", ErrMismatch)
			}
			return err
		}
		if err := backoff.Pause(ctx, backoff.Exponential(stalls)); err != nil {
			return err
		}
	}
	return nil
}

// resumable tells whether a chunk that failed may go on where the registry is: it is
// elsewhere than we thought, or did not say.
func (u *Upload) resumable(err error) bool {
	var answer *Error
	if errors.As(err, &answer) {
		return answer.Status == http.StatusRequestedRangeNotSatisfiable || answer.Status >= 500
	}
	return !errors.Is(err, ErrRefused)
}

// patch sends size bytes of r behind those that are stored.
func (u *Upload) patch(ctx context.Context, r io.Reader, size int64) error {
	req, err := u.request(ctx, http.MethodPatch, "")
	if err != nil {
		return err
	}
	var body lender
	defer body.end()
	body.lend(req, r, size)
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.offset, u.offset+size-1))
	resp, err := u.c.do(req, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err != nil {
		return body.blame(err)
	}
	defer answer.Discard(resp)
	return u.advance(resp, u.offset+size)
}

// sync asks the registry how far it is.
func (u *Upload) sync(ctx context.Context) error {
	req, err := u.request(ctx, http.MethodGet, "")
	if err != nil {
		return err
	}
	resp, err := u.c.do(req, http.StatusNoContent, http.StatusAccepted, http.StatusOK)
	if err != nil {
		return fmt.Errorf("asking how far the upload is: %w", err)
	}
	defer answer.Discard(resp)
	return u.advance(resp, 0)
}

// advance notes where the upload goes on and how far it is: that is by the Range of the
// answer, "0-N" for N+1 bytes, or expected if it has none. For no byte at all registries
// say 0-0, as for one; then what we know counts.
func (u *Upload) advance(resp *http.Response, expected int64) error {
	u.noteMinChunk(resp)
	if location := resp.Header.Get("Location"); location != "" {
		if err := u.move(location); err != nil {
			return err
		}
	}
	value := strings.TrimPrefix(resp.Header.Get("Range"), "bytes=")
	first, last, ok := strings.Cut(value, "-")
	n, err := strconv.ParseInt(last, 10, 64)
	switch {
	case value == "":
		u.offset = max(u.offset, expected)
	case !ok || first != "0" || err != nil || n < -1:
		return fmt.Errorf("%w: the registry says that it has the bytes %q of the upload", ErrMismatch, printable(value))
	case n == 0:
		u.offset = max(u.offset, min(expected, 1))
	default:
		u.offset = n + 1
	}
	return nil
}

// Commit ends the upload: the registry verifies the digest of what it has.
func (u *Upload) Commit(ctx context.Context, dgst digest.Digest) error {
	req, err := u.request(ctx, http.MethodPut, dgst)
	if err != nil {
		return err
	}
	return u.finish(req, dgst)
}

func (u *Upload) finish(req *http.Request, dgst digest.Digest) error {
	resp, err := u.c.do(req, http.StatusCreated, http.StatusNoContent, http.StatusOK)
	if err != nil {
		return err
	}
	defer answer.Discard(resp)
	return checkDigest(resp, dgst)
}

// Cancel makes the registry forget the upload.
func (u *Upload) Cancel(ctx context.Context) error {
	req, err := u.request(ctx, http.MethodDelete, "")
	if err != nil {
		return err
	}
	resp, err := u.c.do(req, http.StatusNoContent, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return err
	}
	answer.Discard(resp)
	return nil
}

// abort cancels the upload because of err, which it returns: the registry would keep what
// it has for days.
func (u *Upload) abort(ctx context.Context, err error) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer cancel()
	_ = u.Cancel(bounded) // it may be over already
	return err
}

// request makes a request to where the upload is; with a digest, one that ends it.
func (u *Upload) request(ctx context.Context, method string, dgst digest.Digest) (*http.Request, error) {
	target := *u.location
	if dgst != "" {
		if err := dgst.Validate(); err != nil {
			return nil, fmt.Errorf("%q is not a digest", dgst)
		}
		query := "digest=" + url.QueryEscape(dgst.String())
		if target.RawQuery != "" {
			query = target.RawQuery + "&" + query // as it is: it may be signed
		}
		target.RawQuery = query
	}
	return http.NewRequestWithContext(WithRepository(ctx, u.repository), method, target.String(), nil)
}

// move goes on at a location, which may be relative to the present one. It has to be of
// the registry: what we send there is the blob and our credential.
func (u *Upload) move(location string) error {
	next, err := u.location.Parse(location)
	if err != nil || location == "" {
		return fmt.Errorf("%w: the registry does not say where the upload goes on", ErrMismatch)
	}
	if answer.Origin(next) != answer.Origin(&u.c.base) {
		return fmt.Errorf("%w: the upload goes on at %s, which is not %s", ErrRefused, answer.Shown(next), u.c.base.String())
	}
	next.User, next.Fragment = nil, ""
	u.location = next
	return nil
}

// refusesMount tells whether a registry may still take an upload.
func refusesMount(err error) bool {
	var answer *Error
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return answer.Status >= 400 && answer.Status < 500 || answer.Status == http.StatusNotImplemented
}
