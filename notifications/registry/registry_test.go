package registry_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/internal/fixtures"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// The life of an image, by every call, with every kind of authentication.
func TestLifeOfAnImage(t *testing.T) {
	for _, kind := range fixtures.EveryAuth() {
		t.Run(fixtures.AuthName(kind), func(t *testing.T) {
			r := registrytest.Start(t, &registrytest.Options{Auth: kind})
			c := fixtures.Client(t, r, fixtures.Alice(r), nil)
			ctx := t.Context()
			if err := c.Ping(ctx); err != nil {
				t.Fatal(err)
			}
			desc, manifest := fixtures.Image(t, c, "team/app", "v1")

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
			if got, want := fixtures.Collect(t, c.Tags(ctx, "team/app", nil)), []string{"v1"}; !slices.Equal(got, want) {
				t.Errorf("tags %q, want %q", got, want)
			}
			if got, want := fixtures.Collect(t, c.Repositories(ctx, nil)), []string{"team/app"}; !slices.Equal(got, want) {
				t.Errorf("repositories %q, want %q", got, want)
			}

			blob, blobContent := fixtures.Content(t, 100_000)
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
