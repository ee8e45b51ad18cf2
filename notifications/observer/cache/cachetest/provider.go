// Package cachetest judges implementations of cache.Provider: [TestProvider] runs one
// subtest for each promise, each on a provider of its own. It waits for nothing, and
// starts nothing that it does not join.
package cachetest

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/observer/cache"
)

// TestProvider checks that what open returns keeps the promises of cache.Provider. Each
// call of open returns an empty provider with room for 1 000 entries, which nobody else
// uses and which works: its errors fail the test. Run it with the race detector.
func TestProvider(t *testing.T, open func(t *testing.T) cache.Provider) {
	for _, test := range []struct {
		name string
		run  func(*trial)
	}{
		{"an empty cache knows nothing", (*trial).empty},
		{"malformed digests are refused", (*trial).malformedDigests},
		{"malformed names are refused", (*trial).malformedNames},
		{"what is no entry is not admitted", (*trial).admission},
		{"what was set is known", (*trial).set},
		{"one repository has nothing of another", (*trial).membership},
		{"a repository has its own media type", (*trial).mediaType},
		{"what all have no repository has", (*trial).all},
		{"a digest of another algorithm", (*trial).alias},
		{"clearing a digest of two algorithms", (*trial).aliasClear},
		{"clearing forgets", (*trial).clear},
		{"what was cleared does not come back by others", (*trial).clearOthers},
		{"clearing for all together", (*trial).clearAll},
		{"random operations", (*trial).model},
		{"many at once", (*trial).concurrent},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(&trial{T: t, provider: open(t)})
		})
	}
}

// A trial is one subtest with its provider.
type trial struct {
	*testing.T
	provider cache.Provider
}

