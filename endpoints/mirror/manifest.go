package mirror

import (
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxReferences bounds what one manifest may refer to. The largest manifest that is read,
// 4 MiB, has room for some 40 000.
const maxReferences = 50_000

// A content is what a manifest of any kind refers to, by the names of
// https://github.com/opencontainers/image-spec and of the kinds that came before: an image
// has a config and layers, an artifact manifest blobs, an index manifests.
type content struct {
	Config    *v1.Descriptor  `json:"config"`
	Layers    []v1.Descriptor `json:"layers"`
	Blobs     []v1.Descriptor `json:"blobs"`
	Manifests []v1.Descriptor `json:"manifests"`
	Subject   *v1.Descriptor  `json:"subject"`
}

// parse reads a manifest. Its errors do not quote it.
func parse(manifest []byte) (*content, error) {
	var c content
	if json.Unmarshal(manifest, &c) != nil {
		return nil, errManifest
	}
	if n := len(c.Layers) + len(c.Blobs) + len(c.Manifests); n > maxReferences {
		return nil, fmt.Errorf("the manifest refers to %d objects, more than %d", n, maxReferences)
	}
	return &c, nil
}

// blobs are the blobs to copy: configuration first, then layers that are for distribution.
func (c *content) blobs() []v1.Descriptor {
	var all []v1.Descriptor
	if c.Config != nil {
		all = append(all, *c.Config)
	}
	for _, list := range [][]v1.Descriptor{c.Layers, c.Blobs} {
		for _, d := range list {
			if !foreign(&d) {
				all = append(all, d)
			}
		}
	}
	return all
}

// foreign tells whether a layer is to be had elsewhere and not from registries
// (https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers).
func foreign(d *v1.Descriptor) bool {
	return len(d.URLs) > 0 ||
		strings.HasPrefix(d.MediaType, "application/vnd.oci.image.layer.nondistributable.") ||
		strings.HasPrefix(d.MediaType, "application/vnd.docker.image.rootfs.foreign.")
}

// isIndex tells whether a media type is that of manifests of manifests.
func isIndex(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == "application/vnd.docker.distribution.manifest.list.v2+json"
}
