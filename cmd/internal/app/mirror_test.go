package app_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// dockerConfig writes a file with the credential for a registry, as "docker login" does.
func dockerConfig(t *testing.T, file string, r *registrytest.Registry) {
	t.Helper()
	encoded := base64.StdEncoding.EncodeToString([]byte(registrytest.Username + ":" + registrytest.Password))
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, r.Host(), encoded), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mirror(source, target, more string) string {
	return fmt.Sprintf("\n[[endpoint]]\nname = \"copy\"\nkind = \"mirror\"\nsource = %q\ntarget = %q\nretry = { initial = \"10ms\", max = \"20ms\" }\n%s\n",
		source, target, more)
}

// What is pushed through a proxy comes to the other registry, and what is deleted goes
// there, too. A replay of all of it changes nothing.
func TestMirror(t *testing.T) {
	dir := t.TempDir()
	source, target := registrytest.Start(t, nil), registrytest.Start(t, &registrytest.Options{Auth: registrytest.Token})
	dockerConfig(t, filepath.Join(dir, "target.json"), target)
	a := startApp(t, load(t, dir, proxy("front", source.URL(), "")+
		mirror(source.URL(), target.URL()+"/prefix", "target_auth_file = \"target.json\"\npropagate_deletes = true")))
	there, err := registry.NewClient(target.URL(), &registry.ClientOptions{
		Transport: auth.NewTransport(nil, &auth.Options{Credentials: auth.DockerConfig(filepath.Join(dir, "target.json"))}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(there.CloseIdleConnections)
	has := func(tag string) string {
		desc, err := there.Resolve(t.Context(), "prefix/team/app", tag)
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			t.Fatal(err)
		}
		return desc.Digest.String()
	}
	transport := newClient(t, nil).Transport
	refs := map[string]name.Reference{}
	for _, tag := range []string{"v1", "v2"} {
		ref, err := name.NewTag(a.ProxyAddr("front") + "/team/app:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		index, err := random.Index(1024, 2, 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.WriteIndex(ref, index, remote.WithTransport(transport)); err != nil {
			t.Fatal(err)
		}
		want, err := index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, tag+" at the target", func() bool { return has(tag) == want.String() })
		refs[tag] = ref
	}
	if err := remote.Delete(refs["v1"], remote.WithTransport(transport)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "v1 to be gone", func() bool { return has("v1") == "" })
	kept := has("v2")

	e := must(operator(t, a, "").Endpoint(t.Context(), "copy"))(t)
	if e.URL != target.URL()+"/prefix" || e.Format != config.KindMirror || e.Filtered == 0 || e.Dead != 0 {
		t.Errorf("%+v", e)
	}
	for _, want := range []string{
		`regcast_mirror_manifests_total{endpoint="copy",outcome="deleted"} 1`,
		`regcast_mirror_blobs_total{endpoint="copy",outcome="copied"} 12`,
		`regcast_mirror_superseded_total{endpoint="copy",reason="moved"} 0`,
	} {
		if !strings.Contains(scrape(t, a), want+"\n") {
			t.Errorf("no %s in the metrics", want)
		}
	}

	must(operator(t, a, "").Replay(t.Context(), admin.ReplayRequest{Endpoint: "copy", All: true}))(t)
	eventually(t, "the replay", func() bool {
		return strings.Contains(scrape(t, a), `regcast_mirror_superseded_total{endpoint="copy",reason="gone"} 1`+"\n")
	})
	if has("v1") != "" || has("v2") != kept {
		t.Errorf("after the replay: v1 is %q, v2 is %q", has("v1"), has("v2"))
	}

	// A mirror that is taken out of the file takes its series along.
	if err := reload(t, a, dir, proxy("front", source.URL(), "")); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(scrape(t, a), `regcast_mirror_bytes_total{endpoint="copy"}`) {
		t.Error("its metrics are there still")
	}
}

// What is wrong with a mirror is told at its key, all of it.
func TestCheckMirrors(t *testing.T) {
	c := load(t, t.TempDir(), mirror("https://a.example", "https://a.example/prefix", `platforms = ["linux"]`))
	var got []string
	for _, p := range app.Check(c) {
		got = append(got, p.Path)
	}
	if want := "endpoint[0].target endpoint[0].platforms"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %s", got, want)
	}
}

// An event that a mirror has no use for is filtered by what it is.
func TestExplainMirrors(t *testing.T) {
	c := load(t, t.TempDir(), mirror("https://a.example", "https://b.example", ""))
	explained, err := app.Explain(c, "test", "", []*notifications.Event{
		notificationstest.Push("team/app", "v1", 1), notificationstest.BlobPush("team/app", 2),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range explained {
		got = append(got, x.FilteredBy)
		if x.Request != nil {
			t.Error("a mirror makes no request of a webhook")
		}
	}
	if len(got) != 2 || got[0] != "" || got[1] != "kind" {
		t.Errorf("filtered by %q", got)
	}
}
