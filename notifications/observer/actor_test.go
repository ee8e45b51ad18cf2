package observer

import (
	"net/http"
	"strings"
	"testing"
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
		got, _ := credentials(value).user(func(string) (string, bool) { return "", false })
		if len(value) < 6 || !strings.EqualFold(value[:6], "Basic ") {
			return
		}
		want, _, _ := (&http.Request{Header: http.Header{"Authorization": {value}}}).BasicAuth()
		if len(value) > maxToken {
			want = ""
		}
		if got != want {
			t.Errorf("%q is by %q, to net/http by %q", value, got, want)
		}
	})
}
