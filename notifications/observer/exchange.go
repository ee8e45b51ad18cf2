package observer

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/distribution/reference"
	"github.com/google/uuid"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/observer/route"
)

// An exchange is one request and its answer. It is the http.ResponseWriter of the wrapped
// handler: a change is reported before its status is written, a pull once the handler has
// returned.
type exchange struct {
	observer    *Observer
	w           http.ResponseWriter
	request     *http.Request // a copy, as handlers change what they get, of all but header and body
	route       route.Route
	session     string // the address of the upload it belongs to, "" if that is unknown
	escaped     bool   // the path was spelled with escapes
	operation   operation
	deletion    Deletion // by a vendor's route
	credentials credentials

	body     body   // of the request
	status   int    // of the answer, 0 before it is known
	answer   answer // to a pull
	tee      *tee   // of the answer's body; nil: nobody needs it
	written  int64  // of the answer's body, in bytes
	cut      bool   // not all of the answer could be written
	hijack   bool   // the answer is not HTTP any more
	id       string // of the request record; "" before the first event, and so is who acts
	name     string // of who acts
	verified bool   // that it is who acts
	tagged   uint64 // the generation of the tag when it was asked for

	pushed *manifest // to be remembered when the client has its answer

	kept http.Request // request, here so that no more is allocated
	url  url.URL      // of kept
}

// serve has the wrapped handler answer to w.
func (x *exchange) serve(w http.ResponseWriter) {
	x.w = w
	returned := false
	defer func() { x.finish(returned) }()
	writer := http.ResponseWriter(x)
	if _, ok := w.(io.ReaderFrom); ok && x.operation == pullBlob {
		writer = fromFile{x}
	}
	r := x.request
	x.kept, x.url = *r, *r.URL
	x.kept.URL = &x.url
	x.request = &x.kept
	if x.operation == pullManifest && x.route.Tag != "" {
		x.tagged = x.observer.tags.generation(x.route.Repository, x.route.Tag)
	}
	x.observer.next.ServeHTTP(writer, x.watched(r))
	returned = true
}

// watched returns r for the handler, with a body that tells what was read of it if that
// matters.
func (x *exchange) watched(r *http.Request) *http.Request {
	switch x.operation {
	case pushManifest:
		if !isEncoded(r.Header) {
			x.body.tee = x.observer.buffers.tee()
		}
	case startUpload, patchUpload, finishUpload:
	default:
		return r
	}
	if r.Body == nil || r.ContentLength == 0 { // of HTTP/2 an empty body is not http.NoBody
		x.body.whole = true
		return r
	}
	x.body.src, x.body.length = r.Body, r.ContentLength
	watched := *r
	watched.Body = &x.body
	return &watched
}

// commit notes the answer's status and header. Called again, or for a status that another
// follows, it does nothing.
func (x *exchange) commit(status int) {
	if x.status != 0 || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	x.status = status
	switch x.operation {
	case pullManifest:
		x.beginManifest()
	case pullBlob:
		x.answer = readAnswer(x.w.Header(), status)
	case pushManifest:
		x.manifestPushed()
	case deleteManifest:
		x.manifestDeleted()
	case deleteBlob:
		x.blobDeleted()
	case startUpload:
		x.uploadStarted()
	case patchUpload:
		x.uploadPatched()
	case finishUpload:
		x.uploadFinished()
	case askUpload:
		x.uploadAsked()
	case cancelUpload:
		x.uploadCancelled()
	case deleteByVendor:
		x.deletedByVendor()
	case finishUnknown:
		x.unknownFinished()
	case unread:
		if x.succeeded() {
			x.observer.metrics.unclassified.Inc()
		}
	}
}

// finish reports what is known only when the handler is done. It did not return if it
// panicked.
func (x *exchange) finish(returned bool) {
	if returned && !x.hijack {
		x.commit(http.StatusOK) // which net/http writes for a handler that wrote nothing
	}
	x.cut = x.cut || !returned
	switch x.operation {
	case pullManifest:
		if x.sure() {
			x.manifestPulled()
		}
	case pullBlob:
		if x.sure() {
			x.blobPulled()
		}
	case pushManifest:
		x.learnPushed()
	case patchUpload, finishUpload:
		if x.status == 0 {
			x.uploadFailed()
		}
	}
	x.body.release()
	x.tee.release()
}

