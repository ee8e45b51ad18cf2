package mirror_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	distribution "github.com/distribution/distribution/v3/configuration"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	orasgo "oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

func TestAnImageIsCopied(t *testing.T) {
	for _, auth := range []registrytest.Auth{registrytest.None, registrytest.Htpasswd, registrytest.Token} {
		t.Run(string(auth), func(t *testing.T) {
			r := newRig(t, &registrytest.Options{Auth: auth}, &registrytest.Options{Auth: auth}, nil)
			desc := putImage(t, r.from, "team/app", "1.0", noise(1, 100_000), noise(2, 10))
			r.metrics(t, "bytes_total 0", "blobs_total mounted 0", "manifests_total superseded 0", "superseded_total gone 0")
			r.deliver(t, push("team/app", "1.0", desc.Digest))
			r.arrived(t, "team/app", "1.0")
			r.metrics(t, "blobs_total copied 3", "manifests_total copied 1", "inflight_bytes 0")
			r.meter.Reset()
			r.deliver(t, push("team/app", "1.0", desc.Digest))
			r.metrics(t, "blobs_total copied 3", "manifests_total copied 1", "manifests_total skipped 1")
			for _, request := range r.meter.Requests() {
				if !strings.HasPrefix(request, "HEAD ") && !strings.HasPrefix(request, "GET "+registrytest.TokenPath) && request != "GET /v2/" {
					t.Errorf("of what is there, a mirror asks: %s", request)
				}
			}
		})
	}
}

// Both registries are asked of the tag alone where the event names no digest.
func TestAPushWithoutADigest(t *testing.T) {
	r := newRig(t, nil, nil, nil)
	putImage(t, r.from, "app", "latest", noise(1, 100))
	r.deliver(t, push("app", "latest", ""))
	r.arrived(t, "app", "latest")
}

// platforms are of an index that tests make.
func platforms() []v1.Platform {
	return []v1.Platform{
		{OS: "linux", Architecture: "amd64"},
		{OS: "linux", Architecture: "arm", Variant: "v6"},
		{OS: "linux", Architecture: "arm", Variant: "v7"},
		{OS: "windows", Architecture: "amd64", OSVersion: "10.0.17763.1"},
	}
}

// putIndex stores an index under ref: an image for each platform, an attestation of each,
// and an index of one image that is for no platform. It returns the index's descriptor, and
// the images' and attestations' by what they are for.
func putIndex(t testing.TB, c *registry.Client, repository, ref string) (v1.Descriptor, map[string]v1.Descriptor) {
	t.Helper()
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	parts := map[string]v1.Descriptor{}
	add := func(name string, desc v1.Descriptor, p *v1.Platform, annotations map[string]string) {
		desc.Platform, desc.Annotations = p, annotations
		parts[name] = desc
		index.Manifests = append(index.Manifests, desc)
	}
	shared := noise(99, 1000)
	for i, p := range platforms() {
		name := strings.Trim(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
		desc := putImage(t, c, repository, "", shared, noise(uint64(i), 2000))
		add(name, desc, &p, nil)
		add(name+" attestation", putImage(t, c, repository, "", noise(uint64(100+i), 300)),
			&v1.Platform{OS: "unknown", Architecture: "unknown"}, map[string]string{"vnd.docker.reference.digest": desc.Digest.String()})
	}
	inner := putImage(t, c, repository, "", noise(200, 10))
	add("nested", putManifest(t, c, repository, "", v1.MediaTypeImageIndex, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{inner},
	}), nil, nil)
	return putManifest(t, c, repository, ref, v1.MediaTypeImageIndex, index), parts
}

