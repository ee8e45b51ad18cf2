package registry_test

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/distribution/distribution/v3/configuration"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/internal/fixtures"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

func TestListings(t *testing.T) {
	for _, kind := range fixtures.EveryAuth() {
		t.Run(fixtures.AuthName(kind), func(t *testing.T) {
			var meter registrytest.Meter
			r := registrytest.Start(t, &registrytest.Options{Auth: kind, Wrap: meter.Wrap})
			c := fixtures.Client(t, r, fixtures.Alice(r), &registry.ClientOptions{PageSize: 2})
			var tags, repositories []string
			for i := range 5 {
				tags = append(tags, fmt.Sprintf("v%d", i))
				fixtures.EmptyIndex(t, c, "team/app", tags[i])
			}
			for _, name := range []string{"a", "b/c", "mirror/x", "mirror/y/z", "team/app"} {
				repositories = append(repositories, name)
				fixtures.EmptyIndex(t, c, name, "v0")
			}

			meter.Reset()
			if got := fixtures.Collect(t, c.Tags(t.Context(), "team/app", nil)); !slices.Equal(got, tags) {
				t.Errorf("tags %q, want %q", got, tags)
			}
			if n := meter.Count("GET /v2/team/app/tags/list"); n != 3 {
				t.Errorf("%d pages of two for five tags", n)
			}
			if got := fixtures.Collect(t, c.Tags(t.Context(), "team/app", &registry.ListOptions{After: "v2"})); !slices.Equal(got, tags[3:]) {
				t.Errorf("tags after v2: %q", got)
			}
			if got := fixtures.Collect(t, c.Repositories(t.Context(), nil)); !slices.Equal(got, repositories) {
				t.Errorf("repositories %q, want %q", got, repositories)
			}
			if got := fixtures.Collect(t, c.Repositories(t.Context(), &registry.ListOptions{After: "b/c"})); !slices.Equal(got, repositories[2:]) {
				t.Errorf("repositories after b/c: %q", got)
			}
			if err := fixtures.First(c.Tags(t.Context(), "none", nil)); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("the tags of nothing: %v", err)
			}

			meter.Reset()
			for range c.Tags(t.Context(), "team/app", nil) {
				break
			}
			if n := meter.Count("GET /v2/team/app/tags/list"); n != 1 {
				t.Errorf("%d pages for one tag", n)
			}

			short := fixtures.Client(t, r, fixtures.Alice(r), &registry.ClientOptions{PageSize: 1, MaxPages: 3})
			seen := 0
			var last error
			for _, err := range short.Tags(t.Context(), "team/app", nil) {
				if last = err; err == nil {
					seen++
				}
			}
			if seen != 3 || !errors.Is(last, registry.ErrTooLarge) {
				t.Errorf("%d tags of three pages of one, then %v", seen, last)
			}
		})
	}
}

