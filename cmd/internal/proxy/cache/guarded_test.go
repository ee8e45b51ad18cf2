package cache_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcast/regcast/cmd/internal/proxy/cache"
)

// Two caches share a store that one of them does not reach for a moment, in which a change
// passes through it. Whatever it does next has the store know, and with that the other.
func TestAStoreThatOneDoesNotReach(t *testing.T) {
	for what, next := range map[string]func(*cache.Cache){
		"a change of something else": func(c *cache.Cache) { ask(c, "PUT", "/v2/team/other/manifests/v1") },
		"a read":                     func(c *cache.Cache) { ask(c, "GET", byTag) },
		"a read of a blob":           func(c *cache.Cache) { ask(c, "GET", "/v2/team/app/blobs/"+digestOf("x")) },
		"nothing":                    func(c *cache.Cache) { c.Repay(t.Context()) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var down atomic.Bool
				m, b, opts := cache.NewMemory(time.Hour, 0), &backend{}, &cache.Options{Anonymous: true, TTL: time.Hour}
				one, other := cache.New(b, unreached{m, &down}, opts), cache.New(b, m, opts)
				ask(other, "GET", tags)
				down.Store(true)
				if w := ask(one, "PUT", byTag); w.Code != http.StatusAccepted {
					t.Fatalf("a change without the store: %d", w.Code)
				}
				down.Store(false)
				time.Sleep(2 * time.Second) // it is left alone for a while
				next(one)
				if w := ask(other, "GET", tags); w.Header().Get("X-Cache") != "MISS" {
					t.Errorf("the other one gives what was before the change: %v", w.Header())
				}
			})
		})
	}
}

// unreached is a store that cannot be told of changes while it is down.
type unreached struct {
	cache.Store
	down *atomic.Bool
}

func (u unreached) Bump(ctx context.Context, repository string) error {
	if u.down.Load() {
		return errors.New("no route")
	}
	return u.Store.Bump(ctx, repository)
}

// Two caches that ask the registry as others share no answers, but changes.
func TestAskingAsOthers(t *testing.T) {
	m, b := cache.NewMemory(time.Hour, 0), &backend{}
	one := cache.New(b, m, &cache.Options{Anonymous: true, As: "one"})
	other := cache.New(b, m, &cache.Options{Anonymous: true, As: "other"})
	for _, step := range []struct {
		cache  *cache.Cache
		method string
		from   string
	}{{one, "GET", "MISS"}, {other, "GET", "MISS"}, {one, "GET", "HIT"}, {other, "GET", "HIT"}, {one, "PUT", ""}, {other, "GET", "MISS"}, {one, "GET", "MISS"}} {
		if got := ask(step.cache, step.method, byTag).Header().Get("X-Cache"); got != step.from {
			t.Errorf("%+v: X-Cache %q", step, got)
		}
	}
}
