package observer

import (
	"cmp"
	"net/http"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// mediaTypeBlob is what distribution reports of every blob, and so do we: a registry
// answers with what a manifest calls it, another one with nothing.
const mediaTypeBlob = "application/octet-stream"

// blobPulled reports a pull. As with distribution, an answer without content counts, and so
// does one that the client did not take to its end; see [Parity].
func (x *exchange) blobPulled() {
	switch {
	case x.status == http.StatusOK:
		x.size()
	case x.status == http.StatusPartialContent, x.status == http.StatusNotModified, isRedirect(x.status):
	case x.status == http.StatusPreconditionFailed, x.status == http.StatusRequestedRangeNotSatisfiable:
		if x.observer.opts.Parity != Strict {
			return
		}
	default:
		return
	}
	blob := v1.Descriptor{
		MediaType: mediaTypeBlob,
		Digest:    cmp.Or(x.answer.digest, x.route.Digest),
		Size:      x.answer.size,
	}
	if contradicts(blob.Digest, x.route.Digest) {
		blob.Size = -1
	}
	if blob.Size >= 0 {
		x.observer.descriptors.learn(x.ctx(), x.route.Repository, blob)
	} else {
		x.describe(&blob)
	}
	if x.dropped() {
		return
	}
	x.told(x.tellOf(x.pullRemark()).BlobPulled(x.ctx(), named(x.route.Repository), blob))
}

// describe sets the size of a blob as it is remembered of its repository, else to -1.
func (x *exchange) describe(blob *v1.Descriptor) {
	blob.Size = -1
	if known, _, ok := x.observer.descriptors.stat(x.ctx(), x.route.Repository, blob.Digest); ok {
		blob.Size = known.Size
	}
}

// blobDeleted reports a delete.
func (x *exchange) blobDeleted() {
	if !x.succeeded() {
		return
	}
	x.told(x.tell().BlobDeleted(x.ctx(), named(x.route.Repository), x.route.Digest))
	x.forget(x.route.Digest)
}
