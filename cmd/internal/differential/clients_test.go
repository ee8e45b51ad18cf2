package differential_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A commandLine is a client that people use, and what to do with it. In the arguments,
// HOST is the registry, LAYOUT a folder with an image, DIR an empty one and DIGEST the
// image's digest.
type commandLine struct {
	program string
	login   string // with a password on standard input
	actions string // that it is known to cause, sorted
	lines   []string
}

func commandLines() []commandLine {
	return []commandLine{
		{"crane", "auth login HOST -u alice --password-stdin", "delete mount pull push", []string{
			"push LAYOUT HOST/crane/app:v1",
			"push LAYOUT HOST/crane/app:v1",
			"digest HOST/crane/app:v1",
			"manifest HOST/crane/app:v1",
			"pull HOST/crane/app:v1 DIR/image.tar",
			"pull --format=oci HOST/crane/app@DIGEST DIR/pulled",
			"copy HOST/crane/app:v1 HOST/crane/fork:v1",
			"tag HOST/crane/app:v1 v2",
			"ls HOST/crane/app",
			"mutate HOST/crane/app:v1 --label a=b -t HOST/crane/app:labeled",
			"delete HOST/crane/app:labeled",
			"delete HOST/crane/app@DIGEST",
		}},
		{"oras", "login HOST --plain-http -u alice --password-stdin", "delete mount pull push", []string{
			"push --plain-http HOST/oras/file:v1 LAYOUT/oci-layout:text/plain",
			"attach --plain-http --artifact-type test/thing HOST/oras/file:v1 LAYOUT/index.json:application/json",
			"discover --plain-http HOST/oras/file:v1",
			"cp --from-oci-layout --to-plain-http LAYOUT:v1 HOST/oras/app:v1,latest",
			"cp --from-plain-http --to-plain-http HOST/oras/app:v1 HOST/oras/fork:v1",
			"pull --plain-http HOST/oras/file:v1 -o DIR/pulled",
			"manifest fetch --plain-http HOST/oras/app:v1",
			"manifest fetch --plain-http --descriptor HOST/oras/app@DIGEST",
			"blob push --plain-http HOST/oras/blobs LAYOUT/oci-layout",
			"tag --plain-http HOST/oras/app:v1 v2",
			"repo tags --plain-http HOST/oras/app",
			"manifest delete --plain-http -f HOST/oras/app@DIGEST",
		}},
		{"regctl", "registry login HOST -u alice --pass-stdin --skip-check", "delete mount pull push", []string{
			"registry set HOST --skip-check --tls disabled --blob-chunk 1000 --blob-max 2000",
			"image copy ocidir://LAYOUT:v1 HOST/regctl/app:v1",
			"image copy HOST/regctl/app:v1 HOST/regctl/fork:v1",
			"image digest HOST/regctl/app:v1",
			"image inspect HOST/regctl/app:v1",
			"manifest get HOST/regctl/app:v1",
			"manifest head HOST/regctl/app@DIGEST",
			"image export HOST/regctl/app:v1 DIR/image.tar",
			"tag ls HOST/regctl/app",
			"image copy HOST/regctl/app:v1 HOST/regctl/app:v2",
			"tag delete HOST/regctl/app:v2",
			"manifest delete HOST/regctl/app@DIGEST",
		}},
		{"skopeo", "login HOST --tls-verify=false -u alice --password-stdin", "delete mount pull push", []string{
			"copy --dest-tls-verify=false oci:LAYOUT:v1 docker://HOST/skopeo/app:v1",
			"copy --dest-tls-verify=false --format v2s2 oci:LAYOUT:v1 docker://HOST/skopeo/docker:v1",
			"inspect --tls-verify=false docker://HOST/skopeo/app:v1",
			"list-tags --tls-verify=false docker://HOST/skopeo/app",
			"copy --src-tls-verify=false --dest-tls-verify=false docker://HOST/skopeo/app:v1 docker://HOST/skopeo/fork:v1",
			"copy --src-tls-verify=false docker://HOST/skopeo/app:v1 dir:DIR",
			"delete --tls-verify=false docker://HOST/skopeo/fork:v1",
		}},
	}
}

