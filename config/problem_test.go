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
	ps := config.Problems{{Line: 5, Path: "b", Message: "first"}, {Line: 5, Path: "a"}}
	more := config.Problems{{Line: 5, Path: "b", Message: "second"}, {Line: 2, Path: "c"}, {Line: 2, Path: "c", Message: "again"}}
	want := config.Problems{{Line: 2, Path: "c"}, {Line: 2, Path: "c", Message: "again"}, {Line: 5, Path: "a"}, {Line: 5, Path: "b", Message: "first"}}
	if diff := cmp.Diff(want, ps.Merge(more)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
