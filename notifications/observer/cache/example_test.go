package cache_test

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications/observer/cache"
)

// What one repository has, another does not have for that reason.
func ExampleNewMemory() {
	ctx := context.Background()
	descriptors := cache.NewMemory(0)
	team, err := descriptors.Repository("team/app")
	if err != nil {
		panic(err)
	}
	dgst := digest.FromString("a layer")
	layer := v1.Descriptor{MediaType: "application/octet-stream", Digest: dgst, Size: 7}
	if err := team.Set(ctx, dgst, layer); err != nil {
		panic(err)
	}

	for _, name := range []string{"team/app", "other/app"} {
		repository, err := descriptors.Repository(name)
		if err != nil {
			panic(err)
		}
		desc, err := repository.Stat(ctx, dgst)
		fmt.Println(name, desc.Size, err)
	}
	// Output:
	// team/app 7 <nil>
	// other/app 0 descriptor unknown
}

// The registry is asked once for what the cache does not have.
func ExampleNewReadThrough() {
	ctx := context.Background()
	registry := func(_ context.Context, repository string, dgst digest.Digest) (v1.Descriptor, error) {
		fmt.Println("asking the registry for", repository)
		return v1.Descriptor{MediaType: "application/octet-stream", Digest: dgst, Size: 7}, nil
	}
	descriptors := cache.NewReadThrough(cache.NewMemory(0), registry, nil)
	team, err := descriptors.Repository("team/app")
	if err != nil {
		panic(err)
	}
	for range 2 {
		desc, err := team.Stat(ctx, digest.FromString("a layer"))
		fmt.Println(desc.Size, err)
	}
	// Output:
	// asking the registry for team/app
	// 7 <nil>
	// 7 <nil>
}
