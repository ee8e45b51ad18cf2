package config

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

func TestLocate(t *testing.T) {
	got := locate(`# a comment with [brackets] = 1
a = "x#\"]" # 2
"b c" = 'y\'
d.e = """
f = 1
\"""" # up to two quotes stand before the closing ones

[g] # 8
h = [ # 9
  1, "]", [2, 3], # 10
  { i = 1, j = [{ k = 2 }] }, # 11
]
l = { m = 1, n.o = { p = """a
b""" }, # 13
  q = 1 } # 15

[[r]] # 17
[r.s]
t = 1
[[r.u]] # 20
[[r]]
[[r.u]]
v = 1979-05-27 07:32:00 # 23
[[r.u]]
w = '''a
'b''''
x = 1
`)
	want := lines{
		"a": 2, `"b c"`: 3, "d": 4, "d.e": 4,
		"g": 8, "g.h": 9, "g.h[0]": 10, "g.h[1]": 10, "g.h[2]": 10, "g.h[2][0]": 10, "g.h[2][1]": 10,
		"g.h[3]": 11, "g.h[3].i": 11, "g.h[3].j": 11, "g.h[3].j[0]": 11, "g.h[3].j[0].k": 11,
		"g.l": 13, "g.l.m": 13, "g.l.n": 13, "g.l.n.o": 13, "g.l.n.o.p": 13, "g.l.q": 15,
		"r": 17, "r[0]": 17, "r[0].s": 18, "r[0].s.t": 19, "r[0].u": 20, "r[0].u[0]": 20,
		"r[1]": 21, "r[1].u": 22, "r[1].u[0]": 22, "r[1].u[0].v": 23, "r[1].u[1]": 24, "r[1].u[1].w": 25, "r[1].u[1].x": 27,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for path, want := range map[string]int{"r[1].u[0].v": 23, "r[1].u[0].none": 22, "r[7].none": 17, "none": 0, "g.h[9]": 9} {
		if n := got.of(path); n != want {
			t.Errorf("line of %s = %d, want %d", path, n, want)
		}
	}
}

// FuzzParse: no text makes Parse panic or run on, problems come in the order of the
// lines they are on, and the locator finds every key that the TOML package finds, on a
// line where it stands.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(files, exampleFile) {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse([]byte(text), "f.toml")
		problems, _ := err.(Problems) // Parse has no other
		if err != nil && len(problems) == 0 {
			t.Fatalf("an error that is no problems: %v", err)
		}
		if c == nil {
			return
		}
		n := 1 + strings.Count(text, "\n")
		for i, p := range problems {
			if p.Line > n || i > 0 && problems[i-1].Line > p.Line {
				t.Errorf("line %d of %d out of order: %v", p.Line, n, problems)
			}
		}
		_ = c.Warnings()
		var doc map[string]any
		if _, err := toml.Decode(text, &doc); err != nil {
			t.Fatalf("Parse takes what is no TOML: %v", err)
		}
		checkLines(t, strings.Split(text, "\n"), c.lines, "", doc, 0)
	})
}

func checkLines(t *testing.T, text []string, found lines, path string, v any, depth int) {
	if depth >= maxDepth {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			at := join(path, key)
			if !bare(key) {
				continue // it may have been spelled with escapes
			}
			line, ok := found[at]
			if !ok || line > len(text) || !strings.Contains(text[line-1], key) {
				t.Fatalf("%s: line %d, found %v", at, line, ok)
			}
			checkLines(t, text, found, at, value, depth+1)
		}
	case []map[string]any:
		for i := range v {
			checkLines(t, text, found, path+"["+strconv.Itoa(i)+"]", v[i], depth+1)
		}
	case []any:
		for i := range v {
			checkLines(t, text, found, path+"["+strconv.Itoa(i)+"]", v[i], depth+1)
		}
	}
}

func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"abc", "abc"}: 0, {"", "ab"}: 2, {"ab", ""}: 2, {"lgo", "log"}: 1,
		{"timeuot", "timeout"}: 1, {"kitten", "sitting"}: 3, {"url", "urls"}: 1,
	} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("distance(%q, %q) = %d, want %d", pair[0], pair[1], got, want)
		}
	}
}
