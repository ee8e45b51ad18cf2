package registry_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// modified is when contents that tests serve were last changed: unknown.
func modified() time.Time { return time.Time{} }

// layerOf is the digest of an image's first layer.
func layerOf(t testing.TB, manifest []byte) digest.Digest {
	t.Helper()
	var m v1.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil || len(m.Layers) == 0 {
		t.Fatalf("no layer in %s: %v", manifest, err)
	}
	return m.Layers[0].Digest
}
