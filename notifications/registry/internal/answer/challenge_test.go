package answer

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChallenges(t *testing.T) {
	type params = map[string]string
	for _, test := range []struct {
		name   string
		fields []string
		want   []Challenge
	}{
		{"none", nil, nil},
		{"empty", []string{""}, nil},
		{"a bare scheme", []string{"Negotiate"}, []Challenge{{"negotiate", params{}}}},
		{"basic", []string{`Basic realm="a registry, of sorts"`}, []Challenge{{"basic", params{"realm": "a registry, of sorts"}}}},
		{"distribution", []string{`Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push repository:c:pull",error="invalid_token"`},
			[]Challenge{{"bearer", params{
				"realm": "https://auth.example/token", "service": "registry.example",
				"scope": "repository:a/b:pull,push repository:c:pull", "error": "invalid_token",
			}}}},
		{"zot: lower case, no quotes", []string{`bearer realm=https://zot.example:8443/zot/auth/token,service=zot`},
			[]Challenge{{"bearer", params{"realm": "https://zot.example:8443/zot/auth/token", "service": "zot"}}}},
		{"no quotes round a list", []string{`Bearer realm=https://a/t,scope=repository:x:pull,push`},
			[]Challenge{{"bearer", params{"realm": "https://a/t", "scope": "repository:x:pull"}}, {"push", params{}}}},
		{"several fields", []string{`Basic realm=a`, `BEARER realm=b`},
			[]Challenge{{"basic", params{"realm": "a"}}, {"bearer", params{"realm": "b"}}}},
		{"several in a field", []string{`Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple"`},
			[]Challenge{{"newauth", params{"realm": "apps", "type": "1", "title": `Login to "apps"`}}, {"basic", params{"realm": "simple"}}}},
		{"a scheme without parameters between", []string{`Negotiate, Bearer realm="x"`},
			[]Challenge{{"negotiate", params{}}, {"bearer", params{"realm": "x"}}}},
		{"empty elements and spaces", []string{" , ,Bearer  realm = \"x\" ,\t, service\t=\"y\" , "},
			[]Challenge{{"bearer", params{"realm": "x", "service": "y"}}}},
		{"names in any case, the first counts", []string{`Bearer REALM="x", Realm="y"`},
			[]Challenge{{"bearer", params{"realm": "x"}}}},
		{"escapes", []string{`Bearer realm="a\\b\"c\d"`}, []Challenge{{"bearer", params{"realm": `a\b"cd`}}}},
		{"quotes that do not end", []string{`Bearer realm="x, service="y`}, []Challenge{{"bearer", params{"realm": "x, service="}}, {"y", params{}}}},
		{"a backslash at the end", []string{`Bearer realm="x\`}, []Challenge{{"bearer", params{"realm": `x\`}}}},
		{"rubbish before", []string{`"=/ Bearer realm="x"`}, []Challenge{{"bearer", params{"realm": "x"}}}},
		{"a value that is empty", []string{`Bearer realm="",scope=,service=y`}, []Challenge{{"bearer", params{"realm": "", "scope": "", "service": "y"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Challenges(http.Header{"Www-Authenticate": test.fields})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChallengesAreBounded(t *testing.T) {
	many := http.Header{"Www-Authenticate": {strings.Repeat("Basic, ", 1000), strings.Repeat("Bearer, ", 1000)}}
	if got := len(Challenges(many)); got != maxChallenges {
		t.Errorf("%d challenges were read", got)
	}
}

// What a server writes by the grammar is read back; what it writes otherwise does no harm.
func FuzzChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://a/t",service=x, Basic realm=","`, "a realm")
	f.Add(`, "=\`, `\",`)
	f.Fuzz(func(t *testing.T, field, value string) {
		for _, c := range Challenges(http.Header{"Www-Authenticate": {field}}) {
			if c.Scheme == "" || c.Scheme != strings.ToLower(c.Scheme) {
				t.Errorf("scheme %q", c.Scheme)
			}
		}
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)
		written := fmt.Sprintf(`Basic, Bearer realm="%s" , scope="%s"`, quoted, quoted)
		want := []Challenge{{"basic", map[string]string{}}, {"bearer", map[string]string{"realm": value, "scope": value}}}
		got := Challenges(http.Header{"Www-Authenticate": {written}})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", written, diff)
		}
	})
}
