package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// A Token lets a named person or program in.
type Token struct {
	Name  string // for the log of operators' actions
	Role  Role
	Value string // the secret; an empty one matches nothing
}

// A Role is what a token allows.
type Role string

// The roles.
const (
	Read    Role = "read"    // look
	Operate Role = "operate" // look and change
)

// challenge is the WWW-Authenticate of an answer 401 (RFC 6750).
const challenge = `Bearer realm="regcast admin"`

var errNoToken = refusal{http.StatusUnauthorized, "a token of the configuration's [[admin.token]] is needed"}

// authenticate returns the token that r carries as a bearer token (RFC 6750), looking at
// every valid one in constant time. Where there is none at all everybody may do
// everything.
func authenticate(valid []Token, r *http.Request) (Token, error) {
	if len(valid) == 0 {
		return Token{Role: Operate}, nil
	}
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Token{}, errNoToken
	}
	var found *Token
	given := sha256.Sum256([]byte(strings.TrimSpace(value)))
	for i, t := range valid {
		want := sha256.Sum256([]byte(t.Value))
		if subtle.ConstantTimeCompare(given[:], want[:]) == 1 && t.Value != "" {
			found = &valid[i]
		}
	}
	if found == nil {
		return Token{}, errNoToken
	}
	return *found, nil
}

// authorize decides whether r may do what needs the role needed, and returns the name of
// its token.
func authorize(valid []Token, crossOrigin *http.CrossOriginProtection, r *http.Request, needed Role) (string, error) {
	if len(valid) == 0 && !addressedLocally(r.Host) {
		return "", refusal{http.StatusForbidden,
			"without an [[admin.token]] only requests to localhost or to an IP address are answered"}
	}
	token, err := authenticate(valid, r)
	if err != nil {
		return "", err
	}
	if needed == Operate && token.Role != Operate {
		return "", refusal{http.StatusForbidden, "this needs a token with the role operate"}
	}
	if err := crossOrigin.Check(r); err != nil {
		return "", refusal{http.StatusForbidden, "refused: a page of another site asked for this"}
	}
	return token.Name, nil
}

// addressedLocally tells whether a client used no name that somebody else's DNS can
// resolve to us: with such a name a foreign page could make itself ours (DNS rebinding),
// which a token would prevent.
func addressedLocally(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
