package bearer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// maxKeys bounds the keys of a file: a token that names none of them is tried with each.
const maxKeys = 64

// keys are the public keys of a file, and its certificates, which may vouch for others.
type keys struct {
	list  []key
	roots *x509.CertPool // never nil, which would be the system's
}

// A key may say which tokens it is for.
type key struct {
	public    crypto.PublicKey
	id        string // "" for any
	algorithm string // "" for any that suits its type
}

// suits tells whether a token with a header may be signed with k. One that names a key is
// for that alone, as far as keys have names.
func (k key) suits(header jose.Header) bool {
	return (k.id == "" || header.KeyID == "" || k.id == header.KeyID) &&
		(k.algorithm == "" || k.algorithm == header.Algorithm)
}

// parseKeys reads a JWK set or PEM.
func parseKeys(text []byte) (*keys, error) {
	k := &keys{roots: x509.NewCertPool()}
	read := k.readPEM
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		read = k.readSet
	}
	if err := read(text); err != nil {
		return nil, err
	}
	switch n := len(k.list); {
	case n == 0:
		return nil, errors.New("no public key in it")
	case n > maxKeys:
		return nil, fmt.Errorf("%d keys in it; the limit is %d", n, maxKeys)
	}
	return k, nil
}

// readSet reads a JWK set. As RFC 7517, section 5, has it, keys of types that are not known
// are left out; so are those that are not for signatures, or are no public ones.
func (k *keys) readSet(text []byte) error {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return fmt.Errorf("not a JWK set: %w", err)
	}
	for n, raw := range set.Keys {
		var jwk jose.JSONWebKey
		err := json.Unmarshal(raw, &jwk)
		switch {
		case errors.Is(err, jose.ErrUnsupportedKeyType):
			continue
		case err != nil:
			return fmt.Errorf("key %d of the set cannot be read", n) // the error may quote a private one
		}
		if jwk.Use == "enc" || !jwk.IsPublic() || !verifies(jwk.Key) {
			continue
		}
		k.list = append(k.list, key{jwk.Key, jwk.KeyID, jwk.Algorithm})
	}
	return nil
}

// readPEM reads certificates and public keys.
func (k *keys) readPEM(text []byte) error {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var public crypto.PublicKey
		var err error
		switch block.Type {
		case "CERTIFICATE":
			var certificate *x509.Certificate
			if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
				k.roots.AddCert(certificate)
				public = certificate.PublicKey
			}
		case "PUBLIC KEY":
			public, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			public, err = x509.ParsePKCS1PublicKey(block.Bytes)
		default:
			return fmt.Errorf("%s in it, and neither a CERTIFICATE nor a PUBLIC KEY", block.Type)
		}
		if err != nil {
			return fmt.Errorf("reading a %s: %w", block.Type, err)
		}
		if !verifies(public) {
			return fmt.Errorf("a %s of %T, with which no token is signed", block.Type, public)
		}
		k.list = append(k.list, key{public: public})
	}
	return nil
}

// verifies tells whether tokens are signed with keys of the type of public.
func verifies(public crypto.PublicKey) bool {
	switch public.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}
