package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/internal/fixtures"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

func write(t testing.TB, file, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// helper puts a credential helper into the PATH: a script that is run with "get" and a
// host on its standard input.
func helper(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "docker-credential-"+name), "#!/bin/sh\nread host\n"+script, 0o700)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestDockerConfig(t *testing.T) {
	helper(t, "one", `echo "{\"Username\":\"$1\",\"Secret\":\"for $host\"}"`)
	helper(t, "identity", `echo '{"Username":"<token>","Secret":"refresh"}'`)
	helper(t, "nothing", `echo "credentials not found in native keychain"; exit 1`)
	encoded := base64.StdEncoding.EncodeToString([]byte("alice:correct:horse"))
	file := write(t, filepath.Join(t.TempDir(), "config.json"), fmt.Sprintf(`{
		"auths": {
			"plain.example": {"auth": %q},
			"https://scheme.example/v1/": {"auth": %q},
			"port.example:5000": {"username": "bob", "password": "b"},
			"identity.example": {"auth": %q, "identitytoken": "refresh"},
			"token.example": {"registrytoken": "access"},
			"https://index.docker.io/v1/": {"auth": %q}
		},
		"credHelpers": {"helper.example": "one", "keychain.example": "identity", "empty.example": "nothing"}
	}`, encoded, encoded, encoded, encoded), 0o600)
	credentials := auth.DockerConfig(file)
	for host, want := range map[string]auth.Credential{
		"plain.example":        {Username: "alice", Password: "correct:horse"},
		"scheme.example":       {Username: "alice", Password: "correct:horse"},
		"port.example:5000":    {Username: "bob", Password: "b"},
		"port.example":         {},
		"identity.example":     {Username: "alice", Password: "correct:horse", RefreshToken: "refresh"},
		"token.example":        {AccessToken: "access"},
		"registry-1.docker.io": {Username: "alice", Password: "correct:horse"},
		"helper.example":       {Username: "get", Password: "for helper.example"},
		"keychain.example":     {RefreshToken: "refresh"},
		"empty.example":        {},
		"unknown.example":      {},
	} {
		if got, err := credentials(t.Context(), host); err != nil || got != want {
			t.Errorf("%s: %#v, %v; want %#v", host, got, err, want)
		}
	}

	store := write(t, filepath.Join(t.TempDir(), "config.json"), `{"credsStore": "one"}`, 0o600)
	if got, err := auth.DockerConfig(store)(t.Context(), "any.example"); err != nil || got.Password != "for any.example" {
		t.Errorf("credsStore: %#v, %v", got, err)
	}
}

// The file is read again when it changes; the user's own need not exist.
func TestDockerConfigChanges(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	if _, err := auth.DockerConfig(file)(t.Context(), "r.example"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	own := auth.DockerConfig("")
	if got, err := own(t.Context(), "r.example"); err != nil || got != (auth.Credential{}) {
		t.Errorf("no file of the user's own: %#v, %v", got, err)
	}
	for i, user := range []string{"alice", "robert", "carol"} {
		write(t, file, fmt.Sprintf(`{"auths":{"r.example":{"username":%q,"password":"x"}}}`, user), 0o600)
		if err := os.Chtimes(file, time.Time{}, time.Unix(int64(i+1), 0)); err != nil {
			t.Fatal(err)
		}
		if got, err := own(t.Context(), "r.example"); err != nil || got.Username != user {
			t.Errorf("%#v, %v; want %s", got, err, user)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got, err := own(t.Context(), "r.example"); err != nil || got != (auth.Credential{}) {
		t.Errorf("the file was removed: %#v, %v", got, err)
	}
}

// No error quotes what a file or a helper holds.
func TestDockerConfigKeepsSecrets(t *testing.T) {
	helper(t, "chatty", `echo "the password is swordfish"; exit 1`)
	helper(t, "garbled", `echo "swordfish"`)
	helper(t, "endless", `while echo swordfish; do :; done`)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"no JSON":      `{"auths": swordfish`,
		"another form": `{"auths": "swordfish"}`,
		"no colon":     fmt.Sprintf(`{"auths":{"r.example":{"auth":%q}}}`, base64.StdEncoding.EncodeToString([]byte("swordfish"))),
		"not encoded":  `{"auths":{"r.example":{"auth":"swordfish!"}}}`,
		"chatty":       `{"credHelpers":{"r.example":"chatty"}}`,
		"garbled":      `{"credHelpers":{"r.example":"garbled"}}`,
		"endless":      `{"credHelpers":{"r.example":"endless"}}`,
		"path":         `{"credHelpers":{"r.example":"../x"}}`,
		"missing":      `{"credHelpers":{"r.example":"missing"}}`,
	} {
		file := write(t, filepath.Join(dir, name), text, 0o600)
		_, err := auth.DockerConfig(file)(t.Context(), "r.example")
		if err == nil || strings.Contains(err.Error(), "swordfish") || strings.Contains(err.Error(), "c3dvcmRmaXNo") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "missing" && !strings.Contains(fmt.Sprint(err), "docker-credential-missing") {
			t.Errorf("%v does not name the helper", err)
		}
	}
}

func TestCredentialsPrintWithoutSecrets(t *testing.T) {
	c := auth.Credential{Username: "alice", Password: "swordfish", RefreshToken: "swordfish", AccessToken: "swordfish"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, value := range []any{c, &c, struct{ C auth.Credential }{c}, []auth.Credential{c}} {
			if got := fmt.Sprintf(format, value); strings.Contains(got, "swordfish") {
				t.Errorf("%s: %s", format, got)
			}
		}
	}
}

// Credentials of a file open a real registry, by a password and by a helper; a helper is
// not run for each request.
func TestDockerConfigOpensARegistry(t *testing.T) {
	for _, kind := range []registrytest.Auth{registrytest.Htpasswd, registrytest.Token} {
		r := registrytest.Start(t, &registrytest.Options{Auth: kind})
		runs := filepath.Join(t.TempDir(), "runs")
		helper(t, "counting", fmt.Sprintf(`echo run >> %s; echo '{"Username":%q,"Secret":%q}'`, runs, registrytest.Username, registrytest.Password))
		file := write(t, filepath.Join(t.TempDir(), "config.json"), fmt.Sprintf(`{"credHelpers":{%q:"counting"}}`, r.Host()), 0o600)
		c := fixtures.Client(t, r, auth.DockerConfig(file), nil)
		fixtures.Image(t, c, "team/app", "v1")
		if b, err := os.ReadFile(runs); err != nil || string(b) != "run\n" {
			t.Errorf("%s: the helper's runs: %q, %v", kind, b, err)
		}
	}
}

// A helper that hangs holds nobody up for longer than the context, even if it has left a
// child that keeps its output open.
func TestHelpersThatHang(t *testing.T) {
	helper(t, "hanging", "sleep 40\n")
	file := write(t, filepath.Join(t.TempDir(), "config.json"), `{"credHelpers":{"r.example":"hanging"}}`, 0o600)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := auth.DockerConfig(file)(ctx, "r.example"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}
