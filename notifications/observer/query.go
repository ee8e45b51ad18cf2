package observer

import (
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
)

// param returns the value of a key in a raw query; ok is false if it is not there. What
// servers read differently, a key that is given twice or with a semicolon, has ok but no
// value.
func param(query, key string) (value string, ok bool) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		k, v, _ := strings.Cut(pair, "=")
		if strings.ContainsAny(k, "%+;") {
			if strings.ContainsRune(k, ';') {
				k, _, _ = strings.Cut(k, ";")
			}
			if unescaped, err := url.QueryUnescape(k); err == nil {
				k = unescaped
			}
		}
		if k != key {
			continue
		}
		if ok || strings.ContainsRune(pair, ';') {
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
	if !isDigest(s) {
		return "", ok
	}
	return digest.Digest(s), ok
}
