package bearer_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/regcast/regcast/cmd/internal/proxy/bearer"
)

// now is when the tokens of the tests are shown.
func now() time.Time { return time.Date(2026, time.August, 18, 9, 30, 0, 0, time.UTC) }

// at is a time in a claim.
func at(d time.Duration) *jwt.NumericDate { return jwt.NewNumericDate(now().Add(d)) }

// alice is what a token says that counts.
func alice() jwt.Claims {
	return jwt.Claims{Subject: "alice", Audience: jwt.Audience{"registry", "another"}, Expiry: at(time.Minute), NotBefore: at(-time.Minute), IssuedAt: at(-time.Minute)}
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a token. header is more of its header than the algorithm.
func sign(t testing.TB, algorithm jose.SignatureAlgorithm, key any, claims any, header map[jose.HeaderKey]any) string {
	t.Helper()
	opts := (&jose.SignerOptions{ExtraHeaders: header}).WithType("JWT")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// publicPEM is what openssl writes of a public key.
func publicPEM(t testing.TB, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// certify has parent, nil for itself, sign a certificate of key.
func certify(t testing.TB, key *ecdsa.PrivateKey, parent *x509.Certificate, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tokens"},
		NotBefore: now().Add(-time.Hour), NotAfter: now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if parent == nil {
		parent, by = template, key
	} else {
		template.Subject.CommonName = "issuer"
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func certificatePEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func jwkSet(t testing.TB, keys ...jose.JSONWebKey) string {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// identifier makes one with keys in a file, none if there are no keys.
func identifier(t testing.TB, keys string, opts bearer.Options) *bearer.Identifier {
	t.Helper()
	if keys != "" {
		opts.KeysFile = filepath.Join(t.TempDir(), "keys")
		write(t, opts.KeysFile, keys)
	}
	i, err := bearer.New(&opts)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Whoever is named is who the keys say it is, at the time when the token was shown.
func TestIdentify(t *testing.T) {
	ec, other, p384 := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := certify(t, ec, nil, nil)
	leafKey := ecKey(t, elliptic.P256())
	leaf := certify(t, leafKey, root, ec)
	foreign := certify(t, other, nil, nil)
	chain := func(c *x509.Certificate) map[jose.HeaderKey]any {
		return map[jose.HeaderKey]any{"x5c": []string{base64.StdEncoding.EncodeToString(c.Raw)}}
	}
	kid := func(id string) map[jose.HeaderKey]any { return map[jose.HeaderKey]any{"kid": id} }
	public := publicPEM(t, ec.Public())
	every := public + publicPEM(t, p384.Public()) + publicPEM(t, rsaKey.Public()) + publicPEM(t, edPublic)
	set := jwkSet(t, jose.JSONWebKey{Key: ec.Public(), KeyID: "a", Algorithm: "ES256", Use: "sig"}, jose.JSONWebKey{Key: other.Public(), KeyID: "b"},
		jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "c", Use: "enc"}, jose.JSONWebKey{Key: []byte("a symmetric key of a set, 32 byte"), KeyID: "d"})
	claims := func(change func(*jwt.Claims)) jwt.Claims {
		c := alice()
		change(&c)
		return c
	}
	good := sign(t, jose.ES256, ec, alice(), nil)
	parts := strings.Split(good, ".")
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	forged := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"root","exp":99999999999}`)) + "." + parts[2]
	audience := bearer.Options{Audience: "registry"}

	for _, tc := range []struct {
		name, keys string
		opts       bearer.Options
		token      string
		want       string
		verified   bool
	}{
		{"signed", public, bearer.Options{}, good, "alice", true},
		{"ES384", every, bearer.Options{}, sign(t, jose.ES384, p384, alice(), nil), "alice", true},
		{"RS256", every, bearer.Options{}, sign(t, jose.RS256, rsaKey, alice(), nil), "alice", true},
		{"PS512", every, bearer.Options{}, sign(t, jose.PS512, rsaKey, alice(), nil), "alice", true},
		{"EdDSA", every, bearer.Options{}, sign(t, jose.EdDSA, edKey, alice(), nil), "alice", true},
		{"by another key", public, bearer.Options{}, sign(t, jose.ES256, other, alice(), nil), "", false},
		{"with other claims than were signed", public, bearer.Options{}, forged, "", false},
		{"not signed", public, bearer.Options{}, unsigned, "", false},
		{"with a key that everybody knows", public, bearer.Options{}, sign(t, jose.HS256, []byte(public), alice(), nil), "", false},
		{"with a symmetric key of the set", set, bearer.Options{}, sign(t, jose.HS256, []byte("a symmetric key of a set, 32 byte"), alice(), kid("d")), "", false},
		{"without a subject", public, bearer.Options{}, sign(t, jose.ES256, ec, claims(func(c *jwt.Claims) { c.Subject = "" }), nil), "", false},

		{"expired", public, bearer.Options{}, sign(t, jose.ES256, ec, claims(func(c *jwt.Claims) { c.Expiry = at(-2 * time.Minute) }), nil), "", false},
		{"expired by a clock that is a little off", public, bearer.Options{}, sign(t, jose.ES256, ec, claims(func(c *jwt.Claims) { c.Expiry = at(-30 * time.Second) }), nil), "alice", true},
		{"for ever", public, bearer.Options{}, sign(t, jose.ES256, ec, claims(func(c *jwt.Claims) { c.Expiry = nil }), nil), "", false},
		{"not yet", public, bearer.Options{}, sign(t, jose.ES256, ec, claims(func(c *jwt.Claims) { c.NotBefore = at(2 * time.Minute) }), nil), "", false},

		{"for this registry", public, audience, good, "alice", true},
		{"for another", public, audience, sign(t, jose.ES256, ec, claims(func(c *jwt.Claims) { c.Audience = jwt.Audience{"elsewhere"} }), nil), "", false},
		{"for nobody in particular", public, audience, sign(t, jose.ES256, ec, claims(func(c *jwt.Claims) { c.Audience = nil }), nil), "", false},

		{"by a key of a set, named", set, bearer.Options{}, sign(t, jose.ES256, other, alice(), kid("b")), "alice", true},
		{"by a key of a set, not named", set, bearer.Options{}, sign(t, jose.ES256, other, alice(), nil), "alice", true},
		{"by another key of a set than is named", set, bearer.Options{}, sign(t, jose.ES256, other, alice(), kid("a")), "", false},
		{"by a key that PEM does not name", public, bearer.Options{}, sign(t, jose.ES256, ec, alice(), kid("a")), "alice", true},
		{"by a key that is for encryption", set, bearer.Options{}, sign(t, jose.RS256, rsaKey, alice(), kid("c")), "", false},

		{"by the key of a certificate", certificatePEM(root), bearer.Options{}, good, "alice", true},
		{"by a certificate in it, for which one vouches", certificatePEM(root), bearer.Options{}, sign(t, jose.ES256, leafKey, alice(), chain(leaf)), "alice", true},
		{"by a certificate in it, for which none vouches", certificatePEM(root), bearer.Options{}, sign(t, jose.ES256, other, alice(), chain(foreign)), "", false},
		{"by a certificate in it, and there is none in the file", public, bearer.Options{}, sign(t, jose.ES256, leafKey, alice(), chain(leaf)), "", false},
		{"by another key than that of the certificate in it", certificatePEM(root), bearer.Options{}, sign(t, jose.ES256, other, alice(), chain(leaf)), "", false},
		{"by a key that it brings along", public, bearer.Options{}, sign(t, jose.ES256, other, alice(), map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: other.Public()}}), "", false},

		{"opaque", public, bearer.Options{}, "ghp_abcdef", "", false},
		{"opaque, hashed", public, bearer.Options{HashOpaque: true}, "ghp_abcdef", "token:2a36681b", false},
		{"opaque, hashed, without keys", "", bearer.Options{HashOpaque: true}, "ghp_abcdef", "token:2a36681b", false},
		{"opaque, of three parts", "", bearer.Options{HashOpaque: true}, "a.b.c", "token:845e3044", false},
		{"signed by who knows whom, without keys", "", bearer.Options{HashOpaque: true}, forged, "root", false},
		{"without a subject and without keys", "", bearer.Options{HashOpaque: true}, sign(t, jose.ES256, ec, jwt.Claims{}, nil), "", false},
		{"forged, and not taken for an opaque one", public, bearer.Options{HashOpaque: true}, forged, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name, verified := identifier(t, tc.keys, tc.opts).Identify(tc.token, now())
			if name != tc.want || verified != tc.verified {
				t.Errorf("is by %q, verified %v; want %q, %v", name, verified, tc.want, tc.verified)
			}
		})
	}
}

func TestKeysThatCannotBeRead(t *testing.T) {
	ec := ecKey(t, elliptic.P256())
	private, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ keys, want string }{
		"empty":       {" \n", "no secret in it"},
		"no PEM":      {"ssh-ed25519 AAAA", "no public key in it"},
		"private":     {string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})), "EC PRIVATE KEY in it, and neither"},
		"torn":        {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "reading a CERTIFICATE: "},
		"no set":      {"{", "not a JWK set"},
		"empty set":   {`{"keys":[]}`, "no public key in it"},
		"no key":      {`{"keys":[{}]}`, "key 0 of the set cannot be read"},
		"a symmetric": {jwkSet(t, jose.JSONWebKey{Key: []byte("secret")}), "no public key in it"},
		"a private":   {jwkSet(t, jose.JSONWebKey{Key: ec}), "no public key in it"},
		"unknown":     {`{"keys":[{"kty":"OKP","crv":"X25519","x":"AA"}]}`, "no public key in it"},
		"too many":    {strings.Repeat(publicPEM(t, ec.Public()), 65), "65 keys in it; the limit is 64"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "keys")
			write(t, file, tc.keys)
			_, err := bearer.New(&bearer.Options{KeysFile: file})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v, want %q of %s", err, tc.want, file)
			}
		})
	}
	if _, err := bearer.New(&bearer.Options{KeysFile: filepath.Join(t.TempDir(), "none")}); !os.IsNotExist(err) {
		t.Errorf("without a file: %v", err)
	}
}

// A key that is replaced counts from then on, and one that is gone does not.
func TestKeysAreReadAgain(t *testing.T) {
	before, after := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	file := filepath.Join(t.TempDir(), "keys")
	write(t, file, publicPEM(t, before.Public()))
	var log bytes.Buffer
	i, err := bearer.New(&bearer.Options{KeysFile: file, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	by := func(key *ecdsa.PrivateKey) string {
		name, _ := i.Identify(sign(t, jose.ES256, key, alice(), nil), now())
		return name
	}
	state := func() string { return fmt.Sprintf("%q %q", by(before), by(after)) }
	for _, step := range []struct{ keys, want string }{
		{publicPEM(t, before.Public()), `"alice" ""`},
		{publicPEM(t, after.Public()), `"" "alice"`},
		{"half a f", `"" ""`},
		{"half a f", `"" ""`},
		{publicPEM(t, before.Public()) + publicPEM(t, after.Public()), `"alice" "alice"`},
	} {
		write(t, file, step.keys)
		if got := state(); got != step.want {
			t.Errorf("with %q: %s, want %s", step.keys, got, step.want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := state(); got != `"" ""` {
		t.Errorf("without the file: %s", got)
	}
	if bad, good := strings.Count(log.String(), "level=ERROR"), strings.Count(log.String(), "level=INFO"); bad != 2 || good != 1 {
		t.Errorf("logged %d errors and %d recoveries:\n%s", bad, good, &log)
	}
}

// FuzzIdentify looks for tokens that verify although nobody has signed them, and for files
// of keys that are not refused in order.
func FuzzIdentify(f *testing.F) {
	i := identifier(f, publicPEM(f, ecKey(f, elliptic.P256()).Public()), bearer.Options{HashOpaque: true})
	for _, token := range []string{
		"", ".", "..", "a.b.c", "e30.e30.", "e30.eyJzdWIiOiJhIn0.c2ln",
		sign(f, jose.ES256, ecKey(f, elliptic.P256()), alice(), nil),
		"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
	} {
		f.Add(token, token)
	}
	f.Add("", `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`)
	f.Add("", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
	file := filepath.Join(f.TempDir(), "keys")
	f.Fuzz(func(t *testing.T, token, keys string) {
		if name, verified := i.Identify(token, now()); verified {
			t.Errorf("%q is verified as %q", token, name)
		}
		write(t, file, keys)
		_, _ = bearer.New(&bearer.Options{KeysFile: file})
	})
}
