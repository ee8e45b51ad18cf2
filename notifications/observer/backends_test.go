package observer_test

import (
	"io"
	"log"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/olareg/olareg"
	olaregconfig "github.com/olareg/olareg/config"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/notifications/observer"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// backends are real registries, each in this process.
func backends(t testing.TB) map[string]func(opts *observer.Options) *watched {
	behind := func(h http.Handler) func(*observer.Options) *watched {
		return func(opts *observer.Options) *watched { return watch(t, h, opts) }
	}
	yes := true
	olaregServer := olareg.New(olaregconfig.Config{
		Storage: olaregconfig.ConfigStorage{StoreType: olaregconfig.StoreMem},
		API:     olaregconfig.ConfigAPI{DeleteEnabled: &yes, Blob: olaregconfig.ConfigAPIBlob{DeleteEnabled: &yes}},
	})
	t.Cleanup(func() {
		if err := olaregServer.Close(); err != nil {
			t.Error(err)
		}
	})
	return map[string]func(*observer.Options) *watched{
		"go-containerregistry": behind(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))),
		"cue":                  behind(ociserver.New(ocimem.New(), nil)),
		"olareg":               behind(olaregServer),
		"distribution": func(opts *observer.Options) *watched {
			w := &watched{}
			registry := registrytest.Start(t, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
				return w.observe(next, opts)
			}})
			w.address, w.client = registry.URL(), registry.Client()
			return w
		},
	}
}

// A visitor does what clients do, and keeps what it was answered.
type visitor struct {
	t testing.TB
	w *watched
	s []string
}

func (v *visitor) do(method, path, body string, header ...string) *http.Response {
	v.t.Helper()
	return v.w.do(v.t, method, path, body, header...)
}

// start opens an upload and returns where it goes on.
func (v *visitor) start(path string) string {
	v.t.Helper()
	resp := v.do("POST", path, "")
	if resp.StatusCode != 202 {
		v.t.Fatalf("POST %s: status %d", path, resp.StatusCode)
	}
	return v.location(resp)
}

func (v *visitor) location(resp *http.Response) string {
	v.t.Helper()
	base, err := url.Parse(v.w.address)
	if err != nil {
		v.t.Fatal(err)
	}
	u, err := base.Parse(resp.Header.Get("Location"))
	if err != nil || u.Host != base.Host {
		v.t.Fatalf("location %q: %v", resp.Header.Get("Location"), err)
	}
	return u.RequestURI()
}

// finish adds the digest to where an upload goes on.
func finish(location, digest string) string {
	if strings.Contains(location, "?") {
		return location + "&digest=" + digest
	}
	return location + "?digest=" + digest
}

// push uploads a blob in one piece.
func (v *visitor) push(repo, content, digest string) {
	v.t.Helper()
	at := finish(v.start("/v2/"+repo+"/blobs/uploads/"), digest)
	if resp := v.do("PUT", at, content, "Content-Type", octets); resp.StatusCode != 201 {
		v.t.Fatalf("PUT %s: status %d", at, resp.StatusCode)
	}
}

