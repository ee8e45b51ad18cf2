package cache

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regcast/regcast/notifications/observer/route"
)

// A question is a request that may be answered from the cache.
type question struct {
	route route.Route
	head  bool
	fresh bool      // the client wants no old answer
	keys  []string  // of answers to it, that of its own first
	until time.Time // its credentials are good for; zero if they do not say

	elsewhere bool // it is about a repository of that name in another registry
	personal  bool // only who shows the same credentials asks it
}

// own is the key under which the answer to the question itself is kept.
func (q *question) own() string { return q.keys[0] }

// ask tells whether r may be answered from the cache.
func (c *Cache) ask(r *http.Request, at route.Route) (*question, bool) {
	q := &question{route: at, head: r.Method == http.MethodHead}
	switch {
	case r.ContentLength != 0 || r.Header["Range"] != nil || r.Header["Cookie"] != nil:
		return nil, false
	case at.Class == route.Blob && q.head:
	case (at.Class == route.Tags || at.Class == route.Manifest) && (q.head || r.Method == http.MethodGet):
	default:
		return nil, false
	}
	query, ok := normalQuery(r.URL.RawQuery)
	if !ok || !q.control(r.Header) {
		return nil, false
	}
	q.elsewhere = strings.HasPrefix(query, "ns=") || strings.Contains(query, "&ns=")
	who, ok := c.identity(r, q)
	if !ok {
		return nil, false
	}
	address := c.opts.Address(r)
	key := func(method string) string {
		b := make([]byte, 0, 1<<10)
		for _, part := range [...]string{method, who, c.opts.As, r.Host, address, r.URL.Path, query} {
			b = binary.LittleEndian.AppendUint64(b, uint64(len(part)))
			b = append(b, part...)
		}
		sum := sha256.Sum256(appendAccept(b, r.Header["Accept"]))
		return hex.EncodeToString(sum[:])
	}
	q.keys = []string{key(r.Method)}
	if q.head && at.Class != route.Blob {
		q.keys = append(q.keys, key(http.MethodGet)) // whose answer has all that HEAD's has
	}
	return q, true
}

// control heeds what the client says of caches (RFC 9111, section 5.2.1), as far as
// clients do, and refuses preconditions other than the one of a registry's clients.
func (q *question) control(h http.Header) bool {
	for _, name := range []string{"If-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"} {
		if h[name] != nil {
			return false
		}
	}
	for _, list := range slices.Concat(h["Cache-Control"], h["Pragma"]) {
		for directive := range strings.SplitSeq(strings.ToLower(list), ",") {
			switch textproto.TrimString(directive) {
			case "no-store":
				return false
			case "no-cache", "max-age=0":
				q.fresh = true
			}
		}
	}
	return true
}

// normalQuery returns a query in one of the ways to spell it, if all servers read it
// alike.
func normalQuery(raw string) (string, bool) {
	if raw == "" {
		return "", true
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return "", false
	}
	for _, v := range values {
		if len(v) != 1 {
			return "", false
		}
	}
	return values.Encode(), true
}

// appendAccept appends what a client accepts, as one list. Its order stays: a registry may
// take the first.
func appendAccept(b []byte, lists []string) []byte {
	for _, list := range lists {
		for t := range strings.SplitSeq(list, ",") {
			if t = textproto.TrimString(t); t != "" {
				b = append(append(b, strings.ToLower(t)...), ',')
			}
		}
	}
	return b
}

// The identities that are shared: no hash is like them.
const (
	anybody = "anybody"
	nobody  = "nobody"
)

// identity returns in whose name r asks; ok is false if that shares nothing, not even
// with itself. Whatever else a client sends that we do not know to be neutral may be what
// it is known by.
func (c *Cache) identity(r *http.Request, q *question) (who string, ok bool) {
	for _, glob := range c.opts.Public {
		if glob.Match(q.route.Repository) && !q.elsewhere {
			return anybody, true
		}
	}
	var names []string
	for name := range r.Header {
		if !neutral(name) {
			names = append(names, name)
		}
	}
	if names == nil {
		return nobody, c.opts.Anonymous
	}
	if r.Header["Authorization"] == nil {
		return "", false
	}
	q.personal = true
	q.until = expiry(r.Header.Get("Authorization"))
	slices.Sort(names)
	sum := sha256.New()
	for _, name := range names {
		for _, v := range r.Header[name] {
			var length [8]byte
			binary.LittleEndian.PutUint64(length[:], uint64(len(v)))
			sum.Write([]byte(name))
			sum.Write(length[:])
			sum.Write([]byte(v))
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), true
}

// neutral tells whether a header has nothing to do with who asks, or is in the key
// already. Of what proxies in front of us add, that is the way the request took: others
// of that name, such as X-Forwarded-User, tell whom they have authenticated.
func neutral(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma", "User-Agent", "If-None-Match", "Te", "Via",
		"Forwarded", "X-Real-Ip", "X-Request-Id", "Traceparent", "Tracestate", "Content-Length", "Content-Type", "Referer",
		"Docker-Distribution-Api-Version", "X-Meta-Source-Client",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server":
		return true
	}
	return false
}

// expiry returns when a JSON web token ends (RFC 7519, section 4.1.4), as far as it says
// so: the registry would refuse it then. The zero time is none.
func expiry(authorization string) time.Time {
	scheme, token, _ := strings.Cut(authorization, " ")
	parts := strings.Split(token, ".")
	if !strings.EqualFold(scheme, "Bearer") || len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return time.Time{}
	}
	var claims struct{ Exp float64 }
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Exp <= 0 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Exp), 0)
}

// matches tells whether If-None-Match names etag. distribution takes a digest without its
// quotes, too.
func matches(lists []string, etag string) bool {
	etag = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
	if etag == "" {
		return false
	}
	for _, list := range lists {
		for tag := range strings.SplitSeq(list, ",") {
			tag = textproto.TrimString(tag)
			if tag == "*" || strings.Trim(strings.TrimPrefix(tag, "W/"), `"`) == etag {
				return true
			}
		}
	}
	return false
}
