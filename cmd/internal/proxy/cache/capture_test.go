package cache_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/proxy/cache"
)

// What the registry refuses to whom it does not know has changed nothing after its answer.
func TestARefusedChange(t *testing.T) {
	for status, want := range map[int]int{401: 1, 403: 1, 201: 2, 400: 2, 404: 2} {
		s := &bumped{Store: cache.NewMemory(time.Hour, 0)}
		c := cache.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }), s, nil)
		ask(c, "PUT", byTag)
		if s.times != want {
			t.Errorf("%d: %d generations were begun, want %d", status, s.times, want)
		}
	}
}

// bumped is a store that counts generations.
type bumped struct {
	cache.Store
	times int
}

func (b *bumped) Bump(ctx context.Context, repository string) error {
	b.times++
	return b.Store.Bump(ctx, repository)
}
