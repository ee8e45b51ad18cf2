package intake

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"strings"

	"github.com/regcast/regcast/notifications"
)

// maxSender bounds, in bytes, the name of a sender.
const maxSender = 255

// admits tells whether r may hand in events, as far as tokens decide: a client certificate
// is demanded, or not, by the server.
func (h *Handler) admits(r *http.Request) bool {
	if h.opts.Tokens == nil {
		return true
	}
	tokens, anonymous := h.opts.Tokens()
	return anonymous || authorized(r.Header.Get("Authorization"), tokens)
}

// authorized tells whether the value of an Authorization header brings one of tokens. It
// takes the same time whichever token it is, and however much of one is right.
func authorized(header string, tokens []string) bool {
	if header == "" {
		return false
	}
	given := sha256.Sum256([]byte(credential(header)))
	found := 0
	for _, token := range tokens {
		if token == "" {
			continue // an empty file is no credential
		}
		want := sha256.Sum256([]byte(token))
		found |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	return found == 1
}

// credential finds the token in the value of an Authorization header.
func credential(header string) string {
	scheme, rest, found := strings.Cut(header, " ")
	if !found {
		return header
	}
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return rest
	case strings.EqualFold(scheme, "Basic"):
		if pair, err := base64.StdEncoding.DecodeString(rest); err == nil {
			_, password, _ := strings.Cut(string(pair), ":")
			return password
		}
	}
	return header
}

// sender names who sent r: by its verified client certificate, or by address.
func (h *Handler) sender(r *http.Request) string {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		cert := r.TLS.VerifiedChains[0][0]
		if name := cert.Subject.CommonName; name != "" {
			return name[:min(len(name), maxSender)]
		}
		if len(cert.DNSNames) > 0 {
			return cert.DNSNames[0][:min(len(cert.DNSNames[0]), maxSender)]
		}
	}
	addr := r.RemoteAddr
	if len(h.opts.TrustedProxies) > 0 {
		addr = notifications.RequestOf("", r, h.opts.TrustedProxies...).Addr
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr // an address alone, as a proxy reports it
	}
	return host
}
