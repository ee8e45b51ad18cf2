// Package redis shares descriptors between processes: a [Cache] is a cache.Provider whose
// entries are in Redis. It is apart from package cache so that nobody compiles a Redis
// client who does not use one.
//
// An entry is one hash, of which no other key knows:
//
//	<prefix>blobs::{<digest>}                      of all repositories together
//	<prefix>repository::<name>::blobs::{<digest>}  of one
//
// with the fields digest, size and mediatype. That the hash of a repository exists is the
// digest's membership in it, so that membership and descriptor appear, expire and vanish
// together, and any subset of the keys may be missing. Fields that are missing or
// malformed make the entry unknown. Every key expires. The braces put the entries of one
// digest into one slot of a Redis cluster, where one transaction changes them.
//
// Keep the descriptors in a Redis that saves nothing to disk, and read from the primary:
// a Redis that starts from an old snapshot, or a replica that lags, knows what was
// cleared.
//
// The client belongs to the caller, who closes it. Nothing here has to be stopped. While
// Redis is away, go-redis writes a line to standard error for every connection that it
// cannot make; redis.SetLogger of go-redis tells it otherwise, for the whole program.
package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/redis/go-redis/v9"

	"github.com/regcast/regcast/notifications/observer/cache"
)

// What holds for [Options] that do not say.
const (
	DefaultPrefix  = "regcast:"
	DefaultExpiry  = 24 * time.Hour
	DefaultTimeout = 250 * time.Millisecond
)

// Options of a [Cache]; nil means the defaults.
type Options struct {
	Prefix  string        // of every key; "" is DefaultPrefix
	Expiry  time.Duration // after the last Set of an entry, at least a millisecond; 0 is DefaultExpiry
	Timeout time.Duration // of each operation, with all its attempts; 0 is DefaultTimeout
}

// A Cache is a cache.Provider in Redis. Its errors other than cache.ErrUnknown and those
// for malformed arguments are Redis' or the network's, and say nothing about a digest: a
// Redis that is not there takes Timeout and is neither hit nor miss. It is safe for
// concurrent use.
type Cache struct{ scope }

// New returns a Cache on client, without connecting. It refuses a client that is known to
// ignore the deadlines of contexts: ContextTimeoutEnabled must be set in its options, also
// in those that redis.ParseURL made. With DialerRetries of 1 an error says why there is no
// connection; the five attempts that go-redis makes else, 100 ms apart, outlast Timeout.
func New(client redis.UniversalClient, opts *Options) (*Cache, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	o.Prefix = cmp.Or(o.Prefix, DefaultPrefix)
	o.Expiry = cmp.Or(o.Expiry, DefaultExpiry)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	switch {
	case o.Expiry < time.Millisecond:
		return nil, fmt.Errorf("descriptors that expire after %v", o.Expiry)
	case o.Timeout < 0:
		return nil, fmt.Errorf("a timeout of %v", o.Timeout)
	case ignoresDeadlines(client):
		return nil, errors.New("the Redis client ignores deadlines: ContextTimeoutEnabled is not set")
	}
	return &Cache{scope{client: client, opts: &o}}, nil
}

func ignoresDeadlines(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return !c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return !c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		return !c.Options().ContextTimeoutEnabled
	}
	return false
}

// Repository implements cache.Provider.
func (c *Cache) Repository(name string) (cache.Descriptors, error) {
	if err := cache.ValidateName(name); err != nil {
		return nil, err
	}
	return scope{c.client, c.opts, name}, nil
}

// A scope is one repository, or with an empty name all of them together.
type scope struct {
	client redis.UniversalClient
	opts   *Options
	name   string
}

// The fields of an entry.
const (
	fieldDigest    = "digest"
	fieldSize      = "size"
	fieldMediaType = "mediatype"
)

// key is that of the entry of dgst.
func (s scope) key(dgst digest.Digest) string {
	if s.name == "" {
		return s.all(dgst)
	}
	return s.opts.Prefix + "repository::" + s.name + "::blobs::{" + dgst.String() + "}"
}

// all is the key of the entry of dgst for all repositories together.
func (s scope) all(dgst digest.Digest) string {
	return s.opts.Prefix + "blobs::{" + dgst.String() + "}"
}

