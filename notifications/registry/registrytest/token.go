package registrytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// What a token server is known by.
const (
	TokenPath    = "/token"
	TokenService = "registry.test"
	tokenIssuer  = "registrytest"
)

// tokenClaims is what a token says, by the names of RFC 7519 and the specification of
// registries' tokens.
type tokenClaims struct {
	Issuer   string       `json:"iss"`
	Subject  string       `json:"sub"`
	Audience string       `json:"aud"`
	Issued   int64        `json:"iat"` // seconds since 1970
	Expires  int64        `json:"exp"`
	Access   []tokenGrant `json:"access"`
}

type tokenGrant struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// TokenOptions says what a token server is like. The zero value gives known users
// everything, everybody else tokens that allow nothing, and takes no POST.
type TokenOptions struct {
	Realm    string        // to name to clients in place of the server's own URL
	Lifetime time.Duration // of tokens; default 5 minutes
	OAuth    bool          // POST with a refresh token is understood, not answered 405
	// Grant says which of the actions a user ("" for nobody) may do on a resource; nil
	// grants known users all.
	Grant func(user, kind, name string, actions []string) []string
}

// A TokenRequest is what a token server was asked.
type TokenRequest struct {
	Method string
	User   string // who it was found to be, "" for nobody
	Scopes []string
}

// A TokenServer issues signed tokens at [TokenPath], as
// https://distribution.github.io/distribution/spec/auth/token/ has it. It is safe for
// concurrent use.
type TokenServer struct {
	opts  TokenOptions
	users map[string]string
	key   *ecdsa.PrivateKey

	mu       sync.Mutex
	requests []TokenRequest
}

func newTokenServer(users map[string]string, opts TokenOptions) (*TokenServer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if opts.Lifetime == 0 {
		opts.Lifetime = 5 * time.Minute
	}
	if opts.Grant == nil {
		opts.Grant = func(user, _, _ string, actions []string) []string {
			if user == "" {
				return nil
			}
			return actions
		}
	}
	return &TokenServer{opts: opts, users: users, key: key}, nil
}

// Requests returns what was asked so far, in order; what was refused is among it.
func (s *TokenServer) Requests() []TokenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// PublicKey is that by which tokens can be verified.
func (s *TokenServer) PublicKey() *ecdsa.PublicKey { return &s.key.PublicKey }

// RefreshToken is what user may send in place of a password, by POST.
func (s *TokenServer) RefreshToken(user string) string { return "refresh " + user }

// ServeHTTP answers GET with Basic credentials or none and, if told to, POST with a
// refresh token.
func (s *TokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && !s.opts.OAuth {
		http.Error(w, "no", http.StatusMethodNotAllowed)
		return
	}
	user, known := s.user(r)
	var scopes []string
	for _, values := range r.Form["scope"] {
		scopes = append(scopes, strings.Fields(values)...)
	}
	s.mu.Lock()
	s.requests = append(s.requests, TokenRequest{r.Method, user, scopes})
	s.mu.Unlock()
	if !known || r.Form.Get("service") != TokenService {
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, http.StatusUnauthorized)
		return
	}
	token, err := s.issue(user, scopes)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	name := "token"
	if r.Method == http.MethodPost {
		name = "access_token"
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{%q:%q,"expires_in":%d,"issued_at":%q}`,
		name, token, int(s.opts.Lifetime.Seconds()), time.Now().UTC().Format(time.RFC3339))
}

// user tells who asks, and whether that is true.
func (s *TokenServer) user(r *http.Request) (string, bool) {
	if err := r.ParseForm(); err != nil {
		return "", false
	}
	if r.Method == http.MethodPost {
		name, ok := strings.CutPrefix(r.PostForm.Get("refresh_token"), "refresh ")
		_, known := s.users[name]
		return name, ok && known && r.PostForm.Get("grant_type") == "refresh_token"
	}
	name, password, ok := r.BasicAuth()
	if !ok {
		return "", true
	}
	want, known := s.users[name]
	return name, known && (password == want || password == s.RefreshToken(name))
}

// issue signs a token for what user may do of the scopes.
func (s *TokenServer) issue(user string, scopes []string) (string, error) {
	granted := []tokenGrant{}
	for _, scope := range scopes {
		kind, rest, _ := strings.Cut(scope, ":")
		i := strings.LastIndexByte(rest, ':')
		if i < 0 {
			continue
		}
		actions := s.opts.Grant(user, kind, rest[:i], strings.Split(rest[i+1:], ","))
		granted = append(granted, tokenGrant{kind, rest[:i], actions})
	}
	now := time.Now()
	return s.sign(tokenClaims{
		Issuer: tokenIssuer, Subject: user, Audience: TokenService,
		Issued: now.Unix(), Expires: now.Add(s.opts.Lifetime).Unix(), Access: granted,
	})
}

// sign makes a JSON web token (RFC 7519) of claims, with ES256.
func (s *TokenServer) sign(claims tokenClaims) (string, error) {
	header, err := json.Marshal(map[string]string{"typ": "JWT", "alg": "ES256"})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(header) + "." + encode(payload)
	sum := sha256.Sum256([]byte(signed))
	x, y, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return "", err
	}
	var signature [64]byte
	x.FillBytes(signature[:32])
	y.FillBytes(signature[32:])
	return signed + "." + encode(signature[:]), nil
}
