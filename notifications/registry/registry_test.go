package registry_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// everyAuth is how a registry may want us to authenticate.
func everyAuth() []registrytest.Auth {
	return []registrytest.Auth{registrytest.None, registrytest.Htpasswd, registrytest.Token}
}

func authName(a registrytest.Auth) string {
	if a == registrytest.None {
		return "anonymous"
	}
	return string(a)
}

// alice is the user whom the registries of registrytest know.
func alice(r *registrytest.Registry) registry.Credentials {
	return registry.StaticCredential(r.URL(), registry.Credential{Username: registrytest.Username, Password: registrytest.Password})
}

func newClient(t testing.TB, r *registrytest.Registry, credentials registry.Credentials, opts *registry.ClientOptions) *registry.Client {
	t.Helper()
	o := registry.ClientOptions{}
	if opts != nil {
		o = *opts
	}
	if o.Transport == nil {
		transport := registry.NewTransport(r.Client().Transport, &registry.TransportOptions{Credentials: credentials, Backoff: soon})
		o.Transport = transport
	}
	c, err := registry.NewClient(r.URL(), &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// content returns n random bytes and their descriptor.
func content(t testing.TB, n int) (v1.Descriptor, []byte) {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromBytes(b), Size: int64(n)}, b
}

// image stores an image of one layer in a repository and returns its manifest.
func image(t testing.TB, c *registry.Client, repository, tag string) (v1.Descriptor, []byte) {
	t.Helper()
	layer, layerContent := content(t, 1000)
	config := v1.DescriptorEmptyJSON
	for _, blob := range []struct {
		desc    v1.Descriptor
		content []byte
	}{{layer, layerContent}, {config, config.Data}} {
		if err := c.PutBlob(t.Context(), repository, blob.desc, bytes.NewReader(blob.content)); err != nil {
			t.Fatal(err)
		}
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		v1.MediaTypeImageManifest, config.MediaType, config.Digest, config.Size, v1.MediaTypeImageLayer, layer.Digest, layer.Size)
	desc, err := c.PutManifest(t.Context(), repository, tag, v1.MediaTypeImageManifest, manifest)
	if err != nil {
		t.Fatal(err)
	}
	return desc, manifest
}

// The life of an image, by every call, with every kind of authentication.
func TestLifeOfAnImage(t *testing.T) {
	for _, auth := range everyAuth() {
		t.Run(authName(auth), func(t *testing.T) {
			r := registrytest.Start(t, &registrytest.Options{Auth: auth})
			c := newClient(t, r, alice(r), nil)
			ctx := t.Context()
			if err := c.Ping(ctx); err != nil {
				t.Fatal(err)
			}
			desc, manifest := image(t, c, "team/app", "v1")

			for _, ref := range []string{"v1", desc.Digest.String()} {
				if got, err := c.Resolve(ctx, "team/app", ref); err != nil || got.Digest != desc.Digest || got.Size != desc.Size || got.MediaType != desc.MediaType {
					t.Errorf("Resolve(%s) = %v, %v; want %v", ref, got, err, desc)
				}
				if got, b, err := c.Manifest(ctx, "team/app", ref, nil); err != nil || got.Digest != desc.Digest || !bytes.Equal(b, manifest) {
					t.Errorf("Manifest(%s) = %v, %q, %v", ref, got, b, err)
				}
			}
			if _, _, err := c.Manifest(ctx, "team/app", "v1", &registry.ManifestOptions{IfNoneMatch: desc.Digest}); !errors.Is(err, registry.ErrNotModified) {
				t.Errorf("a manifest that we have: %v", err)
			}
			if got, want := collect(t, c.Tags(ctx, "team/app", nil)), []string{"v1"}; !slices.Equal(got, want) {
				t.Errorf("tags %q, want %q", got, want)
			}
			if got, want := collect(t, c.Repositories(ctx, nil)), []string{"team/app"}; !slices.Equal(got, want) {
				t.Errorf("repositories %q, want %q", got, want)
			}

			blob, blobContent := content(t, 100_000)
			if _, err := c.StatBlob(ctx, "team/app", blob.Digest); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("a blob before it is there: %v", err)
			}
			if err := c.PutBlobChunks(ctx, "team/app", blob, bytes.NewReader(blobContent)); err != nil {
				t.Fatal(err)
			}
			if got, err := c.StatBlob(ctx, "team/app", blob.Digest); err != nil || got.Size != blob.Size {
				t.Errorf("StatBlob = %v, %v", got, err)
			}
			if upload, err := c.MountBlob(ctx, "team/other", blob.Digest, "team/app"); err != nil || upload != nil {
				t.Errorf("MountBlob = %v, %v", upload, err)
			}
			reader, err := c.OpenBlob(ctx, "team/other", blob)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, blobContent) {
				t.Errorf("read %d bytes of the mounted blob, %v", len(got), err)
			}
			if err := reader.Close(); err != nil {
				t.Error(err)
			}

			if err := c.Untag(ctx, "team/app", "v1"); err != nil {
				t.Error(err)
			}
			if _, err := c.Resolve(ctx, "team/app", "v1"); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("after Untag: %v", err)
			}
			if _, err := c.Resolve(ctx, "team/app", desc.Digest.String()); err != nil {
				t.Errorf("Untag took what it named: %v", err)
			}
			if err := c.DeleteManifest(ctx, "team/app", desc.Digest); err != nil {
				t.Error(err)
			}
			if err := c.DeleteBlob(ctx, "team/app", blob.Digest); err != nil {
				t.Error(err)
			}
			for _, gone := range []error{c.DeleteManifest(ctx, "team/app", desc.Digest), c.DeleteBlob(ctx, "team/app", blob.Digest)} {
				if !errors.Is(gone, registry.ErrNotFound) {
					t.Errorf("deleted twice: %v", gone)
				}
			}
		})
	}
}
