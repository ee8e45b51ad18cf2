package bearer

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications/observer"
)

// Leeway is how far the clock of who issues tokens may be off: that much later they still
// count, and that much earlier already. It is that of distribution's own token
// authentication.
const Leeway = time.Minute

// Options say how an [Identifier] reads tokens. nil is the zero value: subjects as they
// stand.
type Options struct {
	// KeysFile holds the public keys of whoever issues tokens: a JWK set (RFC 7517), or in
	// PEM certificates and public keys, as the file in distribution's rootcertbundle has
	// them. At most 1 MiB and 64 keys. It is read again when it changes; while it cannot be
	// read, tokens name nobody. "": tokens are not verified.
	KeysFile string

	// Audience is for whom a token must be, "" if it may be for anybody. It counts with
	// KeysFile.
	Audience string

	// HashOpaque names a token that is no JSON web token "token:" and the first 8
	// hexadecimal digits of its SHA-256, so that what was done with one token can be told
	// from what was done with others. Otherwise its bearer is not known.
	HashOpaque bool

	Registerer prometheus.Registerer // nil: no metrics
	Logger     *slog.Logger          // nil: nothing is logged
}

// An Identifier names the bearers of tokens. It is safe for concurrent use.
type Identifier struct {
	opts     Options
	file     endpoints.Secret // the content of KeysFile, which is watched as a secret is; nil without
	rejected prometheus.Counter

	mu   sync.Mutex
	text string // of which keys were read
	keys *keys  // nil while the file cannot be read
	err  error  // why
}

// New returns an Identifier. opts may be nil. Errors: KeysFile cannot be read, or has no
// public key that can verify a token.
func New(opts *Options) (*Identifier, error) {
	i := &Identifier{}
	if opts != nil {
		i.opts = *opts
	}
	if i.opts.Logger == nil {
		i.opts.Logger = slog.New(slog.DiscardHandler)
	}
	i.rejected = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "regcast_proxy_rejected_tokens_total",
		Help: "Tokens in requests that made an event which did not verify, so that the event names no actor.",
	})
	if i.opts.KeysFile != "" {
		i.file = endpoints.SecretFile(i.opts.KeysFile)
		if _, err := i.current(); err != nil {
			return nil, err
		}
	}
	if i.opts.Registerer != nil {
		i.opts.Registerer.MustRegister(i.rejected)
	}
	return i, nil
}

// Identify names the bearer of a token that was shown at a time, "" if nobody knows, and
// tells whether that is verified.
func (i *Identifier) Identify(token string, at time.Time) (name string, verified bool) {
	switch {
	case !isJWT(token) && i.opts.HashOpaque:
		sum := sha256.Sum256([]byte(token))
		return "token:" + hex.EncodeToString(sum[:4]), false
	case !isJWT(token):
		return "", false
	case i.file == nil:
		return observer.SubjectOf(token), false
	}
	subject, err := i.verify(token, at)
	if err != nil {
		i.rejected.Inc()
		i.opts.Logger.Debug("a token names nobody", "error", err)
		return "", false
	}
	return subject, subject != ""
}

// isJWT tells whether a token says of itself that it is a signed JSON web token.
func isJWT(token string) bool {
	header, rest, _ := strings.Cut(token, ".")
	if strings.Count(rest, ".") != 1 {
		return false
	}
	decoded, err := base64.RawURLEncoding.DecodeString(header)
	var object map[string]json.RawMessage
	return err == nil && json.Unmarshal(decoded, &object) == nil
}

// algorithms are those by which a token may be signed: none with a key that whoever
// verifies knows, too, and not none at all.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// verify returns the subject of a token that one of the keys has signed and that counts at
// a time.
func (i *Identifier) verify(token string, at time.Time) (string, error) {
	keys, err := i.current()
	if err != nil {
		return "", err
	}
	parsed, err := jwt.ParseSigned(token, algorithms())
	if err != nil {
		return "", errors.New("it cannot be read, or is signed in a way that is not taken") // the error may quote it
	}
	claims, err := keys.claims(parsed, at)
	if err != nil {
		return "", err
	}
	if claims.Expiry == nil {
		return "", errors.New("it would never expire")
	}
	expected := jwt.Expected{Time: at}
	if i.opts.Audience != "" {
		expected.AnyAudience = jwt.Audience{i.opts.Audience}
	}
	return claims.Subject, claims.ValidateWithLeeway(expected, Leeway)
}

// current returns the keys that the file has now. That it cannot be read, and that it can
// again, is logged once.
func (i *Identifier) current() (*keys, error) {
	text, err := i.file()
	i.mu.Lock()
	defer i.mu.Unlock()
	var parsed *keys
	switch {
	case err == nil && i.keys != nil && text == i.text:
		return i.keys, nil
	case err == nil:
		if parsed, err = parseKeys([]byte(text)); err != nil {
			err = fmt.Errorf("%s: %w", i.opts.KeysFile, err)
		}
	}
	switch {
	case err == nil && i.err != nil:
		i.opts.Logger.Info("tokens name actors again", "file", i.opts.KeysFile)
	case err != nil && (i.err == nil || err.Error() != i.err.Error()):
		i.opts.Logger.Error("tokens name nobody, as their keys cannot be read", "error", err)
	}
	i.text, i.keys, i.err = text, parsed, err
	return parsed, err
}

// claims returns what a token says if a key has signed it: one of the file, or that of a
// certificate in the token for which one in the file vouches.
func (k *keys) claims(token *jwt.JSONWebToken, at time.Time) (*jwt.Claims, error) {
	header := token.Headers[0] // the compact form has one
	for _, candidate := range k.list {
		if !candidate.suits(header) {
			continue
		}
		claims := &jwt.Claims{}
		if token.Claims(candidate.public, claims) == nil {
			return claims, nil
		}
	}
	chains, err := header.Certificates(x509.VerifyOptions{
		Roots: k.roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, errors.New("no key has signed it")
	}
	claims := &jwt.Claims{}
	if err := token.Claims(chains[0][0].PublicKey, claims); err != nil {
		return nil, errors.New("the key of its certificate has not signed it")
	}
	return claims, nil
}
