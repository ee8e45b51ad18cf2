package registry_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/registry"
)

// soon is a backoff for tests that wait for real.
func soon(int) time.Duration { return time.Millisecond }

func collect(t testing.TB, names iter.Seq2[string, error]) []string {
	t.Helper()
	var all []string
	for name, err := range names {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, name)
	}
	return all
}

// modified is when contents that tests serve were last changed: unknown.
func modified() time.Time { return time.Time{} }

// putEmptyIndex tags an index that needs no blobs; indexes of different tags differ.
func putEmptyIndex(t testing.TB, c *registry.Client, repository, tag string) v1.Descriptor {
	t.Helper()
	index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"tag":%q}}`, v1.MediaTypeImageIndex, tag)
	desc, err := c.PutManifest(t.Context(), repository, tag, v1.MediaTypeImageIndex, index)
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

// layerOf is the digest of an image's first layer.
func layerOf(t testing.TB, manifest []byte) digest.Digest {
	t.Helper()
	var m v1.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil || len(m.Layers) == 0 {
		t.Fatalf("no layer in %s: %v", manifest, err)
	}
	return m.Layers[0].Digest
}
