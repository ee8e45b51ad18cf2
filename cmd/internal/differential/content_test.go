package differential_test

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	mediaTypeDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// everything is what a client accepts that knows all types.
func everything() string {
	return strings.Join([]string{v1.MediaTypeImageManifest, v1.MediaTypeImageIndex, mediaTypeDockerManifest, mediaTypeDockerList}, ", ")
}

// A document is a manifest or index.
type document struct {
	mediaType string
	content   []byte
	digest    digest.Digest
}

func newDocument(mediaType string, v any) document {
	content, err := json.Marshal(v)
	if err != nil {
		panic(err) // of a struct of strings and numbers
	}
	return document{mediaType, content, digest.FromBytes(content)}
}

func (d document) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: d.mediaType, Digest: d.digest, Size: int64(len(d.content))}
}

func blobDescriptor(mediaType string, content []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// image makes a manifest of a config and layers, in the media types of OCI or Docker.
func image(docker bool, config []byte, layers ...[]byte) document {
	manifest, cfg, layer := v1.MediaTypeImageManifest, v1.MediaTypeImageConfig, v1.MediaTypeImageLayerGzip
	if docker {
		manifest, cfg, layer = mediaTypeDockerManifest, mediaTypeDockerConfig, mediaTypeDockerLayer
	}
	m := v1.Manifest{MediaType: manifest, Config: blobDescriptor(cfg, config), Layers: []v1.Descriptor{}}
	m.SchemaVersion = 2
	for _, l := range layers {
		m.Layers = append(m.Layers, blobDescriptor(layer, l))
	}
	return newDocument(manifest, m)
}

// index makes an index or Docker's list of images, the first of them for linux/amd64.
func index(docker bool, images ...document) document {
	mediaType := v1.MediaTypeImageIndex
	if docker {
		mediaType = mediaTypeDockerList
	}
	m := v1.Index{MediaType: mediaType, Manifests: []v1.Descriptor{}}
	m.SchemaVersion = 2
	for i, image := range images {
		desc := image.descriptor()
		desc.Platform = &v1.Platform{OS: "linux", Architecture: []string{"amd64", "arm64", "riscv64"}[i%3]}
		m.Manifests = append(m.Manifests, desc)
	}
	return newDocument(mediaType, m)
}

// pushBlob pushes content in two requests, which must work.
func (r *rig) pushBlob(repository string, content []byte) digest.Digest {
	r.tb.Helper()
	dgst := digest.FromBytes(content)
	open := r.do(request{method: "POST", target: "/v2/" + repository + "/blobs/uploads/"})
	if open.status != http.StatusAccepted {
		r.tb.Fatalf("%v", open)
	}
	put := r.do(request{
		method: "PUT", target: withDigest(open.location, dgst), body: content,
		header: header("Content-Type", "application/octet-stream"),
	})
	if put.status != http.StatusCreated {
		r.tb.Fatalf("%v: %s", put, put.content)
	}
	return dgst
}

// pushManifest pushes a manifest under a tag or its digest, which must work.
func (r *rig) pushManifest(repository, reference string, d document) {
	r.tb.Helper()
	x := r.do(request{
		method: "PUT", target: "/v2/" + repository + "/manifests/" + reference, body: d.content,
		header: header("Content-Type", d.mediaType),
	})
	if x.status != http.StatusCreated {
		r.tb.Fatalf("%v: %s", x, x.content)
	}
}

// withDigest adds the digest to the URL of an upload.
func withDigest(location string, dgst digest.Digest) string {
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	return location + sep + "digest=" + dgst.String()
}