func TestAnIndexIsCopiedWithItsManifests(t *testing.T) {
	r := newRig(t, nil, nil, nil)
	desc, parts := putIndex(t, r.from, "team/app", "1.0")
	r.deliver(t, push("team/app", "1.0", desc.Digest))
	r.arrived(t, "team/app", "1.0")
	r.metrics(t, fmt.Sprint("manifests_total copied ", len(parts)+2))
	requests := r.meter.Requests()
	last := slices.Index(requests, "PUT /v2/team/app/manifests/1.0")
	for i, request := range requests {
		if strings.HasPrefix(request, "PUT ") && i > last {
			t.Errorf("%s comes after the tag", request)
		}
	}
}

// Of the platforms that are left out nothing is copied, and the index is what it was.
func TestChosenPlatforms(t *testing.T) {
	r := newRig(t, nil, &registrytest.Options{Configure: sparse}, func(r *rig) { r.opts.Platforms = []string{"linux/arm/v7", "windows/amd64"} })
	desc, parts := putIndex(t, r.from, "team/app", "1.0")
	r.deliver(t, push("team/app", "1.0", desc.Digest))
	if got := tagged(t, r.to, "team/app", "1.0"); got != desc.Digest {
		t.Errorf("the index is %s, want %s", got, desc.Digest)
	}
	for name, part := range parts {
		want := name == "nested" || strings.HasPrefix(name, "linux/arm/v7") || strings.HasPrefix(name, "windows/amd64")
		if got := tagged(t, r.to, "team/app", part.Digest.String()) != ""; got != want {
			t.Errorf("%s: copied %v, want %v", name, got, want)
		}
	}

	// Who chooses more later gets the rest by delivering again.
	r.opts.Platforms = nil
	r.endpoint = newEndpoint(t, "all", &r.opts)
	r.deliver(t, push("team/app", "1.0", desc.Digest))
	r.arrived(t, "team/app", "1.0")
}

func TestATargetThatWantsAllPlatforms(t *testing.T) {
	r := newRig(t, nil, nil, func(r *rig) { r.opts.Platforms = []string{"linux/amd64"} })
	desc, _ := putIndex(t, r.from, "team/app", "1.0")
	err := r.refused(t, push("team/app", "1.0", desc.Digest), endpoints.Rejected)
	if !strings.Contains(err.Error(), "without the 6 manifests that platforms leaves out") || err.Status != 400 {
		t.Error(err)
	}
}

// putArtifact stores an artifact about subject, as signatures and SBOMs are.
func putArtifact(t testing.TB, c *registry.Client, repository, ref string, subject *v1.Descriptor) v1.Descriptor {
	t.Helper()
	return putManifest(t, c, repository, ref, v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: "application/vnd.example.sbom",
		Config:  putBlob(t, c, repository, v1.MediaTypeEmptyJSON, []byte("{}")),
		Layers:  []v1.Descriptor{putBlob(t, c, repository, "application/spdx+json", noise(7, 500))},
		Subject: subject,
	})
}

func TestAnArtifactIsCopiedWithItsSubject(t *testing.T) {
	r := newRig(t, nil, nil, nil)
	subject := putImage(t, r.from, "team/app", "1.0", noise(1, 100))
	artifact := putArtifact(t, r.from, "team/app", "1.0.sbom", &subject)
	r.deliver(t, push("team/app", "1.0.sbom", artifact.Digest))
	r.arrived(t, "team/app", "1.0.sbom")
	r.arrived(t, "team/app", subject.Digest.String())
	if got := tagged(t, r.to, "team/app", "1.0"); got != "" {
		t.Errorf("the subject's tag was copied: %s", got)
	}

	missing := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("nothing"), Size: 7}
	orphan := putArtifact(t, r.from, "team/app", "orphan", &missing)
	r.deliver(t, push("team/app", "orphan", orphan.Digest))
	r.arrived(t, "team/app", "orphan")
}

