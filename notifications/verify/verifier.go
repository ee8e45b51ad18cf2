package verify

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrMissing says that a request is not signed: a header that must be there is not.
	ErrMissing = errors.New("not signed")

	// ErrTimestamp says that a request is signed well, but too long ago or for too late:
	// somebody repeats it, or a clock is wrong.
	ErrTimestamp = errors.New("timestamp out of tolerance")

	// ErrSignature says that no signature of a request fits any of the secrets.
	ErrSignature = errors.New("no signature fits")
)

// Options are those of a [Verifier]. nil, and the zero value of each field, mean the
// default.
type Options struct {
	Tolerance time.Duration // between a request's timestamp and now, both ways; 0: 5 min
	MaxBody   int64         // that Handler reads, in bytes; 0: 8 MiB

	// Header, if not "", is the header of the scheme hmac-sha256, which the endpoint uses
	// then: usually HeaderHub. Its signatures have no timestamp, so a request may come
	// again at any time.
	Header string
}

const (
	defaultTolerance = 5 * time.Minute
	defaultMaxBody   = 8 << 20
)

// A Verifier checks signatures. It is safe for concurrent use.
type Verifier struct {
	keys []Key
	opts Options
}

// New returns a verifier that accepts what was signed with any of secrets: two while a
// secret is being replaced, one otherwise. Each is as [ParseKey] has it.
// Errors: no secret, or one that is not sound; an option that makes no sense.
func New(secrets []string, opts *Options) (*Verifier, error) {
	v := new(Verifier)
	if opts != nil {
		v.opts = *opts
	}
	if v.opts.Tolerance < 0 || v.opts.MaxBody < 0 {
		return nil, errors.New("verify: a negative tolerance or size of a body")
	}
	if v.opts.Tolerance == 0 {
		v.opts.Tolerance = defaultTolerance
	}
	if v.opts.MaxBody == 0 {
		v.opts.MaxBody = defaultMaxBody
	}
	if len(secrets) == 0 {
		return nil, errors.New("verify: no secret")
	}
	for _, secret := range secrets {
		key, err := ParseKey(secret)
		if err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
		v.keys = append(v.keys, key)
	}
	return v, nil
}

// Verify checks the signature of a request with these headers and this body.
// Errors: [ErrMissing], [ErrSignature], [ErrTimestamp]; all three deserve a 401.
func (v *Verifier) Verify(header http.Header, body []byte) error {
	if v.opts.Header != "" {
		return v.verifyBody(header.Get(v.opts.Header), body)
	}
	id, timestamp := header.Get(HeaderID), header.Get(HeaderTimestamp)
	signatures := header.Values(HeaderSignature)
	switch {
	case id == "":
		return fmt.Errorf("%w: no %s", ErrMissing, strings.ToLower(HeaderID))
	case timestamp == "":
		return fmt.Errorf("%w: no %s", ErrMissing, strings.ToLower(HeaderTimestamp))
	case len(signatures) == 0:
		return fmt.Errorf("%w: no %s", ErrMissing, strings.ToLower(HeaderSignature))
	}
	// What is signed is id, timestamp and body with dots between: with a dot in the id it
	// could be read in more than one way, which is why the specification forbids one.
	if strings.Contains(id, ".") {
		return fmt.Errorf("%w: a dot in the %s", ErrSignature, strings.ToLower(HeaderID))
	}
	seconds, err := strconv.ParseUint(timestamp, 10, 62)
	if err != nil {
		return fmt.Errorf("%w: not a number of seconds", ErrTimestamp)
	}
	if !v.fits(signatures, id, timestamp, body) {
		return ErrSignature
	}
	if off := time.Since(time.Unix(int64(seconds), 0)); off.Abs() > v.opts.Tolerance {
		return fmt.Errorf("%w: %s off, by the clock here", ErrTimestamp, off.Truncate(time.Second))
	}
	return nil
}

// fits tells whether one of the signatures was made with one of the keys.
func (v *Verifier) fits(lists []string, id, timestamp string, body []byte) bool {
	for _, key := range v.keys {
		want := key.sum(id, timestamp, body)
		for _, list := range lists {
			for signature := range signaturesIn(list) {
				if hmac.Equal(signature, want) {
					return true
				}
			}
		}
	}
	return false
}

// signaturesIn yields the signatures of a list that are HMACs. Others, such as those with
// asymmetric keys, and what is no signature at all, are passed over: a sender may add new
// kinds beside the old.
func signaturesIn(list string) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for field := range strings.FieldsSeq(list) {
			encoded, ok := strings.CutPrefix(field, versionHMAC)
			if !ok {
				continue
			}
			if signature, err := base64.StdEncoding.Strict().DecodeString(encoded); err == nil && !yield(signature) {
				return
			}
		}
	}
}

// verifyBody is Verify by the scheme hmac-sha256.
func (v *Verifier) verifyBody(value string, body []byte) error {
	if value == "" {
		return fmt.Errorf("%w: no %s", ErrMissing, v.opts.Header)
	}
	encoded, ok := strings.CutPrefix(value, prefixSHA256)
	signature, err := hex.DecodeString(encoded)
	if !ok || err != nil {
		return ErrSignature
	}
	for _, key := range v.keys {
		if hmac.Equal(signature, key.sumBody(body)) {
			return nil
		}
	}
	return ErrSignature
}
