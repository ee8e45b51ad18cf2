package cache_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications/observer/cache"
)

// BenchmarkStat compares a Memory with and without a ReadThrough before it: the difference
// is what counting and measuring cost.
func BenchmarkStat(b *testing.B) {
	known, unknown := blob("known"), blob("unknown")
	for name, open := range map[string]func() cache.Provider{
		"bare": func() cache.Provider { return cache.NewMemory(0) },
		"measured": func() cache.Provider {
			return cache.NewReadThrough(cache.NewMemory(0), nil, &cache.ReadThroughOptions{Registerer: prometheus.NewRegistry()})
		},
	} {
		team, err := open().Repository("team/app")
		if err != nil {
			b.Fatal(err)
		}
		if err := team.Set(b.Context(), known.Digest, known); err != nil {
			b.Fatal(err)
		}
		b.Run("hit/"+name, func(b *testing.B) {
			for b.Loop() {
				_, _ = team.Stat(b.Context(), known.Digest)
			}
		})
		b.Run("miss/"+name, func(b *testing.B) {
			for b.Loop() {
				_, _ = team.Stat(b.Context(), unknown.Digest)
			}
		})
	}
}
