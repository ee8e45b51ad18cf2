package observer

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of a credential that is read and of the name in it, in bytes.
const (
	maxToken = 16 << 10
	maxActor = 255
)

// credentials is a request's Authorization, taken before the registry's handler can
// replace it; "" if there is none or who acts cannot be told from it.
type credentials string

func credentialsOf(r *http.Request) credentials {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return ""
	}
	for _, options := range r.Header["Connection"] {
		for option := range strings.SplitSeq(options, ",") {
			// A proxy removes it on the way (RFC 9110 section 7.6.1), so that the registry
			// may see somebody without credentials.
			if strings.EqualFold(strings.Trim(option, " \t"), "Authorization") {
				return ""
			}
		}
	}
	return credentials(values[0])
}

// actor names who has made the request, and tells whether that is verified. It is asked
// only of answers that are events, and so neither 401 nor 403. One whose name is too long or
// no text is nobody.
func (x *exchange) actor() (name string, verified bool) {
	if named := x.observer.opts.Actor; named != nil {
		name, verified = named(x.request)
	} else {
		name, verified = x.credentials.user(func(token string) (string, bool) {
			if named := x.observer.opts.Bearer; named != nil {
				return named(x.request, token)
			}
			return SubjectOf(token), false
		})
	}
	if name == "" || len(name) > maxActor || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", false
	}
	return name, verified
}

// user returns the user of Basic credentials, as [http.Request.BasicAuth] reads them, or
// whom bearer says that a token is of.
func (c credentials) user(bearer func(token string) (string, bool)) (name string, verified bool) {
	scheme, value, _ := strings.Cut(string(c), " ")
	switch {
	case len(c) > maxToken:
	case strings.EqualFold(scheme, "Basic"):
		decoded, err := base64.StdEncoding.DecodeString(value)
		if user, _, ok := strings.Cut(string(decoded), ":"); ok && err == nil {
			name = user
		}
	case strings.EqualFold(scheme, "Bearer") && value != "" && !strings.Contains(value, " "):
		return bearer(value)
	}
	return name, false
}

// SubjectOf returns the claim "sub" of a JSON web token, which nobody has verified; "" of
// anything else.
func SubjectOf(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") || strings.Contains(token, " ") {
		return ""
	}
	decoded, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	if json.Unmarshal(decoded, &claims) != nil {
		return ""
	}
	return claims.Subject
}
