package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/config"
)

func TestProblem(t *testing.T) {
	for want, p := range map[string]config.Problem{
		"f.toml:3: a.b: is wrong": {File: "f.toml", Line: 3, Path: "a.b", Message: "is wrong"},
		"f.toml: is wrong":        {File: "f.toml", Message: "is wrong"},
		"a.b: is wrong":           {Line: 3, Path: "a.b", Message: "is wrong"},
	} {
		if got := p.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestMergeTellsAMistakeOnce(t *testing.T) {
	problem := func(line int, path, message string) config.Problem {
		return config.Problem{Line: line, Path: path, Message: message}
	}
	ps := config.Problems{problem(5, "endpoint[0].tls.ca_file", "first"), problem(4, "endpoint[0].name", "first")}
	more := config.Problems{
		problem(5, "endpoint[0].tls.ca_file", "the same"),
		problem(5, "endpoint[0].tls", "the table around it"),
		problem(3, "endpoint[0]", "something else about the endpoint"),
		problem(6, "endpoint[0].headers", "one"),
		problem(6, "endpoint[0].headers", "two"),
	}
	want := config.Problems{
		problem(3, "endpoint[0]", "something else about the endpoint"),
		problem(4, "endpoint[0].name", "first"),
		problem(5, "endpoint[0].tls.ca_file", "first"),
		problem(6, "endpoint[0].headers", "one"),
		problem(6, "endpoint[0].headers", "two"),
	}
	if diff := cmp.Diff(want, ps.Merge(more)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
