package mirror

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A platform is one for which manifests are copied.
type platform struct{ os, architecture, variant string }

// parsePlatforms reads names like "linux/amd64" and "linux/arm/v7".
func parsePlatforms(names []string) ([]platform, error) {
	var all []platform
	for _, name := range names {
		parts := strings.Split(name, "/")
		if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
			return nil, fmt.Errorf(`%q is not "os/architecture" or "os/architecture/variant"`, name)
		}
		p := platform{os: parts[0], architecture: parts[1]}
		if len(parts) == 3 {
			p.variant = parts[2]
		}
		all = append(all, p)
	}
	return all, nil
}

// of tells whether p is what a manifest is for; without a variant it is all of them.
func (p platform) of(q *v1.Platform) bool {
	return p.os == q.OS && p.architecture == q.Architecture && (p.variant == "" || p.variant == q.Variant)
}

// attests is the annotation by which BuildKit's attestations, whose platform is
// unknown/unknown, name the manifest that they are about
// (https://docs.docker.com/build/metadata/attestations/attestation-storage/).
const attests = "vnd.docker.reference.digest"

// chosen returns those manifests of an index that are copied.
func chosen(manifests []v1.Descriptor, platforms []platform) []v1.Descriptor {
	if len(platforms) == 0 {
		return manifests
	}
	var all []v1.Descriptor
	copied := make(map[digest.Digest]bool)
	for _, d := range manifests {
		if d.Platform == nil || slices.ContainsFunc(platforms, func(p platform) bool { return p.of(d.Platform) }) {
			all = append(all, d)
			copied[d.Digest] = true
		}
	}
	for _, d := range manifests {
		if about := digest.Digest(d.Annotations[attests]); copied[about] && !copied[d.Digest] {
			all = append(all, d)
			copied[d.Digest] = true
		}
	}
	return all
}
