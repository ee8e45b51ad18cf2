package registrytest

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
)

// tokenAccessName is what distribution knows tokenAccess by. Its own "token" would do,
// too, but wants a module more.
const tokenAccessName = "registrytest"

// registerTokenAccess makes tokenAccess known to distribution, whose list of access
// controllers is one for the process and takes a name once.
var registerTokenAccess = sync.OnceValue(func() error {
	return auth.Register(tokenAccessName, func(options map[string]any) (auth.AccessController, error) {
		controller, ok := options["controller"].(auth.AccessController)
		if !ok {
			return nil, errors.New("no access controller is given")
		}
		return controller, nil
	})
})

// A tokenAccess lets those do something in a registry of whom a signed token says that
// they may.
type tokenAccess struct {
	realm string
	key   *ecdsa.PublicKey
}

// Authorized implements distribution's interface: it answers for what distribution says
// that a request needs.
func (a *tokenAccess) Authorized(r *http.Request, wanted ...auth.Access) (*auth.Grant, error) {
	challenge := &tokenChallenge{realm: a.realm, wanted: wanted}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, challenge
	}
	claims, err := a.verify(token)
	if err != nil {
		challenge.code = "invalid_token"
		return nil, challenge
	}
	for _, want := range wanted {
		if !slices.ContainsFunc(claims.Access, func(has tokenGrant) bool {
			return has.Type == want.Type && has.Name == want.Name &&
				(slices.Contains(has.Actions, want.Action) || slices.Contains(has.Actions, "*"))
		}) {
			challenge.code = "insufficient_scope"
			return nil, challenge
		}
	}
	return &auth.Grant{User: auth.UserInfo{Name: claims.Subject}}, nil
}

// verify returns what a token says if it is signed by our server, for us, and has not
// expired.
func (a *tokenAccess) verify(token string) (tokenClaims, error) {
	signed, encoded, _ := cutLast(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(signature) != 64 {
		return tokenClaims{}, errors.New("no signature of ES256")
	}
	sum := sha256.Sum256([]byte(signed))
	x, y := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(a.key, sum[:], x, y) {
		return tokenClaims{}, errors.New("the signature is not ours")
	}
	_, encoded, _ = strings.Cut(signed, ".")
	payload, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return tokenClaims{}, err
	}
	var claims tokenClaims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return tokenClaims{}, err
	}
	if claims.Issuer != tokenIssuer || claims.Audience != TokenService || time.Now().Unix() >= claims.Expires {
		return tokenClaims{}, errors.New("it is not for us, or not any more")
	}
	return claims, nil
}

// A tokenChallenge says what a request lacks.
type tokenChallenge struct {
	realm  string
	wanted []auth.Access
	code   string // of RFC 6750
}

func (c *tokenChallenge) Error() string { return "a token is needed" }

// SetHeaders implements distribution's interface.
func (c *tokenChallenge) SetHeaders(_ *http.Request, w http.ResponseWriter) {
	value := fmt.Sprintf("Bearer realm=%q,service=%q", c.realm, TokenService)
	if scope := c.scope(); scope != "" {
		value += fmt.Sprintf(",scope=%q", scope)
	}
	if c.code != "" {
		value += fmt.Sprintf(",error=%q", c.code)
	}
	w.Header().Add("WWW-Authenticate", value)
}

// scope lists what is wanted, one entry for a resource, in the order of the request.
func (c *tokenChallenge) scope() string {
	var resources []auth.Resource
	actions := make(map[auth.Resource][]string)
	for _, w := range c.wanted {
		if actions[w.Resource] == nil {
			resources = append(resources, w.Resource)
		}
		actions[w.Resource] = append(actions[w.Resource], w.Action)
	}
	var scopes []string
	for _, r := range resources {
		scopes = append(scopes, r.Type+":"+r.Name+":"+strings.Join(actions[r], ","))
	}
	return strings.Join(scopes, " ")
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
