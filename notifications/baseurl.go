package notifications

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/distribution/reference"
)

// A BaseURL is where clients reach a registry: scheme, host and the path, if any, before
// /v2/. It is a [URLBuilder]. The zero value has no URL to give.
type BaseURL struct {
	root string // with its slash at the end
}

// ParseBaseURL reads an absolute http or https URL. Its path is kept, whether it ends
// with a slash or not; it may have no user, query or fragment.
func ParseBaseURL(s string) (BaseURL, error) {
	u, err := url.Parse(s)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // the URL may hold a password
		}
		return BaseURL{}, fmt.Errorf("base url: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return BaseURL{}, errors.New("base url: scheme is not http or https")
	case u.Host == "":
		return BaseURL{}, errors.New("base url: no host")
	case u.User != nil:
		return BaseURL{}, errors.New("base url: has a user")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return BaseURL{}, errors.New("base url: has a query or fragment")
	}
	return newBaseURL(u), nil
}

// BaseURLOf tells where the client of r reached the registry: by its Host header, and in
// which scheme, and with the path that comes before /v2/. If the peer's address lies in
// trusted, what it says in X-Forwarded-Proto and X-Forwarded-Host (or else Forwarded,
// RFC 7239) is believed, as far as it comes from proxies in trusted: see [RequestOf]. A
// proxy that passes on such a header as its client sent it must not be trusted. What is no
// host gives the zero value.
func BaseURLOf(r *http.Request, trusted ...netip.Prefix) BaseURL {
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	f := forwardingOf(r, trusted)
	if f.proto != "" {
		scheme = f.proto
	}
	if f.host != "" {
		host = f.host
	}
	if !isHost(host) {
		return BaseURL{}
	}
	if i := strings.Index(r.URL.Path, "/v2/"); i > 0 {
		return newBaseURL(&url.URL{Scheme: scheme, Host: host, Path: r.URL.Path[:i]})
	}
	return BaseURL{scheme + "://" + host + "/"}
}

func newBaseURL(u *url.URL) BaseURL {
	return BaseURL{strings.TrimRight(u.String(), "/") + "/"}
}

// String returns the URL, with a slash at its end; "" for the zero value.
func (b BaseURL) String() string { return b.root }

// ManifestURL returns the URL of the manifest with ref's digest.
func (b BaseURL) ManifestURL(ref reference.Canonical) (string, error) {
	return b.build(ref, "/manifests/")
}

// BlobURL returns the URL of the blob with ref's digest.
func (b BaseURL) BlobURL(ref reference.Canonical) (string, error) {
	return b.build(ref, "/blobs/")
}

func (b BaseURL) build(ref reference.Canonical, route string) (string, error) {
	if b.root == "" {
		return "", errors.New("no base url")
	}
	return b.root + "v2/" + ref.Name() + route + ref.Digest().String(), nil
}