func TestPushesByDigest(t *testing.T) {
	for _, asked := range []bool{false, true} {
		r := newRig(t, nil, nil, func(r *rig) { r.opts.ByDigest = asked })
		subject := putImage(t, r.from, "team/app", "1.0", noise(1, 100))
		signature := putArtifact(t, r.from, "team/app", "", &subject)
		e := push("team/app", "", signature.Digest)
		if got := r.endpoint.Wants(e); got != asked {
			t.Errorf("asked %v, wanted %v", asked, got)
		}
		r.deliver(t, e)
		if got := tagged(t, r.to, "team/app", signature.Digest.String()) != ""; got != asked {
			t.Errorf("asked %v, copied %v", asked, got)
		}
		if !asked {
			continue
		}
		// What a tag named once is content, too.
		newer := putImage(t, r.from, "team/app", "2.0", noise(2, 100))
		putImage(t, r.from, "team/app", "2.0", noise(3, 100))
		r.deliver(t, ago(time.Hour, push("team/app", "2.0", newer.Digest)))
		r.arrived(t, "team/app", newer.Digest.String())
		if got := tagged(t, r.to, "team/app", "2.0"); got != "" {
			t.Errorf("an old tag was copied: %s", got)
		}
		r.metrics(t, "superseded_total moved 1")
	}
}

// What is attached to an image is copied to where the image is, if that is asked for.
func TestReferrers(t *testing.T) {
	r := newRig(t, nil, nil, func(r *rig) { r.opts.Referrers = true })
	subject := putImage(t, r.from, "team/app", "1.0", noise(1, 100))
	signature := putArtifact(t, r.from, "team/app", "", &subject)
	e := push("team/app", "", signature.Digest)

	r.deliver(t, e) // the target does not have its subject
	r.deliver(t, push("team/app", "", subject.Digest))
	r.metrics(t, "manifests_total left 2", "manifests_total copied 0", "blobs_total copied 0")

	r.deliver(t, push("team/app", "1.0", subject.Digest))
	r.deliver(t, e)
	r.arrived(t, "team/app", signature.Digest.String())
	r.metrics(t, "manifests_total left 2", "manifests_total copied 2")

	// A signature of the signature.
	second := putArtifact(t, r.from, "team/app", "", &signature)
	r.deliver(t, push("team/app", "", second.Digest))
	r.arrived(t, "team/app", second.Digest.String())

	gone := push("team/app", "", digest.FromString("x"))
	r.refused(t, gone, endpoints.Early)
	r.deliver(t, ago(time.Hour, gone))
	r.metrics(t, "superseded_total gone 1")
}

// Where a registry has no referrers API, clients keep a tag that lists what is attached: it
// is copied as any other tag, with all that it lists.
func TestTheTagOfReferrers(t *testing.T) {
	r := newRig(t, nil, nil, nil)
	subject := putImage(t, r.from, "team/app", "1.0", noise(1, 100))
	r.deliver(t, push("team/app", "1.0", subject.Digest))
	oras, err := remote.NewRepository(r.source.Host() + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	oras.PlainHTTP = true
	signature, err := orasgo.PackManifest(t.Context(), oras, orasgo.PackManifestVersion1_1, "application/vnd.example.signature",
		orasgo.PackManifestOptions{Subject: &subject})
	if err != nil {
		t.Fatal(err)
	}
	tag := "sha256-" + subject.Digest.Encoded()
	index := tagged(t, r.from, "team/app", tag)
	if index == "" {
		t.Fatal("oras keeps no tag")
	}
	r.deliver(t, push("team/app", tag, index))
	r.arrived(t, "team/app", tag)
	r.arrived(t, "team/app", signature.Digest.String())
}

// What there is nothing to copy for is not even delivered.
func TestWants(t *testing.T) {
	deletes := newRig(t, nil, nil, func(r *rig) { r.opts.PropagateDeletes = true })
	plain := newRig(t, nil, nil, nil)
	blob := v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromString("x")}
	manifest := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("x")}
	for name, test := range map[string]struct {
		event          *notifications.Event
		plain, deletes bool
	}{
		"a push by tag":      {event(notifications.ActionPush, "a", "b", manifest), true, true},
		"a push by digest":   {event(notifications.ActionPush, "a", "", manifest), false, false},
		"a blob":             {event(notifications.ActionPush, "a", "", blob), false, false},
		"a pull":             {event(notifications.ActionPull, "a", "b", manifest), false, false},
		"a mount":            {event(notifications.ActionMount, "a", "", blob), false, false},
		"a deleted tag":      {deletion("a", "b", ""), false, true},
		"a deleted digest":   {deletion("a", "", blob.Digest), false, true},
		"a deleted blob":     {event(notifications.ActionDelete, "a", "", blob), false, false},
		"a deleted registry": {deletion("a", "", ""), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := plain.endpoint.Wants(test.event); got != test.plain {
				t.Errorf("wanted %v", got)
			}
			if got := deletes.endpoint.Wants(test.event); got != test.deletes {
				t.Errorf("wanted with deletes %v", got)
			}
		})
	}
}