func TestRealRegistries(t *testing.T) {
	image512 := []string{"Content-Type", ociManifest}
	for name, open := range backends(t) {
		t.Run(name, func(t *testing.T) {
			w := open(&observer.Options{IncludeReferences: true, KeepsTags: name == "go-containerregistry" || name == "cue"})
			v := &visitor{t: t, w: w}
			step := func(what string, f func()) {
				before := w.events.Len()
				f()
				v.s = append(v.s, what+": "+strings.Join(briefs(t, w.settled(t)[before:]), "; "))
			}
			step("push", func() { v.push("c", blobContent, blob.String()) })
			step("chunks", func() {
				at := v.start("/v2/a/b/blobs/uploads/")
				at = v.location(v.do("PATCH", at, configContent[:10], "Content-Type", octets, "Content-Range", "0-9"))
				at = v.location(v.do("PATCH", at, configContent[10:20], "Content-Type", octets, "Content-Range", "10-19"))
				v.do("PUT", finish(at, config.String()), configContent[20:], "Content-Type", octets, "Content-Range", "20-36")
			})
			step("one POST", func() {
				resp := v.do("POST", "/v2/d/blobs/uploads/?digest="+blob.String(), blobContent, "Content-Type", octets)
				if resp.StatusCode == 202 {
					v.do("PUT", finish(v.location(resp), blob.String()), blobContent, "Content-Type", octets)
				}
			})
			step("mount", func() {
				resp := v.do("POST", "/v2/a/b/blobs/uploads/?mount="+blob.String()+"&from=c", "")
				if resp.StatusCode == 202 {
					v.do("PUT", finish(v.location(resp), blob.String()), blobContent, "Content-Type", octets)
				}
			})
			step("anonymous mount", func() { v.do("POST", "/v2/a/b/blobs/uploads/?mount="+blob.String(), "") })
			step("cancel", func() { v.do("DELETE", v.start("/v2/a/b/blobs/uploads/"), "") })
			step("HEAD", func() { v.do("HEAD", "/v2/a/b/blobs/"+blob.String(), "") })
			step("GET", func() { v.do("GET", "/v2/a/b/blobs/"+blob.String(), "") })
			step("GET range", func() { v.do("GET", "/v2/a/b/blobs/"+blob.String(), "", "Range", "bytes=2-5") })
			step("GET missing", func() { v.do("GET", "/v2/a/b/blobs/"+other.String(), "") })
			step("PUT tag", func() { v.do("PUT", "/v2/a/b/manifests/v1", image, image512...) })
			step("PUT digest", func() { v.do("PUT", "/v2/a/b/manifests/"+manifest.String(), image, image512...) })
			step("PUT index", func() { v.do("PUT", "/v2/a/b/manifests/all", list, "Content-Type", ociIndex) })
			step("PUT tags", func() {
				v.do("PUT", "/v2/a/b/manifests/"+manifest.String()+"?tag=v2&tag=v3", image, image512...)
			})
			step("HEAD tag", func() { v.do("HEAD", "/v2/a/b/manifests/v1", "", "Accept", ociManifest) })
			step("GET tag", func() { v.do("GET", "/v2/a/b/manifests/v1", "", "Accept", ociManifest) })
			step("GET digest", func() { v.do("GET", "/v2/a/b/manifests/"+manifest.String(), "", "Accept", ociManifest) })
			step("GET not modified", func() {
				v.do("GET", "/v2/a/b/manifests/v1", "", "Accept", ociManifest, "If-None-Match", `"`+manifest.String()+`"`)
			})
			step("PUT broken", func() { v.do("PUT", "/v2/a/b/manifests/x", "{", "Content-Type", ociManifest) })
			step("DELETE tag", func() { v.do("DELETE", "/v2/a/b/manifests/all", "") })
			step("DELETE manifest", func() { v.do("DELETE", "/v2/a/b/manifests/"+manifest.String(), "") })
			step("DELETE again", func() { v.do("DELETE", "/v2/a/b/manifests/"+manifest.String(), "") })
			step("HEAD deleted", func() { v.do("HEAD", "/v2/a/b/manifests/v1", "", "Accept", ociManifest) })
			step("DELETE blob", func() { v.do("DELETE", "/v2/a/b/blobs/"+blob.String(), "") })
			if diff := cmp.Diff(expected(name), v.s); diff != "" {
				t.Errorf("events, -want +got:\n%s", diff)
			}
		})
	}
}

// expected is what each of them makes of the conversation in TestRealRegistries.
func expected(registry string) []string {
	what := "@image manifest.v1+json 394 refs=config,blob"
	events := []struct{ step, all string }{
		{step: "push", all: "push PUT c@blob 22"},
		{step: "chunks", all: "push PUT a/b@config 37"},
		{step: "one POST", all: "push POST d@blob 22"},
		{step: "mount", all: "mount POST a/b@blob 22 from=c"},
		{step: "anonymous mount"},
		{step: "cancel"},
		{step: "HEAD", all: "pull HEAD a/b@blob 22"},
		{step: "GET", all: "pull GET a/b@blob 22"},
		{step: "GET range", all: "pull GET a/b@blob 22"},
		{step: "GET missing"},
		{step: "PUT tag", all: "push PUT a/b:v1" + what},
		{step: "PUT digest", all: "push PUT a/b" + what},
		{step: "PUT index", all: "push PUT a/b:all@list index.v1+json 289 refs=image"},
		{step: "PUT tags", all: "push PUT a/b" + what},
		{step: "HEAD tag", all: "pull HEAD a/b:v1" + what},
		{step: "GET tag", all: "pull GET a/b:v1" + what},
		{step: "GET digest", all: "pull GET a/b" + what},
		{step: "GET not modified", all: "pull GET a/b:v1" + what}, // none but distribution cares
		{step: "PUT broken"},
		{step: "DELETE tag", all: "delete DELETE a/b:all"},
		{step: "DELETE manifest", all: "delete DELETE a/b@image kind=manifest"},
		{step: "DELETE again"},
		{step: "HEAD deleted"},
		{step: "DELETE blob", all: "delete DELETE a/b@blob kind=blob"},
	}
	own := map[string]map[string]string{
		"go-containerregistry": {
			"mount":        "push PUT a/b@blob 22",
			"PUT broken":   "push PUT a/b:x@" + digest.FromString("{").String() + " manifest.v1+json 1",
			"HEAD deleted": "pull HEAD a/b:v1@image manifest.v1+json 394",
		},
		"cue": {"HEAD deleted": "pull HEAD a/b:v1@image manifest.v1+json 394"},
		"olareg": {
			"anonymous mount": "mount POST a/b@blob 22",
			"PUT tags":        "push PUT a/b:v2" + what + "; push PUT a/b:v3" + what,
			"DELETE manifest": "delete DELETE a/b@image kind=manifest; delete DELETE a/b:v1 inferred; delete DELETE a/b:v2 inferred; delete DELETE a/b:v3 inferred",
		},
		"distribution": {
			"one POST":         "push PUT d@blob 22",
			"GET not modified": "",
			"DELETE manifest":  "delete DELETE a/b@image kind=manifest; delete DELETE a/b:v1 inferred",
		},
	}[registry]
	var all []string
	for _, e := range events {
		made, ok := own[e.step]
		if !ok {
			made = e.all
		}
		all = append(all, e.step+": "+made)
	}
	return all
}
