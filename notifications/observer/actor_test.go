package observer

import (
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzBasicUser compares with net/http: a user whom a registry in Go does not see has not
// done anything.
func FuzzBasicUser(f *testing.F) {
	for _, s := range []string{
		"Basic YWRtaW46eA==", "bAsIc YWRtaW46eA==", "Basic  YWRtaW46eA==", " Basic YWRtaW46eA==", "Basic YWRtaW46eA== ",
		"Basic\tYWRtaW46eA==", "Basic", "Basic ", "BasicYWRtaW46eA==", "Basic YWRt\naW46eA==", "Basic YWRtaW4=", "Basic Ong=",
		"Basic YWRtaW46eA", "Basic YS1iX2M_OnA=", "Basic YQBiOng=", "Basic //86eA==",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := credentials(value).user()
		if len(value) < 6 || !strings.EqualFold(value[:6], "Basic ") {
			return
		}
		want, _, _ := (&http.Request{Header: http.Header{"Authorization": {value}}}).BasicAuth()
		if len(value) > maxToken || len(want) > maxActor || !utf8.ValidString(want) || strings.ContainsFunc(want, unicode.IsControl) {
			want = ""
		}
		if got != want {
			t.Errorf("%q is by %q, to net/http by %q", value, got, want)
		}
	})
}
