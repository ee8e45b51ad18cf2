package observer

import (
	"net/http"
	"strings"

	"github.com/regcast/regcast/notifications/observer/route"
)

// An operation is what a request asks for, as far as an Observer has to look at its
// answer.
type operation uint8

const (
	none operation = iota
	pullManifest
	pullBlob
	pushManifest
	startUpload
	patchUpload
	finishUpload
	askUpload
	cancelUpload
	deleteManifest
	deleteBlob
	deleteByVendor
	finishUnknown // may be the end of an upload that is not known
	unread        // may change something, at a path that servers read differently
)

// changes tells whether op, if it succeeds, may change what the registry has. A part of an
// upload does not: it is the end that does, and the start is where a client can be told
// best that it is in vain.
func (op operation) changes() bool {
	switch op {
	case pushManifest, startUpload, finishUpload, deleteManifest, deleteBlob, deleteByVendor, finishUnknown, unread:
		return true
	}
	return false
}

// classify returns the exchange of a request whose answer matters, else nil.
func (o *Observer) classify(r *http.Request) *exchange {
	at, session := o.route(r)
	var op operation
	var deletion Deletion
	switch {
	case session != "":
		op = uploadOperation(r.Method)
	case at.Class == route.Manifest:
		op = contentOperation(r.Method, pullManifest, pushManifest, deleteManifest)
	case at.Class == route.Blob:
		op = contentOperation(r.Method, pullBlob, none, deleteBlob)
	case at.Class == route.UploadStart && r.Method == http.MethodPost:
		op = startUpload
	case at.Class == route.UploadStart || at.Class == route.Upload:
		op = uploadOperation(r.Method)
	case at.Class == route.Unclassified:
		op, deletion = o.unclassified(r)
	}
	if op == none {
		return nil
	}
	x := &exchange{observer: o, request: r, route: at, session: session, operation: op, deletion: deletion}
	x.escaped = r.URL.RawPath != ""
	x.credentials = credentialsOf(r)
	return x
}

// route reads the path of r, decoded as Go's servers read it; one that could be decoded
// once more is none. The session is not "" if the registry has named this address as that of
// an upload, whatever it looks like and however it is escaped now.
func (o *Observer) route(r *http.Request) (at route.Route, session string) {
	path, ok := strings.CutPrefix(r.URL.Path, o.opts.Prefix)
	if ok && (r.URL.RawPath == "" || !strings.Contains(path, "%")) {
		at = route.Parse(path)
	}
	switch at.Class {
	case route.Upload, route.Unclassified:
		address, repository, ok := o.sessions.of(r.URL)
		if ok && at.Class == route.Unclassified {
			at = route.Route{Class: route.Upload, Repository: repository}
		}
		session = address
	}
	return at, session
}

func contentOperation(method string, pull, push, del operation) operation {
	switch method {
	case http.MethodGet, http.MethodHead:
		return pull
	case http.MethodPut:
		return push
	case http.MethodDelete:
		return del
	}
	return none
}

func uploadOperation(method string) operation {
	switch method {
	case http.MethodPatch:
		return patchUpload
	case http.MethodPut:
		return finishUpload
	case http.MethodGet:
		return askUpload
	case http.MethodDelete:
		return cancelUpload
	}
	return none
}

// unclassified looks for what vendors delete by routes of their own, and for changes that
// nobody can tell.
func (o *Observer) unclassified(r *http.Request) (operation, Deletion) {
	switch r.Method {
	case http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
	default:
		return none, Deletion{}
	}
	for _, recognize := range o.opts.Extra {
		switch d, ok := recognize(r); {
		case ok && d.sound():
			return deleteByVendor, d
		case ok:
			return unread, Deletion{}
		}
	}
	if r.Method == http.MethodPut && strings.Contains(r.URL.RawQuery, "digest=") {
		return finishUnknown, Deletion{}
	}
	if path, ok := strings.CutPrefix(r.URL.Path, o.opts.Prefix); ok && strings.HasPrefix(path, "/v2/") || resembles(r.URL.Path) {
		return unread, Deletion{}
	}
	return none, Deletion{}
}
