package mirror_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A backend is a registry of some make.
type backend struct {
	start     func(t *testing.T) http.Handler // nil: CNCF distribution
	referrers bool                            // it lists what refers to a manifest
}

func backends() map[string]backend {
	return map[string]backend{
		"distribution": {},
		"olareg": {func(t *testing.T) http.Handler {
			enabled := true
			s := olareg.New(config.Config{
				Storage: config.ConfigStorage{StoreType: config.StoreMem},
				API:     config.ConfigAPI{DeleteEnabled: &enabled, Blob: config.ConfigAPIBlob{DeleteEnabled: &enabled}},
			})
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			return s
		}, true},
		"cue": {func(*testing.T) http.Handler { return ociserver.New(ocimem.New(), nil) }, true},
	}
}

func (b backend) options(t *testing.T) *registrytest.Options {
	if b.start == nil {
		return nil
	}
	handler := b.start(t)
	return &registrytest.Options{Wrap: func(http.Handler) http.Handler { return handler }}
}

// referrers are what a registry lists as attached to a manifest.
func referrers(t *testing.T, r *registrytest.Registry, repository string, subject v1.Descriptor) []v1.Descriptor {
	t.Helper()
	resp, err := r.Client().Get(r.URL() + "/v2/" + repository + "/referrers/" + subject.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var index v1.Index
	if err := json.NewDecoder(resp.Body).Decode(&index); err != nil {
		t.Fatal(resp.Status, err)
	}
	return index.Manifests
}

// Registries of other makes are sources and targets, too: of an index with all that it has,
// again, of what is attached to it, and of what is deleted.
func TestRegistriesOfOtherMakes(t *testing.T) {
	for from, source := range backends() {
		for to, target := range backends() {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, source.options(t), target.options(t), func(r *rig) {
					r.opts.Referrers, r.opts.PropagateDeletes = true, true
				})
				index, _ := putIndex(t, r.from, "team/app", "1.0")
				r.deliver(t, event(notifications.ActionPush, "team/app", "1.0", index))
				r.arrived(t, "team/app", "1.0")
				signature := putArtifact(t, r.from, "team/app", "", &index)
				r.deliver(t, push("team/app", "", signature.Digest))
				r.arrived(t, "team/app", signature.Digest.String())
				if target.referrers {
					if list := referrers(t, r.target, "team/app", index); len(list) != 1 || list[0].Digest != signature.Digest {
						t.Errorf("the target lists %v as attached, want %s", list, signature.Digest)
					}
				}
				copied := r.counter(t, "manifests_total copied")
				r.deliver(t, event(notifications.ActionPush, "team/app", "1.0", index))
				if again := r.counter(t, "manifests_total copied") - copied; again != 0 {
					t.Errorf("%v manifests were copied again", again)
				}

				second := putImage(t, r.from, "team/other", "1.0", noise(99, 1000)) // a layer and a configuration of the index
				r.deliver(t, push("team/other", "1.0", second.Digest))
				r.arrived(t, "team/other", "1.0")
				r.metrics(t, "blobs_total mounted 2", "manifests_total missing 0", "inflight_bytes 0")

				if err := r.from.Untag(t.Context(), "team/other", "1.0"); err != nil {
					t.Fatal(err)
				}
				r.deliver(t, deletion("team/other", "1.0", ""))
				if got := tagged(t, r.to, "team/other", "1.0"); got != "" {
					t.Errorf("the tag that was deleted is %s", got)
				}
			})
		}
	}
}
