package config

import "testing"

func TestPaths(t *testing.T) {
	for path, want := range map[string]struct{ parent, plain string }{
		"":                           {"", ""},
		"a":                          {"", "a"},
		"a.b":                        {"a", "a.b"},
		"a[1]":                       {"a", "a"},
		"a[1].b[0][2]":               {"a[1].b[0]", "a.b"},
		`headers."a.b"`:              {"headers", `headers."a.b"`},
		`e[0].headers."a[b].c"[1]`:   {`e[0].headers."a[b].c"`, `e.headers."a[b].c"`},
		`e[0].headers."a\".b"`:       {"e[0].headers", `e.headers."a\".b"`},
		`e[0].headers."a\\".b`:       {`e[0].headers."a\\"`, `e.headers."a\\".b`},
		`"a.b"`:                      {"", `"a.b"`},
		`"not closed.b`:              {"", `"not closed.b`},
		join(join("", "a]\"[."), ""): {`"a]\"[."`, `"a]\"[.".""`},
	} {
		if got := parent(path); got != want.parent {
			t.Errorf("parent(%s) = %s, want %s", path, got, want.parent)
		}
		if got := plain(path); got != want.plain {
			t.Errorf("plain(%s) = %s, want %s", path, got, want.plain)
		}
	}
}
