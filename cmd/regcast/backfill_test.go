package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// TestBackfill runs the command against a real dispatcher and real registries, as
// testdata/backfill/*.txtar say. They have commands of TestServe, and four registries with
// the same content:
//
//	$REGISTRY   # everybody may do everything
//	$LOCKED     # with htpasswd; right.json and wrong.json are Docker's configuration
//	$UNLISTED   # without a catalog
//	$HALTING    # before it lists the tags of zoo/r04 and zoo/r08 it writes asked-r04, then
//	            # waits until there is a file open-r04; denies team/web while there is denied
func TestBackfill(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/backfill",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for name, opts := range map[string]registrytest.Options{
				"REGISTRY": {},
				"LOCKED":   {Auth: registrytest.Htpasswd},
				"UNLISTED": {Wrap: withoutCatalog},
				"HALTING":  {Wrap: func(next http.Handler) http.Handler { return halting(next, env.WorkDir) }},
			} {
				r, err := registrytest.Open(&opts)
				if err != nil {
					return err
				}
				env.Defer(func() { _ = r.Close() }) // what is left of it ends with the tests
				env.Setenv(name, r.Host())
				if err := fillRegistry(t, r); err != nil {
					return err
				}
				if opts.Auth == registrytest.None {
					continue
				}
				for file, password := range map[string]string{"right.json": registrytest.Password, "wrong.json": "guessed"} {
					encoded := base64.StdEncoding.EncodeToString([]byte(registrytest.Username + ":" + password))
					content := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.Host(), encoded)
					if err := os.WriteFile(filepath.Join(env.WorkDir, file), []byte(content), 0o600); err != nil {
						return err
					}
				}
			}
			env.Setenv("DOCKER_CONFIG", env.WorkDir)
			return setup(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"address": address,
			"appears": appears,
			"exits":   exits,
			"expand":  expand,
			"get":     get,
			"signal":  signalTo,
		},
	})
}

func withoutCatalog(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/_catalog" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func halting(next http.Handler, dir string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(filepath.Join(dir, "denied")); err == nil && strings.HasPrefix(r.URL.Path, "/v2/team/web/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		for _, name := range []string{"r04", "r08"} {
			if r.URL.Path != "/v2/zoo/"+name+"/tags/list" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, "asked-"+name), []byte("yes"), 0o600); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				if _, err := os.Stat(filepath.Join(dir, "open-"+name)); err == nil {
					break
				}
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// fillRegistry puts 14 repositories into r, with 14 manifests and 15 tags.
func fillRegistry(t *testing.T, r *registrytest.Registry) error {
	c, err := registry.NewClient(r.URL(), &registry.ClientOptions{Transport: auth.NewTransport(nil, &auth.Options{
		Credentials: auth.StaticCredential(r.URL(), auth.Credential{Username: registrytest.Username, Password: registrytest.Password}),
	})})
	if err != nil {
		return err
	}
	defer c.CloseIdleConnections()
	images := []string{"team/app:latest", "team/app:v1", "team/web:v1"}
	for n := range 12 {
		images = append(images, fmt.Sprintf("zoo/r%02d:v1", n))
	}
	for _, image := range images {
		repository, tag, _ := strings.Cut(image, ":")
		index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"of":%q}}`, v1.MediaTypeImageIndex, repository)
		if _, err := c.PutManifest(t.Context(), repository, tag, v1.MediaTypeImageIndex, index); err != nil {
			return err
		}
	}
	return nil
}
