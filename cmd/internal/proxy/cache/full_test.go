package cache_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/notifications/observer/cache/redis/redistest"
)

// configure sets a Redis server's settings, given as names and values.
func configure(t *testing.T, s *redistest.Server, settings ...string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr(), ReadTimeout: patience})
	defer client.Close()
	for i := 0; i < len(settings); i += 2 {
		if err := client.ConfigSet(t.Context(), settings[i], settings[i+1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// A Redis that is full and must not evict takes nothing more. What it has is given until
// there is a change, and never afterwards, whichever process asks.
func TestRedisIsFull(t *testing.T) {
	ctx, server := t.Context(), redistest.Start(t)
	one, two := patientRedis(t, server), patientRedis(t, server)
	for _, bumped := range []string{"a", ""} {
		t.Run(fmt.Sprintf("changed %q", bumped), func(t *testing.T) {
			configure(t, server, "maxmemory", "0")
			old, _, err := one.Get(ctx, "a")
			if err != nil {
				t.Fatal(err)
			}
			if err := one.Set(ctx, "a", "k", old, []byte("old"), time.Hour); err != nil {
				t.Fatal(err)
			}
			configure(t, server, "maxmemory", "1", "maxmemory-policy", "noeviction")
			if _, value, err := two.Get(ctx, "a", "k"); err != nil || string(value) != "old" {
				t.Errorf("before a change it gives %q, %v", value, err)
			}
			if err := one.Set(ctx, "a", "other", old, []byte("new"), time.Hour); !errors.Is(err, cache.ErrFull) {
				t.Errorf("Set: %v", err)
			}
			if err := one.Bump(ctx, bumped); err != nil {
				t.Fatalf("Bump: %v", err)
			}
			for _, store := range []cache.Store{one, two} {
				if _, value, err := store.Get(ctx, "a", "k"); value != nil || !errors.Is(err, cache.ErrFull) {
					t.Errorf("after a change it gives %q, %v", value, err)
				}
			}
			configure(t, server, "maxmemory", "0")
			if now, value, err := two.Get(ctx, "a", "k"); now == old || value != nil || err != nil {
				t.Errorf("with room again: %q in generation %q after %q, %v", value, now, old, err)
			}
		})
	}
}

// A Redis that may evict takes whatever comes, and what it has evicted is asked for again:
// nobody sees what was before a change.
func TestRedisEvicts(t *testing.T) {
	ctx, server := t.Context(), redistest.Start(t)
	configure(t, server, "maxmemory", "2mb", "maxmemory-policy", "allkeys-lru")
	store, random := patientRedis(t, server), rand.New(rand.NewPCG(1, 2))
	latest, kept, lost := make(map[string]string), 0, 0
	for i := range 400 {
		repository := fmt.Sprint("r", random.IntN(20)) // 2 MiB, for which there is no room
		in, value, err := store.Get(ctx, repository, "k")
		if err != nil {
			t.Fatal(err)
		}
		switch want, known := latest[repository]; {
		case !known:
		case value == nil:
			lost++
		case !strings.HasPrefix(string(value), want):
			t.Fatalf("%s is %.5q, want %q", repository, value, want)
		default:
			kept++
		}
		if i%3 == 0 {
			if err := store.Bump(ctx, repository); err != nil {
				t.Fatal(err)
			}
			if in, value, err = store.Get(ctx, repository, "k"); value != nil || err != nil {
				t.Fatalf("after a change %s is %.5q, %v", repository, value, err)
			}
		}
		latest[repository] = fmt.Sprint(i, " ")
		if err := store.Set(ctx, repository, "k", in, []byte(latest[repository]+strings.Repeat("x", 100<<10)), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if kept == 0 || lost == 0 {
		t.Errorf("%d values were there again, %d were not: nothing was tried", kept, lost)
	}
}

// A store that is full is no store that fails: it is not left alone, and the log is silent.
func TestFullStoreIsNotBypassed(t *testing.T) {
	server := redistest.Start(t)
	var log bytes.Buffer
	metrics := prometheus.NewPedanticRegistry()
	b := &backend{}
	c := cache.New(b, patientRedis(t, server), &cache.Options{Anonymous: true, Registerer: metrics, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	ask(c, "GET", byTag)
	configure(t, server, "maxmemory", "1", "maxmemory-policy", "noeviction")
	for _, step := range []struct{ method, target, want string }{
		{"GET", byTag, "HIT"},
		{"GET", tags, "MISS"},
		{"GET", tags, "MISS"},
		{"GET", byTag, "HIT"},
		{"DELETE", byTag, ""},
		{"GET", byTag, ""}, // there is no generation
	} {
		w := ask(c, step.method, step.target)
		got := w.Header().Get("X-Cache")
		if got == "upstream" {
			got = ""
		}
		if got != step.want || w.Code >= 300 {
			t.Errorf("%s %s: %d %q, want %q", step.method, step.target, w.Code, got, step.want)
		}
	}
	if n := sum(t, metrics, "regcast_proxy_cache_unkept_total", "full"); n != 2 {
		t.Errorf("%v answers had no room, want 2", n)
	}
	configure(t, server, "maxmemory", "0")
	for _, want := range []string{"MISS", "HIT"} {
		if got := ask(c, "GET", byTag).Header().Get("X-Cache"); got != want {
			t.Errorf("with room again: %q, want %q", got, want)
		}
	}
	if log.Len() > 0 {
		t.Errorf("it logs %s", &log)
	}
}