// An artifact may keep a manifest as its layer, and an index may have both of them.
func TestAManifestThatIsABlobToo(t *testing.T) {
	// A target that takes an index without its manifests does not tell of one that is missing.
	r := newRig(t, nil, &registrytest.Options{Configure: sparse}, nil)
	inner := image(t, r.from, "team/app", noise(1, 100))
	kept := putManifest(t, r.from, "team/app", "", v1.MediaTypeImageManifest, inner)
	_, body, err := r.from.Manifest(t.Context(), "team/app", kept.Digest.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	keeper := putImage(t, r.from, "team/app", "", body)
	for tag, manifests := range map[string][]v1.Descriptor{"blob-first": {keeper, kept}, "manifest-first": {kept, keeper}} {
		desc := putManifest(t, r.from, "team/app", tag, v1.MediaTypeImageIndex, v1.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: manifests,
		})
		t.Run(tag, func(t *testing.T) {
			r.opts.Target.URL = r.target.URL() + "/" + tag // where nothing is yet
			r.to = client(t, r.target, r.opts.Target.URL)
			r.endpoint = newEndpoint(t, tag, &r.opts)
			r.deliver(t, push("team/app", tag, desc.Digest))
			r.arrived(t, "team/app", tag)
		})
	}
}

// Zero bytes are a blob, too, and one that comes twice is copied once.
func TestOddBlobs(t *testing.T) {
	r := newRig(t, nil, nil, nil)
	layer := noise(1, 5000)
	desc := putImage(t, r.from, "team/app", "1.0", nil, layer, layer, nil)
	r.deliver(t, push("team/app", "1.0", desc.Digest))
	r.arrived(t, "team/app", "1.0")
	r.metrics(t, "blobs_total copied 3", "blobs_total skipped 0")
}

// What the mirror has put into one repository is mounted into another.
func TestSharedBlobsAreMounted(t *testing.T) {
	for _, auth := range []registrytest.Auth{registrytest.None, registrytest.Token} {
		r := newRig(t, nil, &registrytest.Options{Auth: auth}, func(r *rig) { r.opts.Target.URL += "/prefix" })
		base := noise(1, 50_000)
		for i, repository := range []string{"team/one", "team/two"} {
			desc := putImage(t, r.from, repository, "1.0", base, noise(uint64(10+i), 100))
			r.deliver(t, push(repository, "1.0", desc.Digest))
			r.arrived(t, repository, "1.0")
		}
		r.metrics(t, "blobs_total copied 4", "blobs_total mounted 2")
	}
}

// Layers that are not for distribution are left where they are.
func TestForeignLayers(t *testing.T) {
	allow := func(c *distribution.Configuration) {
		c.Validation.Manifests.URLs.Allow = []string{`^https://layers\.example/`}
		c.Validation.Enabled = true
	}
	r := newRig(t, &registrytest.Options{Configure: allow}, &registrytest.Options{Configure: allow}, nil)
	const manifest = "application/vnd.docker.distribution.manifest.v2+json"
	desc := putManifest(t, r.from, "team/app", "1.0", manifest, map[string]any{
		"schemaVersion": 2, "mediaType": manifest,
		"config": putBlob(t, r.from, "team/app", "application/vnd.docker.container.image.v1+json", []byte("{}")),
		"layers": []v1.Descriptor{{
			MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: digest.FromString("windows"), Size: 1 << 30,
			URLs: []string{"https://layers.example/windows"},
		}},
	})
	r.deliver(t, push("team/app", "1.0", desc.Digest))
	if got := tagged(t, r.to, "team/app", "1.0"); got != desc.Digest {
		t.Errorf("%q, want %s", got, desc.Digest)
	}
	r.metrics(t, "blobs_total copied 1")
}

