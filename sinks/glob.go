package sinks

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxPattern bounds a pattern, in bytes; no name in a registry is longer than 255.
const maxPattern = 512

// A Glob is a pattern of names. "*" stands for any run of characters without a "/", also
// for none; "**" for any run at all; every other character for itself. So "team/*" is
// what lies directly under team, "team/**" all that lies under it, and neither is "team"
// itself. The zero Glob matches the empty name alone. Made by [ParseGlob], it is a value
// that is safe for concurrent use.
type Glob struct {
	prefix string // before the first "*"
	stars  string // from the first "*" to the last
	suffix string // after the last "*"
}

// ParseGlob checks and prepares a pattern.
// Errors: it is empty, longer than 512 bytes, not UTF-8, or has three "*" in a row.
func ParseGlob(pattern string) (Glob, error) {
	switch {
	case pattern == "":
		return Glob{}, errors.New("empty pattern")
	case len(pattern) > maxPattern:
		return Glob{}, fmt.Errorf("pattern of %d bytes, at most %d are allowed", len(pattern), maxPattern)
	case !utf8.ValidString(pattern):
		return Glob{}, errors.New("pattern is not UTF-8")
	case strings.Contains(pattern, "***"):
		return Glob{}, errors.New(`"***" means nothing: use "*" within a path segment, "**" across`)
	}
	first, last := strings.IndexByte(pattern, '*'), strings.LastIndexByte(pattern, '*')
	if first < 0 {
		return Glob{prefix: pattern}, nil
	}
	return Glob{pattern[:first], pattern[first : last+1], pattern[last+1:]}, nil
}

// String returns the pattern.
func (g Glob) String() string { return g.prefix + g.stars + g.suffix }

// exact tells whether the pattern stands for one name only.
func (g Glob) exact() bool { return g.stars == "" }

// Match tells whether the pattern stands for name. It allocates nothing; its time grows
// at most with the length of the pattern and the square of that of the name.
func (g Glob) Match(name string) bool {
	if g.exact() {
		return name == g.prefix
	}
	if len(name) < len(g.prefix)+len(g.suffix) || !strings.HasPrefix(name, g.prefix) || !strings.HasSuffix(name, g.suffix) {
		return false
	}
	name = name[len(g.prefix) : len(name)-len(g.suffix)]
	switch g.stars {
	case "*":
		return strings.IndexByte(name, '/') < 0
	case "**":
		return true
	}
	return matchStars(g.stars, name)
}

// matchStars walks pattern and name side by side. On a mismatch it goes back to the last
// "*" and lets it take one character more; where that would be a "/", it goes back to the
// last "**" instead. Going back further is never needed: what came before a wildcard was
// matched as early as possible, and that leaves the wildcard the most to choose from.
func matchStars(pattern, name string) bool {
	var star, across retry
	p, n := 0, 0
	for n < len(name) || p < len(pattern) {
		switch {
		case strings.HasPrefix(pattern[p:], "**"):
			p += 2
			across, star = retry{p, n, true}, retry{}
		case p < len(pattern) && pattern[p] == '*':
			p++
			star = retry{p, n, true}
		case p < len(pattern) && n < len(name) && pattern[p] == name[n]:
			p++
			n++
		case star.set && star.name < len(name) && name[star.name] != '/':
			star.name++
			p, n = star.pattern, star.name
		case across.set && across.name < len(name):
			across.name++
			p, n, star = across.pattern, across.name, retry{}
		default:
			return false
		}
	}
	return true
}

// A retry is where to go on when a wildcard takes one character more.
type retry struct {
	pattern, name int
	set           bool
}