// A client of a path sees what is below it, and nothing else.
func TestPrefix(t *testing.T) {
	r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Token})
	all := fixtures.Client(t, r, fixtures.Alice(r), nil)
	for _, name := range []string{"app", "mirror/app", "mirror/team/app", "mirrored/app"} {
		fixtures.EmptyIndex(t, all, name, "v1")
	}
	below, err := registry.NewClient(r.URL()+"/mirror/", &registry.ClientOptions{
		Transport: auth.NewTransport(nil, &auth.Options{Credentials: fixtures.Alice(r)}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fixtures.Collect(t, below.Repositories(t.Context(), nil)), []string{"app", "team/app"}; !slices.Equal(got, want) {
		t.Errorf("repositories %q, want %q", got, want)
	}
	if got, want := fixtures.Collect(t, below.Repositories(t.Context(), &registry.ListOptions{After: "app"})), []string{"team/app"}; !slices.Equal(got, want) {
		t.Errorf("repositories after app: %q, want %q", got, want)
	}
	desc, manifest := fixtures.Image(t, below, "new", "v1")
	if got, b, err := all.Manifest(t.Context(), "mirror/new", "v1", nil); err != nil || got.Digest != desc.Digest || string(b) != string(manifest) {
		t.Errorf("%v, %v", got, err)
	}
	blob, err := below.StatBlob(t.Context(), "new", layerOf(t, manifest))
	if err != nil {
		t.Fatal(err)
	}
	if u, err := below.MountBlob(t.Context(), "other", blob.Digest, "new"); err != nil || u != nil {
		t.Errorf("mounting below the prefix: %v, %v", u, err)
	}
	if _, err := all.StatBlob(t.Context(), "mirror/other", blob.Digest); err != nil {
		t.Error(err)
	}
}

func TestPagesAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"tags":["%s"]}`, strings.Repeat("x", 5<<20))
	}))
	t.Cleanup(server.Close)
	c, err := registry.NewClient(server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := fixtures.First(c.Tags(t.Context(), "a", nil)); err == nil {
		t.Error("a page of 5 MiB was read")
	}
}

// Links may be relative to the page, or absolute and of the registry.
func TestLinks(t *testing.T) {
	for name, link := range map[string]func(*http.Request) string{
		"a path":       func(*http.Request) string { return "</v2/a/tags/list?last=v1>; rel=\"next\"" },
		"relative":     func(*http.Request) string { return "<list?last=v1>; rel=\"next\"" },
		"with a host":  func(r *http.Request) string { return "<http://" + r.Host + "/v2/a/tags/list?last=v1>" },
		"a query only": func(*http.Request) string { return "<?last=v1>; rel=next" },
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("last") == "v1" {
				fmt.Fprint(w, `{"tags":["v2"]}`)
				return
			}
			w.Header().Set("Link", link(r))
			fmt.Fprint(w, `{"tags":["v1"]}`)
		}))
		t.Cleanup(server.Close)
		c, err := registry.NewClient(server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := fixtures.Collect(t, c.Tags(t.Context(), "a", nil)); !slices.Equal(got, []string{"v1", "v2"}) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A listing that goes in a circle ends soon, and what came before is told.
func TestEndlessListings(t *testing.T) {
	for name, test := range map[string]struct {
		page     func(n int64, r *http.Request) (names, link string)
		requests int64
		names    int
	}{
		"a page leads to itself": {func(int64, *http.Request) (string, string) { return `"v1"`, "?last=v1" }, 2, 1},
		"a page leads to the first": {func(n int64, _ *http.Request) (string, string) {
			return fmt.Sprintf(`"v%d"`, n), fmt.Sprint("?p=", n%3)
		}, 4, 4},
		"no page is another":            {func(n int64, _ *http.Request) (string, string) { return `"v1","v2"`, fmt.Sprint("?p=", n) }, 2, 2},
		"an empty page leads to itself": {func(int64, *http.Request) (string, string) { return "", "?last=" }, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				names, link := test.page(requests.Add(1), r)
				w.Header().Set("Link", "<"+link+">; rel=\"next\"")
				fmt.Fprintf(w, `{"tags":[%s],"repositories":[%[1]s]}`, names)
			}))
			t.Cleanup(server.Close)
			c, err := registry.NewClient(server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			for what, list := range map[string]iter.Seq2[string, error]{"tags": c.Tags(t.Context(), "a", nil), "repositories": c.Repositories(t.Context(), nil)} {
				requests.Store(0)
				got := 0
				var last error
				for _, err := range list {
					if last = err; err == nil {
						got++
					}
				}
				if !errors.Is(last, registry.ErrEndless) || got != test.names || requests.Load() != test.requests {
					t.Errorf("%s: %d of %d requests, %v", what, got, requests.Load(), last)
				}
			}
		})
	}
}

func TestNewClientRefuses(t *testing.T) {
	for _, base := range []string{
		"", "registry.example", "ftp://registry.example", "https://", "https://bob:secret@registry.example",
		"https://registry.example?x=y", "https://registry.example/Upper", "https://registry.example/a//b", "https://%zz:secret@x",
		"https://registry.example#secret",
	} {
		if _, err := registry.NewClient(base, nil); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", base, err)
		}
	}
}

// Names get into URLs: what is not a name is refused before.
func TestNamesAreChecked(t *testing.T) {
	r := registrytest.Start(t, &registrytest.Options{
		Wrap: func(http.Handler) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { t.Errorf("%s %s", req.Method, req.URL) })
		},
		Configure: func(*configuration.Configuration) {},
	})
	c := fixtures.Client(t, r, nil, nil)
	ctx := t.Context()
	blob, b := fixtures.Content(t, 1)
	for _, name := range []string{"", "A", "a/../b", "a/", "/a", "a?b", "a b", "../../x"} {
		for call, err := range map[string]error{
			"resolve": second(c.Resolve(ctx, name, "v1")), "tags": fixtures.First(c.Tags(ctx, name, nil)),
			"stat": second(c.StatBlob(ctx, name, blob.Digest)), "open": second(c.OpenBlob(ctx, name, blob)),
			"start": second(c.StartUpload(ctx, name)), "mount": second(c.MountBlob(ctx, name, blob.Digest, "a")),
			"resume": second(c.ResumeUpload(ctx, name, r.URL())), "untag": c.Untag(ctx, name, "v1"),
			"delete": c.DeleteBlob(ctx, name, blob.Digest), "put": second(c.PutManifest(ctx, name, "v1", "x", b)),
		} {
			if err == nil {
				t.Errorf("%s of %q", call, name)
			}
		}
	}
	for _, ref := range []string{"", "../x", "a/b", "sha256:short", "a?b", "v1@" + blob.Digest.String()} {
		for call, err := range map[string]error{
			"resolve": second(c.Resolve(ctx, "a", ref)), "untag": c.Untag(ctx, "a", ref),
		} {
			if err == nil {
				t.Errorf("%s of a:%q", call, ref)
			}
		}
		if _, _, err := c.Manifest(ctx, "a", ref, nil); err == nil {
			t.Errorf("manifest of a:%q", ref)
		}
	}
	if err := c.Untag(ctx, "a", blob.Digest.String()); err == nil {
		t.Error("a digest was untagged")
	}
	if _, err := c.PutManifest(ctx, "a", blob.Digest.String(), "x", []byte("something else")); !errors.Is(err, registry.ErrMismatch) {
		t.Errorf("a manifest under the digest of another: %v", err)
	}
	if _, err := c.PutManifest(ctx, "a", "v1", "x", make([]byte, 5<<20)); !errors.Is(err, registry.ErrTooLarge) {
		t.Errorf("a manifest of 5 MiB: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
