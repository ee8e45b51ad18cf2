package mirror

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A manifest is what anybody may have pushed.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `null`, `{"config":{"digest":"sha256:x","size":-1},"layers":[{"urls":["x"]}]}`,
		`{"manifests":[{"platform":{"os":"linux","architecture":"arm"}}],"subject":{"digest":""}}`,
		`{"blobs":[{},null]}`, `{"config":7}`,
	} {
		f.Add([]byte(seed), "linux/arm/v7")
	}
	f.Fuzz(func(t *testing.T, manifest []byte, name string) {
		platforms, err := parsePlatforms([]string{name})
		if err == nil && strings.Trim(strings.Join([]string{platforms[0].os, platforms[0].architecture, platforms[0].variant}, "/"), "/") != name {
			t.Errorf("%q is %+v", name, platforms)
		}
		c, err := parse(manifest)
		if err != nil {
			return
		}
		if !json.Valid(manifest) {
			t.Error("it is not JSON")
		}
		for _, blob := range c.blobs() {
			if foreign(&blob) && (c.Config == nil || blob.Digest != c.Config.Digest) {
				t.Errorf("%v is not for distribution", blob)
			}
		}
		if got := chosen(c.Manifests, platforms); len(got) > len(c.Manifests) {
			t.Errorf("%d of %d manifests", len(got), len(c.Manifests))
		}
	})
}

func TestForeign(t *testing.T) {
	for mediaType, want := range map[string]bool{
		v1.MediaTypeImageLayerGzip:                                         false,
		"application/vnd.oci.image.layer.nondistributable.v1.tar":          true,
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip":     true,
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":        true,
		"application/vnd.docker.image.rootfs.diff.tar.gzip":                false,
		"application/vnd.example.nondistributable.but.only.by.coincidence": false,
	} {
		if got := foreign(&v1.Descriptor{MediaType: mediaType}); got != want {
			t.Errorf("%s: %v", mediaType, got)
		}
	}
}

func TestAManifestOfTooMuch(t *testing.T) {
	c := map[string][]struct{}{"layers": make([]struct{}, maxReferences+1)}
	manifest, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(manifest); err == nil {
		t.Error("no error")
	}
}

func TestPlatforms(t *testing.T) {
	arm := &v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	for name, want := range map[string]bool{"linux/arm": true, "linux/arm/v7": true, "linux/arm/v6": false, "linux/arm64": false, "windows/arm": false} {
		platforms, err := parsePlatforms([]string{name})
		if err != nil || platforms[0].of(arm) != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	for _, bad := range []string{"", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux//v7"} {
		if _, err := parsePlatforms([]string{bad}); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// What was seen last is known, and no more than two generations.
func TestPlaces(t *testing.T) {
	var p places
	at := func(i int) digest.Digest { return digest.FromBytes([]byte{byte(i), byte(i >> 8), byte(i >> 16)}) }
	for i := range 3 * maxPlaces {
		p.note(at(i), "a")
	}
	if got := len(p.newer) + len(p.older); got > 2*maxPlaces {
		t.Errorf("%d are remembered", got)
	}
	if p.find(at(3*maxPlaces-1)) != "a" || p.find(at(0)) != "" {
		t.Error("it remembers the wrong ones")
	}
	p.note(at(3*maxPlaces-1), "b")
	if got := p.find(at(3*maxPlaces - 1)); got != "b" {
		t.Errorf("%q, want the last place", got)
	}
}

func TestSizes(t *testing.T) {
	var got []string
	for _, n := range []int64{0, 1, 1 << 20, 120 << 20, 9 << 30, 10 << 30} {
		got = append(got, size(n))
	}
	if want := []string{"0 KiB", "1 KiB", "1024 KiB", "120 MiB", "9216 MiB", "10 GiB"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