// Stat implements cache.Descriptors.
func (s scope) Stat(ctx context.Context, dgst digest.Digest) (v1.Descriptor, error) {
	if err := dgst.Validate(); err != nil {
		return v1.Descriptor{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	desc, err := s.read(ctx, dgst)
	if err == nil && desc.Digest != dgst {
		// A delete names content by one of its digests, and the others must not outlive it.
		_, err = s.read(ctx, desc.Digest)
	}
	if err != nil {
		return v1.Descriptor{}, err
	}
	return desc, nil
}

// read returns the entry of dgst, or cache.ErrUnknown.
func (s scope) read(ctx context.Context, dgst digest.Digest) (v1.Descriptor, error) {
	fields, err := s.client.HMGet(ctx, s.key(dgst), fieldDigest, fieldSize, fieldMediaType).Result()
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("reading a descriptor from Redis: %w", err)
	}
	desc, ok := parse(dgst, fields)
	if !ok {
		return v1.Descriptor{}, cache.ErrUnknown
	}
	return desc, nil
}

// parse reads the fields of the entry of dgst: each a string, or nil where it is missing.
func parse(dgst digest.Digest, fields []any) (v1.Descriptor, bool) {
	if len(fields) != 3 {
		return v1.Descriptor{}, false
	}
	var text [3]string
	for i, field := range fields {
		var ok bool
		if text[i], ok = field.(string); !ok {
			return v1.Descriptor{}, false
		}
	}
	size, err := strconv.ParseUint(text[1], 10, 63)
	if err != nil {
		return v1.Descriptor{}, false
	}
	desc := v1.Descriptor{Digest: digest.Digest(text[0]), Size: int64(size), MediaType: text[2]}
	return desc, cache.Validate(dgst, desc) == nil
}

// Set implements cache.Descriptors.
func (s scope) Set(ctx context.Context, dgst digest.Digest, desc v1.Descriptor) error {
	if err := cache.Validate(dgst, desc); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	err := s.write(ctx, desc.Digest, desc)
	if err == nil && dgst != desc.Digest {
		err = s.write(ctx, dgst, desc)
	}
	return err
}

// write keeps one entry of a repository and the one of all together.
func (s scope) write(ctx context.Context, dgst digest.Digest, desc v1.Descriptor) error {
	_, err := s.client.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		if s.name != "" {
			key := s.key(dgst)
			tx.HSet(ctx, key, fieldDigest, desc.Digest.String(), fieldSize, desc.Size, fieldMediaType, desc.MediaType)
			tx.PExpire(ctx, key, s.opts.Expiry)
		}
		key := s.all(dgst)
		tx.HSet(ctx, key, fieldDigest, desc.Digest.String(), fieldSize, desc.Size)
		tx.HSetNX(ctx, key, fieldMediaType, desc.MediaType)
		tx.PExpire(ctx, key, s.opts.Expiry)
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing a descriptor to Redis: %w", err)
	}
	return nil
}

// Clear implements cache.Descriptors.
func (s scope) Clear(ctx context.Context, dgst digest.Digest) error {
	if err := dgst.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	desc, err := s.read(ctx, dgst)
	if err == nil && desc.Digest != dgst {
		// First, because without it the entry of dgst counts for nothing: if what follows
		// fails, nothing stale is left, and the next Clear still finds this way.
		_, err = s.remove(ctx, desc.Digest)
	}
	if err != nil && !errors.Is(err, cache.ErrUnknown) {
		return err
	}
	existed, err := s.remove(ctx, dgst)
	if err == nil && !existed {
		return cache.ErrUnknown
	}
	return err
}

// remove deletes the entry of a repository, and says whether there was one, and the one of
// all together. That is no transaction, as a Redis that is full deletes, but not in one; who
// sees or sets something in between finds what is right, or nothing.
func (s scope) remove(ctx context.Context, dgst digest.Digest) (existed bool, err error) {
	var own *redis.IntCmd
	_, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		own = p.Del(ctx, s.key(dgst))
		if s.name != "" {
			p.Del(ctx, s.all(dgst))
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("deleting a descriptor in Redis: %w", err)
	}
	return own.Val() > 0, nil
}
