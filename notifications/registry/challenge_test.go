package registry

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseChallenges(t *testing.T) {
	type params = map[string]string
	for _, test := range []struct {
		name   string
		fields []string
		want   []challenge
	}{
		{"none", nil, nil},
		{"empty", []string{""}, nil},
		{"a bare scheme", []string{"Negotiate"}, []challenge{{"negotiate", params{}}}},
		{"basic", []string{`Basic realm="a registry, of sorts"`}, []challenge{{"basic", params{"realm": "a registry, of sorts"}}}},
		{"distribution", []string{`Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push repository:c:pull",error="invalid_token"`},
			[]challenge{{"bearer", params{
				"realm": "https://auth.example/token", "service": "registry.example",
				"scope": "repository:a/b:pull,push repository:c:pull", "error": "invalid_token",
			}}}},
		{"zot: lower case, no quotes", []string{`bearer realm=https://zot.example:8443/zot/auth/token,service=zot`},
			[]challenge{{"bearer", params{"realm": "https://zot.example:8443/zot/auth/token", "service": "zot"}}}},
		{"no quotes round a list", []string{`Bearer realm=https://a/t,scope=repository:x:pull,push`},
			[]challenge{{"bearer", params{"realm": "https://a/t", "scope": "repository:x:pull"}}, {"push", params{}}}},
		{"several fields", []string{`Basic realm=a`, `BEARER realm=b`},
			[]challenge{{"basic", params{"realm": "a"}}, {"bearer", params{"realm": "b"}}}},
		{"several in a field", []string{`Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple"`},
			[]challenge{{"newauth", params{"realm": "apps", "type": "1", "title": `Login to "apps"`}}, {"basic", params{"realm": "simple"}}}},
		{"a scheme without parameters between", []string{`Negotiate, Bearer realm="x"`},
			[]challenge{{"negotiate", params{}}, {"bearer", params{"realm": "x"}}}},
		{"empty elements and spaces", []string{" , ,Bearer  realm = \"x\" ,\t, service\t=\"y\" , "},
			[]challenge{{"bearer", params{"realm": "x", "service": "y"}}}},
		{"names in any case, the first counts", []string{`Bearer REALM="x", Realm="y"`},
			[]challenge{{"bearer", params{"realm": "x"}}}},
		{"escapes", []string{`Bearer realm="a\\b\"c\d"`}, []challenge{{"bearer", params{"realm": `a\b"cd`}}}},
		{"quotes that do not end", []string{`Bearer realm="x, service="y`}, []challenge{{"bearer", params{"realm": "x, service="}}, {"y", params{}}}},
		{"a backslash at the end", []string{`Bearer realm="x\`}, []challenge{{"bearer", params{"realm": `x\`}}}},
		{"rubbish before", []string{`"=/ Bearer realm="x"`}, []challenge{{"bearer", params{"realm": "x"}}}},
		{"a value that is empty", []string{`Bearer realm="",scope=,service=y`}, []challenge{{"bearer", params{"realm": "", "scope": "", "service": "y"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := parseChallenges(http.Header{"Www-Authenticate": test.fields})
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(challenge{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChallengesAreBounded(t *testing.T) {
	many := http.Header{"Www-Authenticate": {strings.Repeat("Basic, ", 1000), strings.Repeat("Bearer, ", 1000)}}
	if got := len(parseChallenges(many)); got != maxChallenges {
		t.Errorf("%d challenges were read", got)
	}
}

// What a server writes by the grammar is read back; what it writes otherwise does no harm.
func FuzzParseChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://a/t",service=x, Basic realm=","`, "a realm")
	f.Add(`, "=\`, `\",`)
	f.Fuzz(func(t *testing.T, field, value string) {
		for _, c := range parseChallenges(http.Header{"Www-Authenticate": {field}}) {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) {
				t.Errorf("scheme %q", c.scheme)
			}
		}
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)
		written := fmt.Sprintf(`Basic, Bearer realm="%s" , scope="%s"`, quoted, quoted)
		want := []challenge{{"basic", map[string]string{}}, {"bearer", map[string]string{"realm": value, "scope": value}}}
		got := parseChallenges(http.Header{"Www-Authenticate": {written}})
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(challenge{})); diff != "" {
			t.Errorf("%q: %s", written, diff)
		}
	})
}

func TestChooseChallenge(t *testing.T) {
	for _, test := range []struct {
		fields []string
		want   string
	}{
		{[]string{`Basic realm=x, Bearer realm=y`}, "bearer"},
		{[]string{`Digest realm=x`, `Basic realm=x`}, "basic"},
		{[]string{`Bearer error="insufficient_scope"`, `Basic realm=x`}, "basic"},
		{[]string{`Bearer service="x"`}, ""},
		{[]string{`Negotiate`}, ""},
	} {
		got := ""
		if c := chooseChallenge(parseChallenges(http.Header{"Www-Authenticate": test.fields})); c != nil {
			got = c.scheme
		}
		if got != test.want {
			t.Errorf("%q: %q, want %q", test.fields, got, test.want)
		}
	}
}