// succeeded tells whether the answer is 2xx.
func (x *exchange) succeeded() bool { return x.status/100 == 2 }

// Header implements [http.ResponseWriter].
func (x *exchange) Header() http.Header { return x.w.Header() }

// WriteHeader implements [http.ResponseWriter].
func (x *exchange) WriteHeader(status int) {
	x.commit(status)
	x.w.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (x *exchange) Write(p []byte) (int, error) {
	x.commit(http.StatusOK)
	n, err := x.w.Write(p)
	x.tee.write(p[:n])
	x.wrote(int64(n), err)
	return n, err
}

func (x *exchange) wrote(n int64, err error) {
	x.written += n
	x.cut = x.cut || err != nil
}

// Unwrap is for [http.ResponseController].
func (x *exchange) Unwrap() http.ResponseWriter { return x.w }

// Flush implements [http.Flusher].
func (x *exchange) Flush() { _ = x.FlushError() }

// FlushError is Flush for [http.ResponseController].
func (x *exchange) FlushError() error {
	x.commit(http.StatusOK)
	return http.NewResponseController(x.w).Flush()
}

// Hijack implements [http.Hijacker].
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(x.w).Hijack()
	x.hijack = x.hijack || err == nil
	return conn, rw, err
}

// A fromFile is the writer of a blob, to a server that can copy from a file or a
// connection without reading it.
type fromFile struct{ *exchange }

// ReadFrom implements [io.ReaderFrom]. The status is known only after it: the server writes
// one of its own with the first byte, and the handler another one if there was none.
func (f fromFile) ReadFrom(src io.Reader) (int64, error) {
	n, err := f.w.(io.ReaderFrom).ReadFrom(src)
	if n > 0 {
		f.commit(http.StatusOK)
	}
	f.wrote(n, err)
	return n, err
}

// tell returns a listener that makes the events of this request.
func (x *exchange) tell() notifications.Listener { return x.tellOf(notifications.Remark{}) }

// tellOf returns a listener that makes events of this request of which there is more to say.
func (x *exchange) tellOf(r notifications.Remark) notifications.Listener {
	if x.id == "" {
		x.id = uuid.NewString()
		x.name, x.verified = x.actor()
	}
	r.ActorVerified = x.verified
	b := x.observer.bridge.WithURLs((*address)(x))
	if r != (notifications.Remark{}) {
		b = b.WithRemark(r)
	}
	return b.For(notifications.ActorRecord{Name: x.name},
		notifications.RequestOf(x.id, x.request, x.observer.opts.TrustedProxies...))
}

// ctx is the context of what has to be done for the request after it has succeeded, with
// its values and without its end.
func (x *exchange) ctx() context.Context {
	return context.WithoutCancel(x.request.Context())
}

// together tells of all that one change has done. The events are queued at once, so that
// none of a change that comes after it can stand between them, and then hold the answer back
// no longer than one event does.
func (x *exchange) together(tell func(context.Context)) {
	queued, cancel := context.WithCancel(x.ctx())
	cancel() // nothing waits
	tell(queued)
	x.observer.outbox.Settle(x.ctx())
}

// told takes the error of a listener. What was not recorded the outbox has counted, and
// all else is no reason to do anything.
func (x *exchange) told(err error) {
	if err != nil {
		x.observer.opts.Logger.Debug("event not written", "method", x.request.Method, "path", x.request.URL.Path, "err", err)
	}
}

// An address makes the URLs of an exchange's events, when the first of them is asked for.
type address exchange

func (a *address) urls() notifications.URLBuilder {
	if urls := a.observer.opts.URLs; urls != nil {
		return urls(a.request)
	}
	r := a.request
	if public := a.observer.opts.PublicPath; public != "" {
		asked, u := *r, *r.URL // as its client did
		u.Path = public + u.Path
		asked.URL = &u
		r = &asked
	}
	return notifications.BaseURLOf(r, a.observer.opts.TrustedProxies...)
}

// ManifestURL implements [notifications.URLBuilder].
func (a *address) ManifestURL(ref reference.Canonical) (string, error) {
	return a.urls().ManifestURL(ref)
}

// BlobURL implements [notifications.URLBuilder].
func (a *address) BlobURL(ref reference.Canonical) (string, error) { return a.urls().BlobURL(ref) }

// A named is the name of a repository that has been parsed.
type named string

func (n named) Name() string   { return string(n) }
func (n named) String() string { return string(n) }