func (t *trial) repository(name string) cache.Descriptors {
	t.Helper()
	d, err := t.provider.Repository(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (t *trial) mustSet(d cache.Descriptors, dgst digest.Digest, desc v1.Descriptor) {
	t.Helper()
	if err := d.Set(t.Context(), dgst, desc); err != nil {
		t.Fatalf("Set: %v", err)
	}
}

func (t *trial) mustClear(d cache.Descriptors, dgst digest.Digest) {
	t.Helper()
	if err := d.Clear(t.Context(), dgst); err != nil {
		t.Fatalf("Clear: %v", err)
	}
}

func (t *trial) wantKnown(d cache.Descriptors, dgst digest.Digest, want v1.Descriptor) {
	t.Helper()
	got, err := d.Stat(t.Context(), dgst)
	if err != nil || !same(got, want) {
		t.Errorf("Stat: %+v, %v, want %+v", got, err, want)
	}
}

func (t *trial) wantUnknown(d cache.Descriptors, dgst digest.Digest) {
	t.Helper()
	got, err := d.Stat(t.Context(), dgst)
	if !errors.Is(err, cache.ErrUnknown) || !same(got, v1.Descriptor{}) {
		t.Errorf("Stat: %+v, %v, want %v", got, err, cache.ErrUnknown)
	}
}

// same tells whether two descriptors agree in what a cache keeps, and have nothing else.
func same(a, b v1.Descriptor) bool {
	bare := func(d v1.Descriptor) bool {
		return d.Annotations == nil && d.Data == nil && d.URLs == nil && d.Platform == nil && d.ArtifactType == ""
	}
	return a.Digest == b.Digest && a.Size == b.Size && a.MediaType == b.MediaType && bare(a) && bare(b)
}

// layer describes content as a blob.
func layer(content string) v1.Descriptor {
	return v1.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromString(content), Size: int64(len(content))}
}

func (t *trial) empty() {
	dgst := layer("a").Digest
	for _, d := range []cache.Descriptors{t.provider, t.repository("team/app")} {
		t.wantUnknown(d, dgst)
		t.wantUnknown(d, digest.SHA384.FromString("a"))
		if err := d.Clear(t.Context(), dgst); !errors.Is(err, cache.ErrUnknown) {
			t.Errorf("Clear: %v, want %v", err, cache.ErrUnknown)
		}
	}
}

func (t *trial) malformedDigests() {
	for _, test := range []struct {
		name string
		dgst digest.Digest
		want error
	}{
		{"empty", "", digest.ErrDigestInvalidFormat},
		{"no digest", "latest", digest.ErrDigestInvalidFormat},
		{"short", "sha256:abc", digest.ErrDigestInvalidLength},
		{"unknown algorithm", digest.Digest("moon:" + strings.Repeat("a", 64)), digest.ErrDigestUnsupported},
		{"upper case", digest.Digest("sha256:" + strings.Repeat("A", 64)), digest.ErrDigestInvalidFormat},
		{"line break", layer("a").Digest + "\n", digest.ErrDigestInvalidLength},
	} {
		t.Run(test.name, func(t2 *testing.T) {
			for _, d := range []cache.Descriptors{t.provider, t.repository("team/app")} {
				if _, err := d.Stat(t2.Context(), test.dgst); !errors.Is(err, test.want) {
					t2.Errorf("Stat: %v, want %v", err, test.want)
				}
				if err := d.Set(t2.Context(), test.dgst, layer("a")); !errors.Is(err, test.want) {
					t2.Errorf("Set: %v, want %v", err, test.want)
				}
				if err := d.Clear(t2.Context(), test.dgst); !errors.Is(err, test.want) {
					t2.Errorf("Clear: %v, want %v", err, test.want)
				}
			}
		})
	}
}

func (t *trial) malformedNames() {
	for _, name := range []string{"", "/", "Team/App", "team//app", "team/app:tag", "team app", "..", "team/app\n", strings.Repeat("a", 256)} {
		if _, err := t.provider.Repository(name); err == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
	for _, name := range []string{"a", "team/app", "a/b/c/d", "a/blobs/uploads", "localhost:8080/app", strings.Repeat("a", 255)} {
		if _, err := t.provider.Repository(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func (t *trial) admission() {
	good := layer("a")
	for _, test := range []struct {
		name string
		desc v1.Descriptor
	}{
		{"no digest", v1.Descriptor{MediaType: good.MediaType, Size: good.Size}},
		{"malformed digest", v1.Descriptor{MediaType: good.MediaType, Digest: "sha256:abc", Size: good.Size}},
		{"another digest", layer("b")},
		{"negative size", v1.Descriptor{MediaType: good.MediaType, Digest: good.Digest, Size: -1}},
		{"no media type", v1.Descriptor{Digest: good.Digest, Size: good.Size}},
		{"endless media type", v1.Descriptor{MediaType: strings.Repeat("a", cache.MaxMediaType+1), Digest: good.Digest, Size: good.Size}},
	} {
		t.Run(test.name, func(t2 *testing.T) {
			for _, d := range []cache.Descriptors{t.provider, t.repository("team/app")} {
				if err := d.Set(t2.Context(), good.Digest, test.desc); err == nil || errors.Is(err, cache.ErrUnknown) {
					t2.Errorf("Set: %v", err)
				}
				if _, err := d.Stat(t2.Context(), good.Digest); !errors.Is(err, cache.ErrUnknown) {
					t2.Errorf("Stat: %v, want %v", err, cache.ErrUnknown)
				}
			}
		})
	}
}

func (t *trial) set() {
	d := t.repository("team/app")
	full := layer("full")
	full.Annotations = map[string]string{"k": "v"}
	full.Data = []byte("full")
	full.URLs = []string{"https://example.com/full"}
	full.Platform = &v1.Platform{OS: "linux"}
	full.ArtifactType = "application/example"
	t.mustSet(d, full.Digest, full)
	t.wantKnown(d, full.Digest, layer("full"))
	t.wantKnown(t.provider, full.Digest, layer("full"))

	for _, size := range []int64{0, math.MaxInt64} {
		desc := layer("sized")
		desc.Size = size
		t.mustSet(d, desc.Digest, desc)
		t.wantKnown(d, desc.Digest, desc)
	}
	long := layer("typed")
	long.MediaType = "a/" + strings.Repeat("é \x00\n", 50)
	t.mustSet(d, long.Digest, long)
	t.wantKnown(d, long.Digest, long)
}

func (t *trial) membership() {
	desc := layer("a")
	t.mustSet(t.repository("team/app"), desc.Digest, desc)
	t.wantKnown(t.repository("team/app"), desc.Digest, desc)
	for _, name := range []string{"team/app2", "team", "app", "team/app/team/app"} {
		t.wantUnknown(t.repository(name), desc.Digest)
	}
}

func (t *trial) mediaType() {
	first, second := layer("a"), layer("a")
	second.MediaType = "application/json"
	a, b := t.repository("team/a"), t.repository("team/b")
	t.mustSet(a, first.Digest, first)
	t.mustSet(b, first.Digest, second)
	t.wantKnown(a, first.Digest, first)
	t.wantKnown(b, first.Digest, second)
	t.wantKnown(t.provider, first.Digest, first)

	t.mustSet(a, first.Digest, second)
	t.wantKnown(a, first.Digest, second)
	t.wantKnown(t.provider, first.Digest, first)

	t.mustSet(t.provider, first.Digest, second)
	t.wantKnown(t.provider, first.Digest, first)
}

func (t *trial) all() {
	desc := layer("a")
	t.mustSet(t.provider, desc.Digest, desc)
	t.wantKnown(t.provider, desc.Digest, desc)
	t.wantUnknown(t.repository("team/app"), desc.Digest)
}

func (t *trial) alias() {
	desc, other := layer("a"), digest.SHA512.FromString("a")
	d := t.repository("team/app")
	t.mustSet(d, other, desc)
	for _, scope := range []cache.Descriptors{d, t.provider} {
		t.wantKnown(scope, other, desc)
		t.wantKnown(scope, desc.Digest, desc)
		t.wantUnknown(scope, digest.SHA384.FromString("a"))
	}
	t.wantUnknown(t.repository("team/app2"), other)

	override := desc
	override.MediaType = "application/json"
	t.mustSet(d, other, override)
	t.wantKnown(d, other, override)
	t.wantKnown(d, desc.Digest, override)
	t.wantKnown(t.provider, other, desc)
	t.wantKnown(t.provider, desc.Digest, desc)
}

func (t *trial) aliasClear() {
	desc, other := layer("a"), digest.SHA512.FromString("a")
	d := t.repository("team/app")
	for _, dgst := range []digest.Digest{desc.Digest, other} {
		t.mustSet(d, other, desc)
		t.mustClear(d, dgst)
		for _, scope := range []cache.Descriptors{d, t.provider} {
			t.wantUnknown(scope, other)
			t.wantUnknown(scope, desc.Digest)
		}
	}
}

func (t *trial) clear() {
	desc, kept := layer("a"), layer("b")
	d := t.repository("team/app")
	t.mustSet(d, desc.Digest, desc)
	t.mustSet(d, kept.Digest, kept)
	t.mustClear(d, desc.Digest)
	t.wantUnknown(d, desc.Digest)
	t.wantUnknown(t.provider, desc.Digest)
	t.wantKnown(d, kept.Digest, kept)
	if err := d.Clear(t.Context(), desc.Digest); !errors.Is(err, cache.ErrUnknown) {
		t.Errorf("Clear again: %v, want %v", err, cache.ErrUnknown)
	}
	t.mustSet(d, desc.Digest, desc)
	t.wantKnown(d, desc.Digest, desc)
}

// clearOthers: what is revoked from one repository must not become readable there again
// because another one has it.
func (t *trial) clearOthers() {
	desc := layer("a")
	a, b := t.repository("team/a"), t.repository("team/b")
	t.mustSet(a, desc.Digest, desc)
	t.mustSet(b, desc.Digest, desc)
	t.mustClear(a, desc.Digest)
	t.wantUnknown(a, desc.Digest)
	t.wantUnknown(t.provider, desc.Digest)

	t.mustSet(b, desc.Digest, desc)
	t.mustSet(t.provider, desc.Digest, desc)
	t.wantKnown(b, desc.Digest, desc)
	t.wantUnknown(a, desc.Digest)

	// One that has nothing still clears what all together have.
	if err := a.Clear(t.Context(), desc.Digest); !errors.Is(err, cache.ErrUnknown) {
		t.Errorf("Clear of a repository that has nothing: %v, want %v", err, cache.ErrUnknown)
	}
	t.wantUnknown(t.provider, desc.Digest)
}

func (t *trial) clearAll() {
	first, second := layer("a"), layer("a")
	second.MediaType = "application/json"
	t.mustSet(t.provider, first.Digest, first)
	t.mustClear(t.provider, first.Digest)
	t.wantUnknown(t.provider, first.Digest)
	t.mustSet(t.provider, first.Digest, second)
	t.wantKnown(t.provider, first.Digest, second) // nothing of the first is left
}

// model compares with a map what one goroutine gets.
func (t *trial) model() {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"", "a", "b", "c"}
	types := []string{"application/octet-stream", "application/json"}
	type place struct {
		name string
		dgst digest.Digest
	}
	known := make(map[place]v1.Descriptor)
	for range 2000 {
		name := names[random.IntN(len(names))]
		desc := layer(string(rune('a' + random.IntN(4))))
		var d cache.Descriptors = t.provider
		if name != "" {
			d = t.repository(name)
		}
		switch random.IntN(4) {
		case 0:
			desc.MediaType = types[random.IntN(len(types))]
			t.mustSet(d, desc.Digest, desc)
			if name != "" {
				known[place{name, desc.Digest}] = desc
			}
			if first, ok := known[place{"", desc.Digest}]; ok {
				desc.MediaType = first.MediaType
			}
			known[place{"", desc.Digest}] = desc
		case 1:
			err := d.Clear(t.Context(), desc.Digest)
			if _, ok := known[place{name, desc.Digest}]; ok != (err == nil) || !ok && !errors.Is(err, cache.ErrUnknown) {
				t.Fatalf("Clear: %v, known before: %v", err, ok)
			}
			delete(known, place{name, desc.Digest})
			delete(known, place{"", desc.Digest})
		default:
			if want, ok := known[place{name, desc.Digest}]; ok {
				t.wantKnown(d, desc.Digest, want)
			} else {
				t.wantUnknown(d, desc.Digest)
			}
		}
	}
}

// concurrent has every goroutine check its own repository, while all of them work on the
// same digests.
func (t *trial) concurrent() {
	ctx := t.Context()
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		d := t.repository(name)
		wg.Go(func() {
			for i := range 100 {
				if err := t.round(ctx, d, layer(string(rune('a'+i%4)))); err != "" {
					t.Errorf("%s, round %d: %s", name, i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for i := range 4 {
		t.provider.Clear(ctx, layer(string(rune('a'+i))).Digest)
		t.wantUnknown(t.provider, layer(string(rune('a'+i))).Digest)
	}
}

// round sets, reads and clears desc in a repository that nobody else uses, and says what
// went wrong.
func (t *trial) round(ctx context.Context, d cache.Descriptors, desc v1.Descriptor) string {
	if err := d.Set(ctx, desc.Digest, desc); err != nil {
		return "Set: " + err.Error()
	}
	if got, err := d.Stat(ctx, desc.Digest); err != nil || !same(got, desc) {
		return "what was set is not known"
	}
	if got, err := t.provider.Stat(ctx, desc.Digest); err == nil && !same(got, desc) || err != nil && !errors.Is(err, cache.ErrUnknown) {
		return "all together have something else"
	}
	if err := d.Clear(ctx, desc.Digest); err != nil {
		return "Clear: " + err.Error()
	}
	if _, err := d.Stat(ctx, desc.Digest); !errors.Is(err, cache.ErrUnknown) {
		return "what was cleared is known"
	}
	return ""
}
