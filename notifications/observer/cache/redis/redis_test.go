package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	goredis "github.com/redis/go-redis/v9"

	"github.com/regcast/regcast/notifications/observer/cache"
	"github.com/regcast/regcast/notifications/observer/cache/cachetest"
	"github.com/regcast/regcast/notifications/observer/cache/redis"
	"github.com/regcast/regcast/notifications/observer/cache/redis/redistest"
)

// patience bounds waits for what must happen. It is never waited out by a test that passes.
const patience = time.Minute

func connect(t *testing.T, s *redistest.Server) *goredis.Client {
	t.Helper()
	opts, err := goredis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opts.ContextTimeoutEnabled = true
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout = patience, patience, patience
	client := goredis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	return client
}

// open returns a cache. Without a timeout it waits for a Redis on a busy machine, too.
func open(t *testing.T, client goredis.UniversalClient, opts redis.Options) *redis.Cache {
	t.Helper()
	if opts.Timeout == 0 {
		opts.Timeout = patience
	}
	c, err := redis.New(client, &opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func repository(t *testing.T, p cache.Provider, name string) cache.Descriptors {
	t.Helper()
	d, err := p.Repository(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func layer(content string) v1.Descriptor {
	return v1.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromString(content), Size: int64(len(content))}
}

func set(t *testing.T, d cache.Descriptors, dgst digest.Digest, desc v1.Descriptor) {
	t.Helper()
	if err := d.Set(t.Context(), dgst, desc); err != nil {
		t.Fatal(err)
	}
}

// stat returns what d has, nil if that is unknown.
func stat(t *testing.T, d cache.Descriptors, dgst digest.Digest) *v1.Descriptor {
	t.Helper()
	desc, err := d.Stat(t.Context(), dgst)
	if errors.Is(err, cache.ErrUnknown) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return &desc
}

func same(a, b v1.Descriptor) bool {
	return a.Digest == b.Digest && a.Size == b.Size && a.MediaType == b.MediaType
}

// eventually waits until try succeeds.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

func TestCache(t *testing.T) {
	client := connect(t, redistest.Start(t))
	prefixes := 0
	cachetest.TestProvider(t, func(t *testing.T) cache.Provider {
		prefixes++
		return open(t, client, redis.Options{Prefix: fmt.Sprintf("test%d:", prefixes)})
	})
}

func TestNew(t *testing.T) {
	for _, test := range []struct {
		name   string
		client goredis.UniversalClient
		opts   *redis.Options
		good   bool
	}{
		{"good", goredis.NewClient(&goredis.Options{ContextTimeoutEnabled: true}), nil, true},
		{"a client that ignores deadlines", goredis.NewClient(&goredis.Options{}), nil, false},
		{"a cluster's", goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}}), nil, false},
		{"a ring's", goredis.NewRing(&goredis.RingOptions{}), nil, false},
		{"a negative expiry", goredis.NewClient(&goredis.Options{ContextTimeoutEnabled: true}), &redis.Options{Expiry: -time.Second}, false},
		{"an expiry that Redis cannot tell from none", goredis.NewClient(&goredis.Options{ContextTimeoutEnabled: true}), &redis.Options{Expiry: time.Microsecond}, false},
		{"a negative timeout", goredis.NewClient(&goredis.Options{ContextTimeoutEnabled: true}), &redis.Options{Timeout: -1}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer test.client.Close()
			if _, err := redis.New(test.client, test.opts); (err == nil) != test.good {
				t.Error(err)
			}
		})
	}
}