// TestClients has command-line clients push, copy, pull and delete through the proxy.
func TestClients(t *testing.T) {
	for _, auth := range []registrytest.Auth{registrytest.Htpasswd, registrytest.Token} {
		for _, c := range commandLines() {
			t.Run(fmt.Sprintf("%s,%s", c.program, auth), func(t *testing.T) {
				program, err := exec.LookPath(c.program)
				if err != nil {
					if os.Getenv("CI") == "true" {
						t.Fatalf("needs %s", c.program)
					}
					t.Skipf("needs %s", c.program)
				}
				if testing.Short() {
					t.Skip("takes seconds")
				}
				(&desk{rig: newRig(t, scene{auth: auth, proxied: true}), program: program}).work(c)
			})
		}
	}
}

// A desk is where a client works: a home of its own, and a rig.
type desk struct {
	*rig
	program string
	home    string
	replace *strings.Replacer
}

func (d *desk) work(c commandLine) {
	d.home = d.tb.TempDir()
	digest := writeImage(d.tb, filepath.Join(d.home, "layout"))
	if err := os.Mkdir(filepath.Join(d.home, "out"), 0o700); err != nil {
		d.tb.Fatal(err)
	}
	d.replace = strings.NewReplacer("HOST", d.host(), "LAYOUT", "layout", "DIR", "out", "DIGEST", digest)
	lines := c.lines
	if strings.HasPrefix(lines[0], "registry set") { // how to reach it, before who one is
		d.run(lines[0])
		lines = lines[1:]
	}
	d.run(c.login)
	actions := make(map[string]int)
	for _, line := range lines {
		d.run(line)
		truth, wrong := d.compare()
		for _, w := range wrong {
			d.tb.Errorf("%s %s: %s", c.program, line, w)
		}
		for _, observations := range truth {
			for _, o := range observations {
				actions[o.Action]++
				if o.Actor.Name != registrytest.Username {
					d.tb.Errorf("%s %s: by %q: %v", c.program, line, o.Actor.Name, o)
				}
			}
		}
	}
	for _, action := range strings.Fields(c.actions) {
		if actions[action] == 0 {
			d.tb.Errorf("%s caused no %s: %v", c.program, action, actions)
		}
	}
	d.tb.Logf("%v", actions)
}

// run runs the client with a line of arguments. Standard input is the password.
func (d *desk) run(line string) {
	d.tb.Helper()
	ctx, cancel := context.WithTimeout(d.tb.Context(), time.Minute)
	defer cancel()
	var args []string
	for _, arg := range strings.Fields(line) {
		args = append(args, d.replace.Replace(arg))
	}
	cmd := exec.CommandContext(ctx, d.program, args...)
	cmd.Dir = d.home
	cmd.Env = append(os.Environ(), "HOME="+d.home, "DOCKER_CONFIG="+d.home, "XDG_RUNTIME_DIR="+d.home,
		"REGISTRY_AUTH_FILE="+filepath.Join(d.home, "auth.json"), "REGCTL_CONFIG="+filepath.Join(d.home, "regctl.json"))
	cmd.Stdin = strings.NewReader(registrytest.Password)
	if out, err := cmd.CombinedOutput(); err != nil {
		d.tb.Fatalf("%s %s: %v\n%s", d.program, strings.Join(args, " "), err, out)
	}
}

// writeImage makes an image of three layers in a folder, by the image layout of OCI, as tag
// v1, and returns its digest.
func writeImage(tb testing.TB, folder string) string {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	var err error
	for range 3 {
		var layer v1.Layer
		if layer, err = random.Layer(10_000, types.OCIUncompressedLayer); err != nil {
			tb.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			tb.Fatal(err)
		}
	}
	digest, err := image.Digest()
	if err != nil {
		tb.Fatal(err)
	}
	p, err := layout.Write(folder, empty.Index)
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.AppendImage(image, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "v1"})); err != nil {
		tb.Fatal(err)
	}
	return digest.String()
}
