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

// generationLife is how long a generation is known in which nothing is kept: long enough
// for an answer that was asked for in it. Every name that somebody asks for has one, and
// every name that somebody tries to change, be there such a repository or not.
const generationLife = 5 * time.Minute

// generationLen is the length of a generation in Redis, in bytes, and bothLen that of two.
const (
	generationLen = 22
	bothLen       = 2 * generationLen
)

// RedisOptions say where in a Redis a [Store] is.
type RedisOptions struct {
	Prefix  string        // of every key; "" is DefaultPrefix
	Space   string        // caches share what is in one space: the registry's address
	TTL     time.Duration // of values; required
	Timeout time.Duration // of an operation; 0 is DefaultTimeout
}

// A Redis is a [Store] that several processes share. Its keys, all of which expire, are
//
//	<prefix>proxy:{<sha256 of space>}:generation
//	<prefix>proxy:{<sha256 of space>}:<sha256 of repository>:generation
//	<prefix>proxy:{<sha256 of space>}:<sha256 of repository>:<key>
//
// where the braces put those of one space into one slot of a Redis cluster, which answers
// for one slot at a time. A value has the generations in front in which it was asked for:
// that of all repositories, and its own. Generations are random and not numbers, so that
// one that was evicted does not come again.
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

// space is what all keys begin with.
func (r *Redis) space() string {
	return r.opts.Prefix + "proxy:{" + short(r.opts.Space) + "}:"
}

// place is what the keys of a repository begin with; with "" those of all of them.
func (r *Redis) place(repository string) string {
	if repository == "" {
		return r.space()
	}
	return r.space() + short(repository) + ":"
}

func short(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// Get implements [Store].
func (r *Redis) Get(ctx context.Context, repository string, keys ...string) (Generation, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	place := r.place(repository)
	names := make([]string, 2, 2+len(keys))
	names[0], names[1] = r.space()+"generation", place+"generation"
	for _, key := range keys {
		names = append(names, place+key)
	}
	values, err := r.client.MGet(ctx, names...).Result() // all at one time
	if err != nil {
		return "", nil, fmt.Errorf("reading from Redis: %w", err)
	}
	all, _ := values[0].(string)
	own, _ := values[1].(string)
	if len(all) != generationLen || len(own) != generationLen {
		now, err := r.begin(ctx, names[0], names[1])
		return now, nil, err
	}
	now := all + own
	for _, v := range values[2:] {
		if s, ok := v.(string); ok && len(s) >= bothLen && s[:bothLen] == now {
			return Generation(now), []byte(s[bothLen:]), nil
		}
	}
	return Generation(now), nil, nil
}

// begin begins those of two generations that are none, unless somebody else has just done
// that. A key that holds something else is an error, once.
func (r *Redis) begin(ctx context.Context, all, own string) (Generation, error) {
	var got *redis.SliceCmd
	commands, err := r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.SetNX(ctx, all, newGeneration(), generationLife)
		p.SetNX(ctx, own, newGeneration(), generationLife)
		got = p.MGet(ctx, all, own)
		return nil
	})
	for _, cmd := range commands { // the transaction's error is none of theirs
		if isFull(cmd.Err()) {
			err = cmd.Err()
		}
	}
	if err != nil {
		return "", writing(err)
	}
	now := ""
	for i, v := range got.Val() {
		s, _ := v.(string)
		if len(s) != generationLen { // somebody else's, who must not be in the way for ever
			err := r.client.Set(ctx, []string{all, own}[i], newGeneration(), generationLife).Err()
			return "", errors.Join(errors.New("reading from Redis: what should be a generation was none"), err)
		}
		now += s
	}
	return Generation(now), nil
}

func newGeneration() string {
	var b [generationLen / 2]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// Set implements [Store]. Generations outlive what is kept in them.
func (r *Redis) Set(ctx context.Context, repository, key string, in Generation, value []byte, life time.Duration) error {
	if life = min(life, r.opts.TTL); life < time.Millisecond {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	place := r.place(repository)
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, place+key, append([]byte(in), value...), life)
		p.PExpire(ctx, r.space()+"generation", r.opts.TTL+generationLife)
		p.PExpire(ctx, place+"generation", r.opts.TTL+generationLife)
		return nil
	})
	if err != nil {
		return writing(err)
	}
	return nil
}

// writing is err of a command that writes.
func writing(err error) error {
	if isFull(err) {
		return fmt.Errorf("writing to Redis: %w: %w", ErrFull, err)
	}
	return fmt.Errorf("writing to Redis: %w", err)
}

// isFull tells whether Redis has refused a command that may need memory, of which it has no
// more to give: its policy forbids to evict, or nothing is left that may be.
func isFull(err error) bool { return redis.IsOOMError(err) }

// Bump implements [Store]. A Redis that is full still deletes: a generation that nobody
// knows is over, too, and a Redis that has no room to begin another gives no answers.
func (r *Redis) Bump(ctx context.Context, repository string) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	generation := r.place(repository) + "generation"
	err := r.client.Set(ctx, generation, newGeneration(), generationLife).Err()
	if err != nil && isFull(err) {
		err = r.client.Del(ctx, generation).Err()
	}
	if err != nil {
		return writing(err)
	}
	return nil
}
