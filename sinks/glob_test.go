package sinks_test

import (
	"strings"
	"testing"

	"github.com/regcast/regcast/sinks"
)

func TestGlobMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern  string
		match    []string
		mismatch []string
	}{
		{"team", []string{"team"}, []string{"", "tea", "teams", "team/app", "a/team"}},
		{"*", []string{"team", "x"}, []string{"team/app", "/"}},
		{"**", []string{"team", "team/app/x", "/"}, nil},
		{"team/*", []string{"team/app", "team/"}, []string{"team", "team/app/x", "steam/app"}},
		{"team/**", []string{"team/app", "team/app/x"}, []string{"team", "teams/app"}},
		{"**/base", []string{"team/base", "a/b/base"}, []string{"base", "team/base/x", "debase"}},
		{"team/**/base", []string{"team/a/base", "team/a/b/base"}, []string{"team/base", "team/a/bases"}},
		{"*/app", []string{"team/app"}, []string{"app", "a/b/app"}},
		{"v*", []string{"v", "v1", "v1.2"}, []string{"1v", "v/1"}},
		{"*.*.*", []string{"1.2.3", "1.2.3.4", ".."}, []string{"1.2", "1.2/3.4"}},
		{"release-*-rc*", []string{"release-1-rc", "release-1-rc-rc2"}, []string{"release-1", "release-rc1"}},
		{"**a*b**", []string{"ab", "x/ab/y", "a/ab", "a/b/a--b/c"}, []string{"a/b", "ba"}},
		{"*a/b*", []string{"xa/by"}, []string{"x/a/by", "xa/c/b"}},
		{"application/vnd.oci.image.*+json", []string{"application/vnd.oci.image.index.v1+json"}, []string{"application/vnd.oci.image.layer.v1.tar+gzip"}},
		{"système/*", []string{"système/é"}, []string{"systeme/é"}},
	} {
		g, err := sinks.ParseGlob(tt.pattern)
		if err != nil {
			t.Errorf("%q: %v", tt.pattern, err)
			continue
		}
		if g.String() != tt.pattern {
			t.Errorf("String = %q, want %q", g.String(), tt.pattern)
		}
		for _, name := range tt.match {
			if !g.Match(name) {
				t.Errorf("%q does not match %q", tt.pattern, name)
			}
		}
		for _, name := range tt.mismatch {
			if g.Match(name) {
				t.Errorf("%q matches %q", tt.pattern, name)
			}
		}
	}
}

func TestParseGlobErrors(t *testing.T) {
	for _, pattern := range []string{"", "***", "a/***/b", "****", "a\xff", strings.Repeat("a", 513)} {
		if _, err := sinks.ParseGlob(pattern); err == nil {
			t.Errorf("%q: no error", pattern)
		}
	}
}

// naiveMatch is the definition, letter by letter.
func naiveMatch(pattern, name string) bool {
	switch {
	case pattern == "":
		return name == ""
	case strings.HasPrefix(pattern, "**"):
		return naiveMatch(pattern[2:], name) || name != "" && naiveMatch(pattern, name[1:])
	case pattern[0] == '*':
		return naiveMatch(pattern[1:], name) || name != "" && name[0] != '/' && naiveMatch(pattern, name[1:])
	default:
		return name != "" && name[0] == pattern[0] && naiveMatch(pattern[1:], name[1:])
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("team/**", "team/app/x")
	f.Add("**a*b/**c*", "a/ab/b/xc/c")
	f.Add("*a*a**/a*", "aaa/aa/a/aaaa")
	f.Add("**/*a/**b*", "b/a/a/bb/b")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 14 || len(name) > 14 {
			return // the definition takes exponential time
		}
		// Few letters make many near misses.
		few := func(s string) string {
			return strings.Map(func(r rune) rune { return rune("aab/**"[uint32(r)%6]) }, s)
		}
		for _, p := range []string{pattern, few(pattern)} {
			g, err := sinks.ParseGlob(p)
			if err != nil {
				continue
			}
			for _, n := range []string{name, strings.ReplaceAll(few(name), "*", "b")} {
				if got, want := g.Match(n), naiveMatch(p, n); got != want {
					t.Errorf("%q on %q: %t, want %t", p, n, got, want)
				}
			}
		}
	})
}

// TestGlobExhaustive tries every short pattern on every short name, of few letters.
func TestGlobExhaustive(t *testing.T) {
	var names, patterns []string
	var grow func(prefix, alphabet string, n int, add func(string))
	grow = func(prefix, alphabet string, n int, add func(string)) {
		add(prefix)
		if n > 0 {
			for _, c := range alphabet {
				grow(prefix+string(c), alphabet, n-1, add)
			}
		}
	}
	grow("", "a/", 6, func(s string) { names = append(names, s) })
	grow("", "a/*", 6, func(s string) { patterns = append(patterns, s) })
	for _, p := range patterns {
		g, err := sinks.ParseGlob(p)
		if err != nil {
			continue
		}
		for _, n := range names {
			if got, want := g.Match(n), naiveMatch(p, n); got != want {
				t.Fatalf("%q on %q: %t, want %t", p, n, got, want)
			}
		}
	}
}