// wantFailures has every operation fail, within the timeout, and none with ErrUnknown.
func wantFailures(t *testing.T, c *redis.Cache, timeout time.Duration) {
	t.Helper()
	d, desc := repository(t, c, "team/app"), layer("a")
	for _, operation := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"Stat", func(ctx context.Context) error { _, err := d.Stat(ctx, desc.Digest); return err }},
		{"Set", func(ctx context.Context) error { return d.Set(ctx, desc.Digest, desc) }},
		{"Clear", func(ctx context.Context) error { return d.Clear(ctx, desc.Digest) }},
	} {
		start := time.Now()
		if err := operation.run(t.Context()); err == nil || errors.Is(err, cache.ErrUnknown) {
			t.Errorf("%s: %v", operation.name, err)
		}
		// The machine may be busy with other things; go-redis alone would wait for all of patience.
		if took := time.Since(start); took > timeout+patience/2 {
			t.Errorf("%s took %v with a timeout of %v", operation.name, took, timeout)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Stat(ctx, desc.Digest); !errors.Is(err, context.Canceled) {
		t.Errorf("Stat for nobody: %v", err)
	}
}

func TestKilled(t *testing.T) {
	server := redistest.Start(t)
	client := connect(t, server)
	d, desc := repository(t, open(t, client, redis.Options{}), "team/app"), layer("a")
	set(t, d, desc.Digest, desc)
	server.Kill()
	wantFailures(t, open(t, client, redis.Options{Timeout: redis.DefaultTimeout}), redis.DefaultTimeout)

	server.Restart()
	eventually(t, func() error {
		if _, err := d.Stat(t.Context(), desc.Digest); !errors.Is(err, cache.ErrUnknown) {
			return fmt.Errorf("Stat of an empty Redis: %w", err)
		}
		return nil
	})
	set(t, d, desc.Digest, desc)
	if got := stat(t, d, desc.Digest); got == nil || !same(*got, desc) {
		t.Errorf("after the restart: %+v", got)
	}
}

func TestPaused(t *testing.T) {
	server := redistest.Start(t)
	client := connect(t, server)
	d, desc := repository(t, open(t, client, redis.Options{}), "team/app"), layer("a")
	set(t, d, desc.Digest, desc)
	server.Pause()
	hasty := open(t, client, redis.Options{Timeout: redis.DefaultTimeout})
	wantFailures(t, hasty, redis.DefaultTimeout)
	d = repository(t, hasty, "team/app")
	if _, err := d.Stat(t.Context(), desc.Digest); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stat: %v", err)
	}
	server.Resume()
	eventually(t, func() error { return d.Set(t.Context(), desc.Digest, desc) })
	eventually(t, func() error { _, err := d.Stat(t.Context(), desc.Digest); return err })
}

// TestKilledInTheMiddle has many work while Redis goes and comes back: everything they get
// is right, unknown or an error, and in the end all works.
func TestKilledInTheMiddle(t *testing.T) {
	server := redistest.Start(t)
	c := open(t, connect(t, server), redis.Options{Timeout: redis.DefaultTimeout})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var right, failed atomic.Int64
	for i := range 4 {
		d := repository(t, c, fmt.Sprint("team/app", i))
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				desc := layer(fmt.Sprint(n % 10))
				err := d.Set(ctx, desc.Digest, desc)
				got, statErr := d.Stat(ctx, desc.Digest)
				switch {
				case err == nil && statErr == nil:
					right.Add(1)
				case err != nil:
					failed.Add(1)
				}
				if statErr == nil && !same(got, desc) {
					t.Errorf("%+v instead of %+v", got, desc)
				}
				if err := d.Clear(ctx, desc.Digest); err == nil {
					if got, err := d.Stat(ctx, desc.Digest); err == nil {
						t.Errorf("%+v after Clear", got)
					}
				}
			}
		})
	}
	progress := func(n *atomic.Int64) {
		t.Helper()
		from := n.Load()
		eventually(t, func() error {
			if n.Load() < from+10 {
				return fmt.Errorf("right %d, failed %d", right.Load(), failed.Load())
			}
			return nil
		})
	}
	for range 2 {
		progress(&right)
		server.Kill()
		progress(&failed)
		server.Restart()
		progress(&right)
		server.Pause()
		progress(&failed)
		server.Resume()
	}
	progress(&right)
	stop()
	wg.Wait()
}

func TestShared(t *testing.T) {
	server := redistest.Start(t)
	one, two := open(t, connect(t, server), redis.Options{}), open(t, connect(t, server), redis.Options{})
	apart := open(t, connect(t, server), redis.Options{Prefix: "apart:"})
	desc := layer("a")
	set(t, repository(t, one, "team/app"), desc.Digest, desc)
	if got := stat(t, repository(t, two, "team/app"), desc.Digest); got == nil || !same(*got, desc) {
		t.Errorf("the other has %+v", got)
	}
	if got := stat(t, apart, desc.Digest); got != nil {
		t.Errorf("with another prefix: %+v", got)
	}
	if err := repository(t, two, "team/app").Clear(t.Context(), desc.Digest); err != nil {
		t.Error(err)
	}
	if got := stat(t, repository(t, one, "team/app"), desc.Digest); got != nil {
		t.Errorf("cleared by the other: %+v", got)
	}
}

