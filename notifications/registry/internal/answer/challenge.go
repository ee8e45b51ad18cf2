package answer

import (
	"net/http"
	"strings"
)

// maxChallenges bounds what is read of one answer; servers send one or two.
const maxChallenges = 16

// A Challenge is one way to authenticate that a server offers.
type Challenge struct {
	Scheme string            // in lower case
	Params map[string]string // by names in lower case; of a name given twice, the first
}

// Challenges reads every WWW-Authenticate field of h (RFC 9110 section 11.6.1): a
// list that commas separate, of challenges whose own parameters commas separate, too.
// It takes what servers send beyond the grammar: values with colons and slashes that
// are not quoted, quotes that never end, empty list elements. What cannot be read is
// skipped.
func Challenges(h http.Header) []Challenge {
	var found []Challenge
	for _, field := range h.Values("WWW-Authenticate") {
		p := challengeParser{rest: field}
		for len(found) < maxChallenges {
			c, ok := p.challenge()
			if !ok {
				break
			}
			found = append(found, c)
		}
	}
	return found
}

// A challengeParser reads one field from its left.
type challengeParser struct {
	rest string
}

// challenge reads a scheme and the parameters up to the next scheme. It returns false
// at the end.
func (p *challengeParser) challenge() (Challenge, bool) {
	for p.rest != "" {
		p.skip(" \t,")
		scheme := p.token()
		if scheme == "" { // not a token where one has to be: look for the next
			p.rest = p.rest[min(1, len(p.rest)):]
			continue
		}
		c := Challenge{Scheme: strings.ToLower(scheme), Params: make(map[string]string)}
		for p.parameter(c.Params) {
		}
		return c, true
	}
	return Challenge{}, false
}

// parameter reads "name = value" into params. It returns false, having read nothing, if
// what comes next is another scheme or the end.
func (p *challengeParser) parameter(params map[string]string) bool {
	ahead := *p
	ahead.skip(" \t,")
	name := ahead.token()
	ahead.skip(" \t")
	if name == "" || !strings.HasPrefix(ahead.rest, "=") {
		return false
	}
	ahead.rest = ahead.rest[1:]
	ahead.skip(" \t")
	value := ahead.value()
	name = strings.ToLower(name)
	if _, twice := params[name]; !twice {
		params[name] = value
	}
	*p = ahead
	return true
}

// value reads a quoted string, or all up to a comma or white space.
func (p *challengeParser) value() string {
	if !strings.HasPrefix(p.rest, `"`) {
		end := strings.IndexAny(p.rest, ", \t")
		if end < 0 {
			end = len(p.rest)
		}
		value := p.rest[:end]
		p.rest = p.rest[end:]
		return value
	}
	var value strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return value.String()
		case c == '\\' && i+1 < len(p.rest):
			i++
			value.WriteByte(p.rest[i])
		default:
			value.WriteByte(c)
		}
	}
	p.rest = ""
	return value.String()
}

// token reads the characters that RFC 9110 section 5.6.2 lets a token have.
func (p *challengeParser) token() string {
	end := 0
	for end < len(p.rest) && isTokenChar(p.rest[end]) {
		end++
	}
	token := p.rest[:end]
	p.rest = p.rest[end:]
	return token
}

func (p *challengeParser) skip(set string) {
	p.rest = strings.TrimLeft(p.rest, set)
}

func isTokenChar(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
