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

// What becomes of an event at a mirror, and why nothing.
func TestExplainMirrors(t *testing.T) {
	tagged, deleted := notificationstest.Push("team/app", "v1", 1), notificationstest.Delete("team/app", 1)
	byDigest := notificationstest.Push("team/app", "", 1)
	dgst := string(byDigest.Digest)
	for name, test := range map[string]struct {
		event          *notifications.Event
		more           string
		key, why, does string
	}{
		"a tag":                      {tagged, "", "", "", "copies https://a.example/team/app:v1 to https://b.example/prefix/team/app:v1, if it still is what was pushed"},
		"a digest":                   {byDigest, "", "by_digest", "not copied: it was pushed by digest alone, and neither by_digest nor referrers is set", ""},
		"a digest that is asked for": {byDigest, "by_digest = true", "", "", "copies https://a.example/team/app@" + dgst + " to https://b.example/prefix/team/app@" + dgst},
		"a referrer": {byDigest, "referrers = true", "", "",
			"copies https://a.example/team/app@" + dgst + " to https://b.example/prefix/team/app@" + dgst + ", if it refers to a manifest that is there"},
		"a blob":               {notificationstest.BlobPush("team/app", 2), "by_digest = true", "kind", "not copied: blobs are copied with the manifests that refer to them", ""},
		"a copy":               {notificationstest.Push("prefix/team/app", "v1", 1), "", "target", "not copied: a repository below prefix/ is a copy itself", ""},
		"a delete":             {deleted, "", "propagate_deletes", "not copied: it is a delete, and propagate_deletes is false", ""},
		"a filter comes first": {tagged, `filter = { tags = ["v2"] }`, "filter.tags", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, t.TempDir(), mirror("https://a.example", "https://b.example/prefix", test.more))
			explained, err := app.Explain(c, "test", "", []*notifications.Event{test.event})
			if err != nil || len(explained) != 1 {
				t.Fatalf("%+v, %v", explained, err)
			}
			if x := explained[0]; x.FilteredBy != test.key || x.Why != test.why || x.Does != test.does || x.Request != nil {
				t.Errorf("%+v", x)
			}
		})
	}
}
