package observer

import (
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/internal/names"
)

// param returns the value of a key in a raw query; ok is false if it is not there. A key
// that is given twice has ok and no value, as servers choose differently. Of a query with a
// semicolon, which separates parameters for some of them, nothing is taken.
func param(query, key string) (value string, ok bool) {
	if strings.ContainsRune(query, ';') {
		return "", false
	}
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		k, v, _ := strings.Cut(pair, "=")
		if strings.ContainsAny(k, "%+") {
			if unescaped, err := url.QueryUnescape(k); err == nil {
				k = unescaped
			}
		}
		if k != key {
			continue
		}
		if ok {
			return "", true
		}
		ok = true
		var err error
		if value, err = url.QueryUnescape(v); err != nil {
			return "", true
		}
	}
	return value, ok
}

// paramDigest is param for a digest, which has no value if it does not parse either.
func paramDigest(query, key string) (value digest.Digest, ok bool) {
	s, ok := param(query, key)
	if !names.IsDigest(s) {
		return "", ok
	}
	return digest.Digest(s), ok
}
