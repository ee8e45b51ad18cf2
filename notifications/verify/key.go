package verify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request: three by the Standard Webhooks specification, v1.0.0,
// and the one that GitHub made common, the usual one of the scheme hmac-sha256.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
	HeaderHub       = "X-Hub-Signature-256"
)

// minSecret is the least length of a secret, in bytes (Standard Webhooks, "Signature
// scheme").
const minSecret = 24

const (
	versionHMAC  = "v1,"     // before a signature in HeaderSignature
	prefixSHA256 = "sha256=" // before one in HeaderHub
	secretBase64 = "whsec_"  // before a secret that is spelled in base64
)

// A Key is a secret that sender and receiver share. It is made by [ParseKey], does not
// print, and is safe for concurrent use.
type Key struct {
	mac func() hash.Hash // holds the secret where nothing can print it
}

// ParseKey returns the key of a secret: "whsec_" and base64, or any other text, whose
// bytes it is then. It needs 24 bytes or more. Its error does not show the secret.
func ParseKey(secret string) (Key, error) {
	key := []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, secretBase64); ok {
		var err error
		if key, err = base64.StdEncoding.Strict().DecodeString(encoded); err != nil {
			return Key{}, errors.New("a secret that begins with whsec_ goes on with base64, and this one does not")
		}
	}
	if strings.HasPrefix(secret, "whsk_") || strings.HasPrefix(secret, "whpk_") {
		return Key{}, errors.New("a secret that begins with whsk_ or whpk_ is of a pair of keys; only shared secrets are supported")
	}
	if len(key) < minSecret {
		return Key{}, fmt.Errorf("a secret of %d bytes is too short: it needs %d", len(key), minSecret)
	}
	return Key{func() hash.Hash { return hmac.New(sha256.New, key) }}, nil
}

// Sign returns the value of [HeaderSignature] for a request with that [HeaderID] and body,
// and at, in unix seconds, as its [HeaderTimestamp]. The id must not contain a dot.
func (k Key) Sign(id string, at time.Time, body []byte) string {
	return versionHMAC + base64.StdEncoding.EncodeToString(k.sum(id, strconv.FormatInt(at.Unix(), 10), body))
}

// SignBody returns the value of [HeaderHub] for a request with that body.
func (k Key) SignBody(body []byte) string {
	return prefixSHA256 + hex.EncodeToString(k.sumBody(body))
}

// Format writes "<secret>", whatever the verb.
func (Key) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "<secret>") // what a fmt.State does with an error, it does itself
}

// sum is the HMAC of what Standard Webhooks sign.
func (k Key) sum(id, timestamp string, body []byte) []byte {
	h := k.mac()
	_, _ = io.WriteString(h, id+"."+timestamp+".") // a hash never fails
	_, _ = h.Write(body)
	return h.Sum(nil)
}

func (k Key) sumBody(body []byte) []byte {
	h := k.mac()
	_, _ = h.Write(body) // a hash never fails
	return h.Sum(nil)
}
