package endpoints

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/verify"
)

// SigningOptions say how requests are signed. Receivers check them with package verify.
type SigningOptions struct {
	// Secrets are those that verify.ParseKey takes: "whsec_" and base64, or other text, of
	// 24 bytes or more. There is a signature by each, so that a receiver can change from
	// one to the next. None: nothing is signed. At most 8.
	Secrets []Secret

	Scheme string // one of SigningSchemes; "": SchemeStandardWebhooks
	Header string // of SchemeHMACSHA256 alone; "": X-Hub-Signature-256
}

// The schemes of signatures, as [SigningOptions.Scheme] takes them.
const (
	// SchemeStandardWebhooks is that of the Standard Webhooks specification, v1.0.0, with
	// symmetric keys: the headers webhook-id, webhook-timestamp and webhook-signature. The
	// id is the event's, or made of the ids of all events of a batch, and of an id that
	// does not do as one: the same request has the same at each attempt.
	SchemeStandardWebhooks = "standard-webhooks"

	// SchemeHMACSHA256 is GitHub's: one header with the hash of the body, so that there
	// can be one secret only.
	SchemeHMACSHA256 = "hmac-sha256"
)

// SigningSchemes lists the schemes.
func SigningSchemes() []string { return []string{SchemeStandardWebhooks, SchemeHMACSHA256} }

const (
	maxSigningSecrets = 8
	maxPlainID        = 128 // bytes of an event's id that is sent as it is
)

// headers are the names of the headers that a signature is in, none if nothing is signed.
func (s *SigningOptions) headers() []string {
	switch {
	case len(s.Secrets) == 0:
		return nil
	case s.Scheme == SchemeHMACSHA256:
		return []string{http.CanonicalHeaderKey(s.Header)}
	default:
		return []string{verify.HeaderID, verify.HeaderTimestamp, verify.HeaderSignature}
	}
}

func (s *SigningOptions) validate(p *problems) {
	if !slices.Contains(SigningSchemes(), s.Scheme) {
		p.add("signing.scheme", "%q is not one of %s", s.Scheme, strings.Join(SigningSchemes(), ", "))
	}
	if len(s.Secrets) > maxSigningSecrets {
		p.add("signing.secret_files", "%d secrets are more than %d", len(s.Secrets), maxSigningSecrets)
	}
	name := http.CanonicalHeaderKey(s.Header)
	switch {
	case s.Scheme != SchemeHMACSHA256:
		if s.Header != "" {
			p.add("signing.header", "only %s has a header of its own", SchemeHMACSHA256)
		}
	case len(s.Secrets) > 1:
		p.add("signing.secret_files", "%s has room for one signature, and so for one secret", SchemeHMACSHA256)
	case !validHeaderName(name):
		p.add("signing.header", "%q is not a header name", s.Header)
	case ownHeader(name) || slices.Contains([]string{"Authorization", "Content-Type", "Host", "Idempotency-Key", "User-Agent"}, name):
		p.add("signing.header", "%s has another meaning", name)
	}
}

// A signer signs requests with the secrets that there are at the time.
type signer struct {
	opts *SigningOptions

	mu   sync.Mutex
	keys *signingKeys // of the secrets as they were read last
}

// signingKeys are not changed once made.
type signingKeys struct {
	secrets []string
	keys    []verify.Key
}

// newSigner returns nil if nothing is to be signed.
func newSigner(o *SigningOptions) *signer {
	if len(o.Secrets) == 0 {
		return nil
	}
	return &signer{opts: o, keys: new(signingKeys)}
}

// current reads the secrets; the keys are the same as long as they are. Of a nil signer
// it returns nil.
func (s *signer) current() (*signingKeys, error) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	read := &signingKeys{secrets: make([]string, len(s.opts.Secrets))}
	for i, secret := range s.opts.Secrets {
		var err error
		if read.secrets[i], err = secret(); err != nil {
			return nil, fmt.Errorf("signing secret %d: %w", i+1, err)
		}
	}
	if slices.Equal(read.secrets, s.keys.secrets) {
		return s.keys, nil
	}
	for i, secret := range read.secrets {
		key, err := verify.ParseKey(secret)
		if err != nil {
			return nil, fmt.Errorf("signing secret %d: %w", i+1, err)
		}
		read.keys = append(read.keys, key)
	}
	s.keys = read
	return read, nil
}

// sign returns the headers of a request with that batch as its body, made now.
func (s *signer) sign(keys *signingKeys, batch []*notifications.Event, body []byte) []field {
	names := s.opts.headers()
	if s.opts.Scheme == SchemeHMACSHA256 {
		return []field{{names[0], keys.keys[0].SignBody(body)}}
	}
	id, now := requestID(batch), time.Now()
	signatures := make([]string, len(keys.keys))
	for i, key := range keys.keys {
		signatures[i] = key.Sign(id, now, body)
	}
	return []field{
		{names[0], id},
		{names[1], strconv.FormatInt(now.Unix(), 10)},
		{names[2], strings.Join(signatures, " ")},
	}
}

// preview is sign without secrets and time.
func (s *signer) preview(batch []*notifications.Event) []field {
	var fields []field
	for _, name := range s.opts.headers() {
		f := field{name, hiddenValue}
		switch name {
		case verify.HeaderID:
			f.value = requestID(batch)
		case verify.HeaderTimestamp:
			f.value = "<unix seconds of the attempt>"
		}
		fields = append(fields, f)
	}
	return fields
}

// requestID is the webhook-id of a request: the id of a single event, if it is plain, and
// otherwise a hash of all ids.
func requestID(batch []*notifications.Event) string {
	if len(batch) == 1 && isPlainID(batch[0].ID) {
		return batch[0].ID
	}
	h := sha256.New()
	for _, e := range batch {
		var size [8]byte // so that no two lists of ids are the same bytes
		binary.BigEndian.PutUint64(size[:], uint64(len(e.ID)))
		_, _ = h.Write(size[:]) // a hash never fails
		_, _ = io.WriteString(h, e.ID)
	}
	return "sha256-" + hex.EncodeToString(h.Sum(nil))
}

// isPlainID tells whether a sender's id can be a webhook-id. It is visible ASCII, since
// it is a header's value, and has no dot, so that what is signed can be read in one way
// only.
func isPlainID(id string) bool {
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || c == '.' {
			return false
		}
	}
	return id != "" && len(id) <= maxPlainID
}
