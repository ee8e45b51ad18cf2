package registrytest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"

	"github.com/regcast/regcast/notifications/registry/registrytest"
)

func TestARegistryAsksForWhatItWasToldTo(t *testing.T) {
	for _, test := range []struct {
		auth   registrytest.Auth
		status int
		scheme string
	}{
		{registrytest.None, 200, ""},
		{registrytest.Htpasswd, 401, "Basic "},
		{registrytest.Token, 401, "Bearer "},
	} {
		for _, tls := range []bool{false, true} {
			r := registrytest.Start(t, &registrytest.Options{Auth: test.auth, TLS: tls})
			resp, err := r.Client().Get(r.URL() + "/v2/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != test.status || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), test.scheme) {
				t.Errorf("%q, TLS %v: %d %v", test.auth, tls, resp.StatusCode, resp.Header)
			}
		}
	}
}

// Distribution verifies what the token server signed: its scope, too.
func TestTokensAreVerified(t *testing.T) {
	r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Token, Directory: t.TempDir()})
	status := func(user, password, scope string) int {
		req := httptest.NewRequest("GET", r.URL()+registrytest.TokenPath+"?service="+registrytest.TokenService+"&scope="+scope, nil)
		req.RequestURI = ""
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		resp, err := r.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			return -resp.StatusCode
		}
		var answer struct{ Token string }
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		req, _ = http.NewRequest("GET", r.URL()+"/v2/team/app/tags/list", nil)
		req.Header.Set("Authorization", "Bearer "+answer.Token)
		if resp, err = r.Client().Do(req); err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, test := range []struct {
		name, user, password, scope string
		want                        int
	}{
		{"granted", registrytest.Username, registrytest.Password, "repository:team/app:pull", 404},
		{"another scope", registrytest.Username, registrytest.Password, "repository:team/other:pull", 401},
		{"nobody", "", "", "repository:team/app:pull", 401},
		{"a wrong password", registrytest.Username, "no", "repository:team/app:pull", -401},
	} {
		if got := status(test.user, test.password, test.scope); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
	if got := len(r.Tokens.Requests()); got != 4 {
		t.Errorf("the token server remembers %d requests of 4", got)
	}
}

func TestWrapAndConfigure(t *testing.T) {
	var meter registrytest.Meter
	r := registrytest.Start(t, &registrytest.Options{
		Wrap:      meter.Wrap,
		Configure: func(c *configuration.Configuration) { c.HTTP.Prefix = "/below/" },
	})
	for path, want := range map[string]int{"/v2/": 404, "/below/v2/": 200} {
		resp, err := http.Get(r.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || meter.Count("GET "+path) != 1 {
			t.Errorf("%s: %d, counted %d", path, resp.StatusCode, meter.Count("GET "+path))
		}
	}
	meter.Reset()
	if got := meter.Requests(); len(got) != 0 {
		t.Errorf("after Reset: %q", got)
	}
}

func ExampleOpen() {
	r, err := registrytest.Open(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	resp, err := http.Get(r.URL() + "/v2/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Printf("%d %s\n", resp.StatusCode, body)
	// Output:
	// 200 {}
}