func TestATargetWithAPrefix(t *testing.T) {
	r := newRig(t, nil, nil, func(r *rig) { r.opts.Target.URL += "/mirrors/internal/" })
	desc := putImage(t, r.from, "team/app", "1.0", noise(1, 100))
	r.deliver(t, push("team/app", "1.0", desc.Digest))
	r.arrived(t, "team/app", "1.0")
	plain := client(t, r.target, r.target.URL())
	if got := tagged(t, plain, "mirrors/internal/team/app", "1.0"); got != desc.Digest {
		t.Errorf("%q, want %s", got, desc.Digest)
	}
	if got := tagged(t, plain, "team/app", "1.0"); got != "" {
		t.Errorf("it is outside of the prefix: %s", got)
	}
	if got, want := r.endpoint.URL(), r.target.URL()+"/mirrors/internal"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Two names of one registry, which nothing tells, lead to one copy and no copies of copies.
func TestACopyIsNotCopiedAgain(t *testing.T) {
	r := newRig(t, nil, nil, func(r *rig) {
		r.target = r.source
		alias := registrytest.Start(t, &registrytest.Options{Wrap: func(http.Handler) http.Handler {
			return httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.source.Host()})
		}})
		r.opts.Target.URL = alias.URL() + "/copies"
		r.opts.PropagateDeletes = true
	})
	desc := putImage(t, r.from, "team/app", "1.0", noise(1, 100))
	r.deliver(t, push("team/app", "1.0", desc.Digest))
	if got := tagged(t, r.from, "copies/team/app", "1.0"); got != desc.Digest {
		t.Fatalf("the copy is %q", got)
	}
	for _, e := range []*notifications.Event{push("copies/team/app", "1.0", desc.Digest), deletion("copies/team/app", "1.0", "")} {
		if r.endpoint.Wants(e) {
			t.Errorf("a %s of the copy is wanted", e.Action)
		}
		r.deliver(t, e)
	}
	if got := tagged(t, r.from, "copies/copies/team/app", "1.0"); got != "" {
		t.Errorf("the copy of the copy is %s", got)
	}
	r.metrics(t, "manifests_total copied 1", "manifests_total deleted 0")
	if e := push("copies-of/app", "1.0", desc.Digest); !r.endpoint.Wants(e) {
		t.Errorf("%s is not wanted", e.Repository)
	}
}

// An event that names what no registry can have is its own fault.
func TestEventsThatCannotBe(t *testing.T) {
	r := newRig(t, nil, nil, func(r *rig) { r.opts.ByDigest, r.opts.PropagateDeletes = true, true })
	for name, e := range map[string]*notifications.Event{
		"a repository": push("Team/App", "1.0", digest.FromString("x")),
		"a tag":        push("team/app", "../1.0", digest.FromString("x")),
		"a digest":     push("team/app", "1.0", "sha256:zz"),
		"an escape":    deletion("team/app", "", "sha256:../../../catalog"),
	} {
		t.Run(name, func(t *testing.T) {
			err := r.refused(t, e, endpoints.Rejected)
			if !err.Permanent() {
				t.Error("it is not permanent")
			}
		})
	}
	if err := r.endpoint.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.endpoint.Write(t.Context(), []*notifications.Event{push("a", "b", "")}); !errors.Is(err, notifications.ErrClosed) {
		t.Errorf("after Shutdown: %v", err)
	}
}
