package backfill_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/backfill"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A museum is a registry that was filled before anybody looked.
type museum struct {
	*registrytest.Registry
	t      *testing.T
	client *registry.Client
	names  map[string]string // of digests
}

// openMuseum starts an empty one that takes indexes whose manifests are not there.
func openMuseum(t *testing.T, opts registrytest.Options) *museum {
	t.Helper()
	opts.Configure = func(c *configuration.Configuration) { c.Validation.Manifests.Indexes.Platforms = "none" }
	m := &museum{Registry: registrytest.Start(t, &opts), t: t, names: make(map[string]string)}
	m.client = m.connect(8)
	return m
}

// connect returns a client as the command has it.
func (m *museum) connect(concurrency int) *registry.Client {
	m.t.Helper()
	c, err := backfill.Connect(m.URL(), &backfill.ConnectOptions{
		Concurrency: concurrency, UserAgent: "test",
		Credentials: auth.StaticCredential(m.URL(), auth.Credential{Username: registrytest.Username, Password: registrytest.Password}),
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(c.CloseIdleConnections)
	return c
}

// put stores a manifest under its digest and under tags, and remembers its name.
func (m *museum) put(repository, name, mediaType string, content any, tags ...string) v1.Descriptor {
	m.t.Helper()
	data, err := json.Marshal(content)
	if err != nil {
		m.t.Fatal(err)
	}
	desc := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	for _, ref := range append(tags, desc.Digest.String()) {
		if _, err := m.client.PutManifest(m.t.Context(), repository, ref, mediaType, data); err != nil {
			m.t.Fatal(err)
		}
	}
	m.names[desc.Digest.String()] = name
	return desc
}

// image stores an image without layers.
func (m *museum) image(repository, name string, tags ...string) v1.Descriptor {
	m.t.Helper()
	config := fmt.Appendf(nil, `{"name":%q}`, name)
	desc := v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))}
	if err := m.client.PutBlob(m.t.Context(), repository, desc, bytes.NewReader(config)); err != nil {
		m.t.Fatal(err)
	}
	image := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: desc, Layers: []v1.Descriptor{}}
	return m.put(repository, name, v1.MediaTypeImageManifest, image, tags...)
}

// index stores an index.
func (m *museum) index(repository, name string, children []v1.Descriptor, tags ...string) v1.Descriptor {
	m.t.Helper()
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: children,
		Annotations: map[string]string{"name": name}}
	return m.put(repository, name, v1.MediaTypeImageIndex, index, tags...)
}

// fill puts four repositories into m.
func (m *museum) fill() {
	m.t.Helper()
	m.image("other/tool", "tool", "v1")
	m.image("team/app", "app2", "v2")
	m.image("team/app", "app1", "latest", "v1")
	missing := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("missing"), Size: 7}
	inner := m.index("team/multi", "inner", []v1.Descriptor{m.image("team/multi", "arm")})
	m.index("team/multi", "outer", []v1.Descriptor{m.image("team/multi", "amd"), missing, inner}, "v1")
	m.image("team/multi", "untagged")
	m.image("team/nested/app", "nested", "v1")
}

// shown is what was found, with the names of digests.
func (m *museum) shown(found []admin.Found) (list []string) {
	for _, f := range found {
		where := f.Repository
		if f.Tag != "" {
			where += ":" + f.Tag
		}
		list = append(list, where+" "+m.names[f.Digest])
	}
	return list
}

// refuse answers requests of which the path has one of the parts with a status.
func refuse(statuses map[string]int) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for part, status := range statuses {
				if strings.Contains(r.URL.Path, part) {
					w.WriteHeader(status)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// byRepository sorts by repository alone: of those there is no order in delivery.
func byRepository(list []admin.Found) {
	slices.SortStableFunc(list, func(a, b admin.Found) int { return strings.Compare(a.Repository, b.Repository) })
}
