package redis_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	goredis "github.com/redis/go-redis/v9"

	"github.com/regcast/regcast/notifications/observer/cache"
	"github.com/regcast/regcast/notifications/observer/cache/redis"
)

// A Redis that is not there is an error, and not a miss.
func ExampleNew() {
	opts, err := goredis.ParseURL("redis://127.0.0.1:1/0")
	if err != nil {
		panic(err)
	}
	opts.ContextTimeoutEnabled = true // else an answer may take longer than anybody waits
	client := goredis.NewClient(opts)
	defer client.Close()
	descriptors, err := redis.New(client, &redis.Options{Prefix: "registry.example.com:"})
	if err != nil {
		panic(err)
	}
	team, err := descriptors.Repository("team/app")
	if err != nil {
		panic(err)
	}
	_, err = team.Stat(context.Background(), digest.FromString("a layer"))
	fmt.Println(err != nil, errors.Is(err, cache.ErrUnknown))
	// Output: true false
}
