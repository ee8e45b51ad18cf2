package cache

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// The bounds of a [Redis] whose options do not say.
const (
	DefaultPrefix  = "regcast:"
	DefaultTimeout = 250 * time.Millisecond
)

// generationLife is how long a generation is known that nobody changes. What was set in
// it is a miss after that.
const generationLife = 7 * 24 * time.Hour

// generationLen is the length of a generation in Redis, in bytes.
const generationLen = 22

// RedisOptions say where in a Redis a [Store] is.
type RedisOptions struct {
	Prefix  string        // of every key; "" is DefaultPrefix
	Space   string        // caches share what is in one space: the registry's address
	TTL     time.Duration // of values; required
	Timeout time.Duration // of an operation; 0 is DefaultTimeout
}

// A Redis is a [Store] that several processes share. Its keys, all of which expire, are
//
//	<prefix>proxy:{<sha256 of space and repository>}:generation
//	<prefix>proxy:{<sha256 of space and repository>}:<key>
//
// where the braces put those of one repository into one slot of a Redis cluster. A value
// has the generation in front in which it was asked for. Generations are random and not
// numbers, so that one that was evicted does not come again.
//
// Keep it in a Redis that saves nothing to disk, and read from the primary: a Redis that
// starts from an old snapshot, or a replica that lags, knows an old generation. The client
// belongs to the caller, who closes it.
type Redis struct {
	client redis.UniversalClient
	opts   RedisOptions
}

// NewRedis returns a Redis on client, without connecting. Errors: options that are of no
// use, or a client that is known to ignore the deadlines of contexts, for which
// ContextTimeoutEnabled must be set in its options.
func NewRedis(client redis.UniversalClient, opts *RedisOptions) (*Redis, error) {
	r := &Redis{client: client, opts: *opts}
	r.opts.Prefix = cmp.Or(r.opts.Prefix, DefaultPrefix)
	r.opts.Timeout = cmp.Or(r.opts.Timeout, DefaultTimeout)
	if r.opts.TTL < time.Millisecond {
		return nil, errors.New("cache in Redis: no time to live")
	}
	if c, ok := client.(*redis.Client); ok && !c.Options().ContextTimeoutEnabled {
		return nil, errors.New("cache in Redis: the client does not heed the deadlines of contexts")
	}
	return r, nil
}

func (r *Redis) place(repository string) string {
	sum := sha256.Sum256([]byte(r.opts.Space + "\x00" + repository))
	return r.opts.Prefix + "proxy:{" + hex.EncodeToString(sum[:16]) + "}:"
}

// Get implements [Store].
func (r *Redis) Get(ctx context.Context, repository string, keys ...string) (Generation, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	place := r.place(repository)
	names := make([]string, 1, 1+len(keys))
	names[0] = place + "generation"
	for _, key := range keys {
		names = append(names, place+key)
	}
	values, err := r.client.MGet(ctx, names...).Result() // all at one time
	if err != nil {
		return "", nil, fmt.Errorf("reading from Redis: %w", err)
	}
	now, _ := values[0].(string)
	if len(now) != generationLen {
		now, err := r.begin(ctx, names[0])
		return now, nil, err
	}
	for _, v := range values[1:] {
		if s, ok := v.(string); ok && len(s) >= generationLen && s[:generationLen] == now {
			return Generation(now), []byte(s[generationLen:]), nil
		}
	}
	return Generation(now), nil, nil
}

// begin begins the generation of a repository that has none, unless somebody else has just
// done that.
func (r *Redis) begin(ctx context.Context, name string) (Generation, error) {
	var got *redis.StringCmd
	_, err := r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.SetNX(ctx, name, newGeneration(), generationLife)
		got = p.Get(ctx, name)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("writing to Redis: %w", err)
	}
	if len(got.Val()) != generationLen {
		return "", errors.New("reading from Redis: what should be a generation is none")
	}
	return Generation(got.Val()), nil
}

func newGeneration() string {
	var b [generationLen / 2]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// Set implements [Store].
func (r *Redis) Set(ctx context.Context, repository, key string, in Generation, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	err := r.client.Set(ctx, r.place(repository)+key, append([]byte(in), value...), r.opts.TTL).Err()
	if err != nil {
		return fmt.Errorf("writing to Redis: %w", err)
	}
	return nil
}

// Bump implements [Store].
func (r *Redis) Bump(ctx context.Context, repository string) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	err := r.client.Set(ctx, r.place(repository)+"generation", newGeneration(), generationLife).Err()
	if err != nil {
		return fmt.Errorf("writing to Redis: %w", err)
	}
	return nil
}
