// Package answer reads what every answer of a registry or token server may hold, for the
// client and for the transport below it. Both are told things by servers that nobody has
// reason to trust: what is read is bounded, and what is shown of a URL holds no secret.
package answer

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxDrained is how much of an answer that is not used is read, in bytes, so that its
// connection can be used again.
const maxDrained = 64 << 10

// Discard is done with an answer, which may be nil.
func Discard(resp *http.Response) {
	if resp != nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
		resp.Body.Close()
	}
}

// RetryAfter reads the header of that name (RFC 9110 section 10.2.3): seconds or a date.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

// Shown is a URL as it may be shown: queries carry signatures and session state.
func Shown(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return shown.String()
}

// Origin is the scheme, host and port of a URL: where a credential may go.
func Origin(u *url.URL) string {
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = defaultPort(scheme)
	}
	return scheme + "://" + strings.ToLower(net.JoinHostPort(u.Hostname(), port))
}

func defaultPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}