func keys(t *testing.T, client *goredis.Client) []string {
	t.Helper()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

func TestKeys(t *testing.T) {
	client := connect(t, redistest.Start(t))
	c := open(t, client, redis.Options{Prefix: "p:", Expiry: time.Hour})
	desc, other := layer("a"), digest.SHA512.FromString("a")
	set(t, repository(t, c, "team/app"), other, desc)
	set(t, c, layer("b").Digest, layer("b"))
	want := []string{
		"p:blobs::{" + desc.Digest.String() + "}",
		"p:blobs::{" + layer("b").Digest.String() + "}",
		"p:blobs::{" + other.String() + "}",
		"p:repository::team/app::blobs::{" + desc.Digest.String() + "}",
		"p:repository::team/app::blobs::{" + other.String() + "}",
	}
	slices.Sort(want)
	if got := keys(t, client); !slices.Equal(got, want) {
		t.Errorf("keys:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, key := range want {
		ttl, err := client.PTTL(t.Context(), key).Result()
		if err != nil || ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s expires in %v, %v", key, ttl, err)
		}
	}
	fields, err := client.HGetAll(t.Context(), want[0]).Result()
	if err != nil || len(fields) != 3 || fields["size"] != "1" || fields["mediatype"] != desc.MediaType {
		t.Errorf("%s: %v, %v", want[0], fields, err)
	}
}

func TestExpiry(t *testing.T) {
	client := connect(t, redistest.Start(t))
	c := open(t, client, redis.Options{Expiry: 50 * time.Millisecond})
	d, desc := repository(t, c, "team/app"), layer("a")
	set(t, d, desc.Digest, desc)
	eventually(t, func() error {
		if got := stat(t, d, desc.Digest); got != nil {
			return fmt.Errorf("still there: %+v", got)
		}
		if got := keys(t, client); len(got) > 0 {
			return fmt.Errorf("still there: %q", got)
		}
		return nil
	})
}

// TestAnySubset takes away every subset of the keys, or of the fields of one: what is left
// is right or unknown, and the next Set makes it known.
func TestAnySubset(t *testing.T) {
	ctx := t.Context()
	client := connect(t, redistest.Start(t))
	c := open(t, client, redis.Options{})
	desc, other := layer("a"), digest.SHA512.FromString("a")
	d := repository(t, c, "team/app")
	check := func(what string) {
		t.Helper()
		for _, scope := range []cache.Descriptors{c, d} {
			for _, dgst := range []digest.Digest{desc.Digest, other} {
				if got := stat(t, scope, dgst); got != nil && !same(*got, desc) {
					t.Errorf("without %s: %+v", what, *got)
				}
			}
		}
		set(t, d, other, desc)
		for _, scope := range []cache.Descriptors{c, d} {
			for _, dgst := range []digest.Digest{desc.Digest, other} {
				if got := stat(t, scope, dgst); got == nil || !same(*got, desc) {
					t.Errorf("without %s, after Set: %+v", what, got)
				}
			}
		}
	}
	set(t, d, other, desc)
	all := keys(t, client)
	if len(all) != 4 {
		t.Fatalf("keys %q", all)
	}
	fields := []string{"digest", "size", "mediatype"}
	for mask := range 1 << len(all) {
		subset := pick(all, mask)
		if len(subset) > 0 {
			client.Del(ctx, subset...)
		}
		check(strings.Join(subset, " "))
	}
	for _, key := range all {
		for mask := 1; mask < 1<<len(fields); mask++ {
			subset := pick(fields, mask)
			client.HDel(ctx, key, subset...)
			check(key + " " + strings.Join(subset, " "))
		}
	}
}

func pick(from []string, mask int) (subset []string) {
	for i, s := range from {
		if mask&(1<<i) != 0 {
			subset = append(subset, s)
		}
	}
	return subset
}

func TestForeignEntries(t *testing.T) {
	ctx := t.Context()
	client := connect(t, redistest.Start(t))
	c := open(t, client, redis.Options{})
	desc := layer("a")
	d := repository(t, c, "team/app")
	key := "regcast:repository::team/app::blobs::{" + desc.Digest.String() + "}"
	client.HSet(ctx, key, "digest", desc.Digest.String(), "length", 1, "mediatype", "a/b")
	if got := stat(t, d, desc.Digest); got != nil {
		t.Errorf("with the old name of a field: %+v", got)
	}
	client.HSet(ctx, key, "size", "many")
	if got := stat(t, d, desc.Digest); got != nil {
		t.Errorf("with a malformed size: %+v", got)
	}
	client.HSet(ctx, key, "size", 1, "digest", layer("b").Digest.String())
	if got := stat(t, d, desc.Digest); got != nil {
		t.Errorf("with the digest of something else: %+v", got)
	}
	set(t, d, desc.Digest, desc)
	if got := stat(t, d, desc.Digest); got == nil || !same(*got, desc) {
		t.Errorf("after Set: %+v", got)
	}
	client.Set(ctx, key, "text", 0)
	if _, err := d.Stat(ctx, desc.Digest); err == nil || errors.Is(err, cache.ErrUnknown) {
		t.Errorf("what is no hash: %v", err)
	}
	if err := d.Set(ctx, desc.Digest, desc); err == nil {
		t.Error("Set over what is no hash")
	}
}

// TestDeletionUnderneath deletes random keys and fields while the cache is used.
func TestDeletionUnderneath(t *testing.T) {
	server := redistest.Start(t)
	c := open(t, connect(t, server), redis.Options{})
	client := connect(t, server)
	ctx, stop := context.WithCancel(t.Context())
	var vandal sync.WaitGroup
	vandal.Go(func() {
		random := rand.New(rand.NewPCG(3, 4))
		fields := []string{"digest", "size", "mediatype"}
		for ctx.Err() == nil {
			key, err := client.RandomKey(ctx).Result()
			switch {
			case err != nil:
			case random.IntN(2) == 0:
				client.Del(ctx, key)
			default:
				client.HDel(ctx, key, fields[random.IntN(len(fields))])
			}
		}
	})
	var wg sync.WaitGroup
	var known, unknown atomic.Int64
	for i := range 4 {
		d := repository(t, c, fmt.Sprint("team/app", i))
		wg.Go(func() {
			for n := range 300 {
				desc := layer(fmt.Sprint(n % 5))
				dgst := desc.Digest
				if n%2 == 0 {
					dgst = digest.SHA512.FromString(fmt.Sprint(n % 5))
				}
				if err := d.Set(t.Context(), dgst, desc); err != nil {
					t.Error(err)
				}
				for _, scope := range []cache.Descriptors{d, c} {
					switch got, err := scope.Stat(t.Context(), dgst); {
					case errors.Is(err, cache.ErrUnknown):
						unknown.Add(1)
					case err != nil || !same(got, desc):
						t.Errorf("%+v, %v", got, err)
					default:
						known.Add(1)
					}
				}
				if n%10 == 0 {
					if err := d.Clear(t.Context(), dgst); err != nil && !errors.Is(err, cache.ErrUnknown) {
						t.Error(err)
					}
					if got, err := d.Stat(t.Context(), dgst); !errors.Is(err, cache.ErrUnknown) {
						t.Errorf("after Clear: %+v, %v", got, err)
					}
				}
			}
		})
	}
	wg.Wait()
	stop()
	vandal.Wait()
	if known.Load() == 0 || unknown.Load() == 0 {
		t.Errorf("known %d times, unknown %d times: nothing was tried", known.Load(), unknown.Load())
	}
}

// A Redis that is full and must not evict keeps nothing more, and still forgets.
func TestFull(t *testing.T) {
	client := connect(t, redistest.Start(t))
	d, known, more := repository(t, open(t, client, redis.Options{}), "team/app"), layer("a"), layer("b")
	set(t, d, known.Digest, known)
	for _, setting := range [][2]string{{"maxmemory", "1"}, {"maxmemory-policy", "noeviction"}} {
		if err := client.ConfigSet(t.Context(), setting[0], setting[1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Set(t.Context(), more.Digest, more); err == nil {
		t.Error("Set has room")
	}
	if got := stat(t, d, known.Digest); got == nil || !same(*got, known) {
		t.Errorf("it has %+v", got)
	}
	if err := d.Clear(t.Context(), known.Digest); err != nil {
		t.Errorf("Clear: %v", err)
	}
	for _, dgst := range []digest.Digest{known.Digest, more.Digest} {
		if got := stat(t, d, dgst); got != nil {
			t.Errorf("after Clear it has %+v", got)
		}
	}
}

// A Redis that answers, but does not delete: what was to be forgotten is not told.
func TestReadThroughBypassesStaleEntries(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)
	through := cache.NewReadThrough(open(t, connect(t, server), redis.Options{}), nil, nil)
	d, desc := repository(t, through, "team/app"), layer("a")
	set(t, d, desc.Digest, desc)
	admin := connect(t, server)
	if err := admin.Do(ctx, "ACL", "SETUSER", "default", "-del").Err(); err != nil {
		t.Fatal(err)
	}
	if err := d.Clear(ctx, desc.Digest); err == nil || errors.Is(err, cache.ErrUnknown) {
		t.Errorf("Clear: %v", err)
	}
	if got := stat(t, d, desc.Digest); got != nil {
		t.Errorf("the cache tells %+v", got)
	}
	if got := stat(t, open(t, admin, redis.Options{}), desc.Digest); got == nil {
		t.Error("nothing stale was left, so nothing was tried")
	}
	if err := admin.Do(ctx, "ACL", "SETUSER", "default", "+del").Err(); err != nil {
		t.Fatal(err)
	}
	if err := d.Clear(ctx, desc.Digest); err != nil {
		t.Errorf("Clear: %v", err)
	}
	set(t, d, desc.Digest, desc)
	if got := stat(t, d, desc.Digest); got == nil || !same(*got, desc) {
		t.Errorf("in use again: %+v", got)
	}
}
