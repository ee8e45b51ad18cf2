package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/cmd/internal/proxy/cache"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	descriptors "github.com/regcast/regcast/notifications/observer/cache"
	shared "github.com/regcast/regcast/notifications/observer/cache/redis"
	"github.com/regcast/regcast/sinks"
)

// cacheOptions translates who gets which answers, and for how long.
func cacheOptions(c *config.Cache) (cache.Options, error) {
	opts := cache.Options{TTL: c.TTL, Anonymous: c.Share.Level != config.ShareIdentity}
	for _, pattern := range c.Share.Public {
		glob, err := sinks.ParseGlob(pattern)
		if err != nil {
			return opts, err
		}
		opts.Public = append(opts.Public, glob)
	}
	return opts, nil
}

// certificateOf returns what tells a client certificate from others. A renewed one counts as
// another from the next start on, which costs some answers.
func certificateOf(c *proxy.UpstreamTLS) (string, error) {
	if c.CertFile == "" {
		return "", nil
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return "", err
	}
	return string(pair.Certificate[0]), nil
}

// openCache puts into opts where answers are kept, and descriptors if several processes
// share them. Whoever calls it closes the client, which is nil for all but Redis, after the
// proxy. A Redis is not asked for anything yet: one that is away is no error.
func openCache(c *config.Cache, opts *proxy.Options) (*redis.Client, error) {
	switch c.Kind {
	case config.CacheMemory:
		opts.Cache = cache.NewMemory(c.TTL, 0)
		return nil, nil
	case config.CacheRedis:
	default:
		return nil, nil
	}
	settings, err := redisOptions(c.Redis.URLFile)
	if err != nil {
		return nil, err
	}
	// What fails is told by who uses the client, once, and counted; go-redis would write a
	// line to standard error for every connection that it cannot make. Its logger is the
	// whole program's, and so are we.
	logging.Disable()
	timeout := max(0, settings.ReadTimeout) // if the URL says so
	client := redis.NewClient(settings)
	if err := openShared(client, timeout, c, opts); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

// openShared has answers and descriptors kept in a Redis, where all proxies find them that
// have the same upstream, whatever they are called. What they share of answers is for who
// shows the registry one certificate. timeout bounds an operation; 0 is as the stores will.
func openShared(client *redis.Client, timeout time.Duration, c *config.Cache, opts *proxy.Options) (err error) {
	registry := strings.TrimRight(opts.Upstream.String(), "/")
	opts.Cache, err = cache.NewRedis(client, &cache.RedisOptions{Prefix: c.Redis.Prefix, Space: registry, TTL: c.TTL, Timeout: timeout})
	if err != nil {
		return err
	}
	if opts.CacheOptions.As, err = certificateOf(&opts.TLS); err != nil {
		return err
	}
	known, err := shared.New(client, &shared.Options{Prefix: c.Redis.Prefix + "descriptors:" + registry + ":", Timeout: timeout})
	if err != nil {
		return err
	}
	through := descriptors.ReadThroughOptions{Lifetime: shared.DefaultExpiry, Logger: opts.Logger}
	if opts.Registerer != nil {
		through.Registerer = prometheus.WrapRegistererWith(prometheus.Labels{"proxy": opts.Name}, opts.Registerer)
	}
	opts.Descriptors = descriptors.NewReadThrough(known, nil, &through)
	return nil
}

// redisOptions reads where a Redis is. An error tells nothing of the URL: what is wrong
// with it may be a piece of its password.
func redisOptions(file string) (*redis.Options, error) {
	url, err := endpoints.SecretFile(file)()
	if err != nil {
		return nil, err
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf(`%s: holds no URL such as "redis://:password@host:6379/0", or rediss:// for TLS, with what is special in a password escaped`, file)
	}
	opts.ContextTimeoutEnabled = true // whatever asks it bounds how long
	// Five attempts 100 ms apart, which go-redis makes else, take longer than anybody asks:
	// instead of why there is no connection all would hear that the time is over.
	opts.DialerRetries = 1
	return opts, nil
}

// closeCaches tells caches of the last events, until ctx ends, and closes what they are in.
func (a *App) closeCaches(ctx context.Context) error {
	a.invalidators.stop(ctx)
	var errs []error
	for _, f := range a.fronts {
		if f.redis != nil {
			if err := f.redis.Close(); err != nil {
				errs = append(errs, fmt.Errorf("proxy %s: closing the cache: %w", f.name, err))
			}
		}
	}
	return errors.Join(errs...)
}
