package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/notifications/observer/cache/redis/redistest"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quietly{})
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/docker/go-events.(*Broadcaster).run"))
}

// quietly keeps go-redis from telling of every connection that it cannot make.
type quietly struct{}

func (quietly) Printf(context.Context, string, ...any) {}

// patience bounds what a test waits for; it is never waited out by a test that passes.
const patience = time.Minute

// onRedis returns a store on a Redis, with a client of its own.
func onRedis(t *testing.T, s *redistest.Server, ttl time.Duration) *cache.Redis {
	t.Helper()
	return newRedis(t, s, cache.RedisOptions{TTL: ttl})
}

// patientRedis is onRedis for a Redis on a busy machine.
func patientRedis(t *testing.T, s *redistest.Server) *cache.Redis {
	t.Helper()
	return newRedis(t, s, cache.RedisOptions{TTL: time.Hour, Timeout: patience})
}

func newRedis(t *testing.T, s *redistest.Server, o cache.RedisOptions) *cache.Redis {
	t.Helper()
	o.Space = "http://registry"
	opts, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opts.ContextTimeoutEnabled = true
	opts.ReadTimeout, opts.WriteTimeout, opts.DialTimeout, opts.PoolTimeout = o.Timeout, o.Timeout, o.Timeout, o.Timeout
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	r, err := cache.NewRedis(client, &o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMemory(t *testing.T) { testStore(t, cache.NewMemory(time.Minute, 0)) }

func TestRedis(t *testing.T) {
	s := redistest.Start(t)
	testStore(t, onRedis(t, s, time.Minute))
	t.Run("after the loss of all", func(t *testing.T) {
		r := onRedis(t, s, time.Minute)
		before, _, err := r.Get(t.Context(), "lost")
		if err != nil {
			t.Fatal(err)
		}
		s.Restart()
		after, _, err := r.Get(t.Context(), "lost")
		if err != nil {
			after, _, err = r.Get(t.Context(), "lost") // on a new connection
		}
		if err != nil || after == before {
			t.Errorf("generation %q has come again: %v", after, err)
		}
	})
}

// testStore judges a store.
func testStore(t *testing.T, s cache.Store) {
	ctx := t.Context()
	get := func(repository string, keys ...string) (cache.Generation, string) {
		t.Helper()
		g, v, err := s.Get(ctx, repository, keys...)
		if err != nil {
			t.Fatal(err)
		}
		if g == "" {
			t.Error("no generation")
		}
		if v == nil {
			return g, "nothing"
		}
		return g, string(v)
	}
	set := func(repository, key string, in cache.Generation, value string) {
		t.Helper()
		if err := s.Set(ctx, repository, key, in, []byte(value), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	bump := func(repository string) {
		t.Helper()
		if err := s.Bump(ctx, repository); err != nil {
			t.Fatal(err)
		}
	}
	first, v := get("a", "k")
	if v != "nothing" {
		t.Errorf("what nobody set is %s", v)
	}
	set("a", "k", first, "one")
	set("a", "empty", first, "")
	if g, v := get("a", "k"); g != first || v != "one" {
		t.Errorf("%q in %q, want one in %q", v, g, first)
	}
	if _, v := get("a", "empty"); v != "" {
		t.Errorf("an empty value is %s", v)
	}
	if _, v := get("a", "other", "k"); v != "one" {
		t.Errorf("by its second key: %s", v)
	}
	if _, v := get("b", "k"); v != "nothing" {
		t.Errorf("of another repository: %s", v)
	}
	inB, _ := get("b", "k")
	set("b", "k", inB, "b's")

	bump("a")
	second, v := get("a", "k")
	if second == first || v != "nothing" {
		t.Errorf("after a change: %s in %q, which was %q", v, second, first)
	}
	if _, v := get("b", "k"); v != "b's" {
		t.Errorf("after a change elsewhere: %s", v)
	}
	set("a", "k", first, "late") // it was asked for before the change
	if _, v := get("a", "k"); v != "nothing" {
		t.Errorf("what is older than a change: %s", v)
	}
	set("a", "k", second, "two")
	set("a", "k", first, "later still")
	if g, v := get("a", "k"); v == "later still" || g != second {
		t.Errorf("what is older than what is there: %s", v)
	}
	seen := map[cache.Generation]bool{}
	for range 100 {
		bump("a")
		g, _ := get("a")
		if seen[g] {
			t.Fatalf("generation %q has come again", g)
		}
		seen[g] = true
	}

	inA, _ := get("a")
	set("a", "k", inA, "a's")
	if _, v := get("b", "k"); v != "b's" {
		t.Errorf("before a change of all: %s", v)
	}
	bump("")
	for _, repository := range []string{"a", "b"} {
		if g, v := get(repository, "k"); v != "nothing" || g == inA || g == inB {
			t.Errorf("after a change of all: %s in %q", v, g)
		}
	}
	set("a", "k", inA, "late")
	if _, v := get("a", "k"); v != "nothing" {
		t.Errorf("what is older than a change of all: %s", v)
	}
}

// What others have put where a generation should be is in the way once.
func TestForeignDataInRedis(t *testing.T) {
	s := redistest.Start(t)
	r := onRedis(t, s, time.Minute)
	opts, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	ctx := t.Context()
	if _, _, err := r.Get(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatal(keys, err)
	}
	for _, key := range keys {
		for name, spoil := range map[string]func() error{
			"a text": func() error { return client.Set(ctx, key, "spoilt", 0).Err() },
			"a hash": func() error {
				return errors.Join(client.Del(ctx, key).Err(), client.HSet(ctx, key, "a", "b").Err())
			},
		} {
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			if _, _, err := r.Get(ctx, "a"); err == nil {
				t.Errorf("%s: no error", name)
			}
			if g, _, err := r.Get(ctx, "a"); err != nil || g == "" {
				t.Errorf("%s: %q, %v", name, g, err)
			}
		}
	}
}

// Of names that nobody has anything for little is left, and that soon; what is kept stays
// as long as it is good for, with its generation.
func TestWhatIsLeftInRedis(t *testing.T) {
	s := redistest.Start(t)
	r := onRedis(t, s, 24*time.Hour)
	opts, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	ctx := t.Context()
	count := func() (soon, late int) {
		t.Helper()
		keys, err := client.Keys(ctx, "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			switch left := client.PTTL(ctx, key).Val(); {
			case left <= 0:
				t.Errorf("%s never expires: %v", key, left)
			case left <= 5*time.Minute:
				soon++
			case left > 24*time.Hour || !strings.HasSuffix(key, "generation"):
				late++
			default:
				t.Errorf("a generation ends in %v, before what is kept in it", left)
			}
		}
		return soon, late
	}
	for i := range 10 {
		if _, _, err := r.Get(ctx, fmt.Sprint("guessed", i)); err != nil {
			t.Fatal(err)
		}
		if err := r.Bump(ctx, fmt.Sprint("tried", i)); err != nil {
			t.Fatal(err)
		}
	}
	if soon, late := count(); soon != 21 || late != 0 { // and that of all
		t.Errorf("%d keys end soon, %d late", soon, late)
	}
	c := cache.New(&backend{}, r, &cache.Options{TTL: 24 * time.Hour, Anonymous: true})
	ask(c, "GET", byTag, authAs, "Basic eDp5") // is believed for a minute
	ask(c, "GET", byTag)
	if soon, late := count(); soon != 21 || late != 3 {
		t.Errorf("with two answers %d keys end soon, %d late", soon, late)
	}
	if w := ask(c, "GET", byTag); w.Header().Get("X-Cache") != "HIT" {
		t.Errorf("X-Cache: %s", w.Header().Get("X-Cache"))
	}
}

func TestMemoryForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := cache.NewMemory(time.Minute, 100_000)
		g, _, _ := m.Get(t.Context(), "a")
		_ = m.Set(t.Context(), "a", "k", g, []byte("v"), time.Hour)
		time.Sleep(time.Minute - time.Nanosecond)
		if _, v, _ := m.Get(t.Context(), "a", "k"); v == nil {
			t.Error("too early")
		}
		time.Sleep(time.Nanosecond)
		if _, v, _ := m.Get(t.Context(), "a", "k"); v != nil {
			t.Error("too late")
		}
		_ = m.Set(t.Context(), "a", "short", g, []byte("v"), time.Second)
		time.Sleep(time.Second)
		if _, v, _ := m.Get(t.Context(), "a", "short"); v != nil {
			t.Error("a value outlives its life")
		}
		value := bytes.Repeat([]byte("x"), 10_000)
		for i := range 100 {
			_ = m.Set(t.Context(), "a", fmt.Sprint(i), g, value, time.Hour)
			_ = m.Set(t.Context(), "a", fmt.Sprint(i), g, value, time.Hour) // whose room counts once
		}
		kept := 0
		for i := range 100 {
			if _, v, _ := m.Get(t.Context(), "a", fmt.Sprint(i)); v != nil {
				kept++
			}
		}
		if kept != 9 { // each takes some more
			t.Errorf("100 000 bytes have room for %d values of 10 000", kept)
		}
		_ = m.Set(t.Context(), "a", "huge", g, bytes.Repeat(value, 20), time.Hour)
		if _, v, _ := m.Get(t.Context(), "a", "99"); v == nil {
			t.Error("what has no room has thrown out the others")
		}
	})
}

func ExampleNewMemory() {
	m := cache.NewMemory(time.Minute, cache.DefaultMemory)
	ctx := context.Background()
	in, _, _ := m.Get(ctx, "team/app", "latest")
	_ = m.Set(ctx, "team/app", "latest", in, []byte("an answer"), time.Minute)
	_, value, _ := m.Get(ctx, "team/app", "latest")
	fmt.Printf("%s\n", value)
	_ = m.Bump(ctx, "team/app")
	_, value, _ = m.Get(ctx, "team/app", "latest")
	fmt.Println(value == nil)
	// Output:
	// an answer
	// true
}

func ExampleNewRedis() {
	opts, err := redis.ParseURL("redis://127.0.0.1:1/0")
	if err != nil {
		panic(err)
	}
	opts.ContextTimeoutEnabled = true
	client := redis.NewClient(opts)
	defer client.Close()
	r, err := cache.NewRedis(client, &cache.RedisOptions{Space: "https://registry.internal", TTL: time.Minute})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Bump(context.Background(), "team/app") != nil) // there is no Redis
	// Output: true
}
