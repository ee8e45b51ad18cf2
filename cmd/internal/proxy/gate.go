package proxy

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/regcast/regcast/notifications/observer/route"
)

// admit returns r as it goes on, with ctx, or why it does not.
//
// What an observer would read differently from some registry is refused: a push or a pull
// that is spelled so that we do not see it would be one without an event. A read with
// escapes that decode to a clean path passes as it is, as some clients escape the colon of
// a digest; it is never cached, and an event if the answer names the digest.
func (p *Proxy) admit(ctx context.Context, r *http.Request) (*http.Request, *refusal) {
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return nil, &refusal{http.StatusMethodNotAllowed, codeUnsupported, "the method is not supported"}
	case !strings.HasPrefix(r.URL.Path, "/"):
		return nil, &refusal{http.StatusBadRequest, codeUnsupported, "the request is not for a path"}
	case len(r.Header["Authorization"]) > 1:
		return nil, &refusal{http.StatusBadRequest, codeUnauthorized, "more than one Authorization header"}
	case slices.ContainsFunc(r.Header["Via"], func(via string) bool { return strings.Contains(via, p.via) }):
		return nil, &refusal{http.StatusLoopDetected, codeUnavailable, "the proxy is its own registry"}
	case hidden(r.URL) && (mutates(r.Method) || route.Parse(r.URL.Path).Class == route.Unclassified):
		return nil, &refusal{http.StatusBadRequest, codeUnsupported, "the path is not spelled as the distribution specification has it"}
	}
	out := r.WithContext(ctx)
	out.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	out.Header = endToEnd(r.Header)
	return out, nil
}

// mutates tells whether a request of that method may change something.
func mutates(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return true
}

// hidden tells whether a server that is generous with spelling could take u for a route
// of content other than [route.Parse] does: one that decodes escapes (once more),
// ignores parameters of segments, or resolves dots and empty segments. A path with escapes
// is hidden even if it is the same route when they are decoded, but for the session of an
// upload, which is the registry's word.
//
// Only what is below /v2/ then is judged. A path that ends in manifests/<tag> elsewhere can
// be one of a registry's own API or of another kind of package, and goes through; if it
// changes something, the observer counts it or, while changes are refused, refuses it.
func hidden(u *url.URL) bool {
	at := route.Parse(u.Path)
	if u.RawPath == "" && at.Class != route.Unclassified && at.Class != route.Upload {
		return false
	}
	escaped := u.RawPath != "" &&
		(at.Class != route.Upload || !strings.HasPrefix(u.RawPath, strings.TrimSuffix(u.Path, at.Session)))
	plain := route.Parse(spelled(u.Path))
	switch plain.Class {
	case route.UploadStart, route.Upload, route.Blob, route.Manifest:
		plain.Session, at.Session = "", ""
		return escaped || plain != at
	}
	return false
}

// spelled returns the path that the most generous server could make of one.
func spelled(p string) string {
	for range 3 {
		decoded, err := url.PathUnescape(p)
		if err != nil || decoded == p {
			break
		}
		p = decoded
	}
	segments := strings.Split(strings.ReplaceAll(p, `\`, "/"), "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return path.Clean("/" + strings.Join(segments, "/"))
}

// hopByHop are the headers of a connection (RFC 9110, section 7.6.1, and what RFC 2616
// had), which Connection may add to.
func hopByHop() []string {
	return []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade"}
}

// endToEnd returns h without what is meant for the connection alone. What is left is what
// the registry gets: an observer that saw an Authorization header which Connection takes
// away would name an actor whom the registry never saw.
func endToEnd(h http.Header) http.Header {
	var names []string
	for _, name := range hopByHop() {
		if _, ok := h[name]; ok {
			names = append(names, name)
		}
	}
	if names == nil {
		return h
	}
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			names = append(names, textproto.TrimString(name))
		}
	}
	trailers := takesTrailers(h["Te"])
	h = h.Clone()
	for _, name := range names {
		h.Del(name)
	}
	if trailers {
		h.Set("Te", "trailers") // which the transport sends on: it takes them, too
	}
	return h
}

func takesTrailers(te []string) bool {
	for _, list := range te {
		for coding := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(textproto.TrimString(coding), "trailers") {
				return true
			}
		}
	}
	return false
}
