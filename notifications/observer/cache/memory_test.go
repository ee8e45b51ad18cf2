package cache_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/observer/cache"
	"github.com/regcast/regcast/notifications/observer/cache/cachetest"
)

func TestMemory(t *testing.T) {
	cachetest.TestProvider(t, func(*testing.T) cache.Provider { return cache.NewMemory(1000) })
}

func TestMemoryIsBounded(t *testing.T) {
	for _, test := range []struct {
		name           string
		entries, bound int
	}{
		{"told", 100, 100},
		{"not told", 0, cache.DefaultEntries},
		{"negative", -1, cache.DefaultEntries},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := cache.NewMemory(test.entries)
			repository, err := m.Repository("team/app")
			if err != nil {
				t.Fatal(err)
			}
			var dgsts []digest.Digest
			for i := range test.bound {
				dgst := digest.FromString(strconv.Itoa(i))
				dgsts = append(dgsts, dgst)
				if err := repository.Set(t.Context(), dgst, v1.Descriptor{MediaType: "a/b", Digest: dgst}); err != nil {
					t.Fatal(err)
				}
			}
			known := 0
			for _, dgst := range dgsts {
				for _, d := range []cache.Descriptors{m, repository} {
					if _, err := d.Stat(t.Context(), dgst); err == nil {
						known++
					} else if !errors.Is(err, cache.ErrUnknown) {
						t.Fatal(err)
					}
				}
			}
			if known != test.bound {
				t.Errorf("%d of %d entries are known, in a cache of %d", known, 2*len(dgsts), test.bound)
			}
		})
	}
}
