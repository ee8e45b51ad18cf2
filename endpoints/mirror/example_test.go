package mirror_test

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/endpoints/mirror"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// What an event says was pushed to one registry is in the other when Write returns.
func ExampleNewEndpoint() {
	ctx := context.Background()
	internal, err := registrytest.Open(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer internal.Close()
	other, err := registrytest.Open(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer other.Close()

	from, err := registry.NewClient(internal.URL(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer from.CloseIdleConnections()
	index := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	if _, err := from.PutManifest(ctx, "team/app", "1.0", v1.MediaTypeImageIndex, index); err != nil {
		fmt.Println(err)
		return
	}

	endpoint, err := mirror.NewEndpoint("copy", &mirror.Options{
		Source: mirror.Registry{URL: internal.URL()},
		Target: mirror.Registry{URL: other.URL() + "/prefix"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer endpoint.Shutdown(ctx)
	pushed := notifications.NewEvent(notifications.ActionPush, notifications.Details{Target: notifications.Target{
		Descriptor: v1.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: digest.FromBytes(index)},
		Repository: "team/app", Tag: "1.0",
	}})
	if err := endpoint.Write(ctx, []*notifications.Event{pushed}); err != nil {
		fmt.Println(err)
		return
	}

	to, err := registry.NewClient(other.URL(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer to.CloseIdleConnections()
	desc, err := to.Resolve(ctx, "prefix/team/app", "1.0")
	fmt.Println(desc.Digest == digest.FromBytes(index), err)
	// Output:
	// true <nil>
}

// Metrics of all mirrors begin at zero and end when they are told to.
func ExampleNewMetrics() {
	reg := prometheus.NewRegistry()
	metrics := mirror.NewMetrics(reg)
	endpoint, err := mirror.NewEndpoint("copy", &mirror.Options{
		Source: mirror.Registry{URL: "https://registry.internal"}, Target: mirror.Registry{URL: "https://registry.example"},
		Metrics: metrics,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer endpoint.Shutdown(context.Background())
	series := func() (n int) {
		families, err := reg.Gather()
		if err != nil {
			fmt.Println(err)
		}
		for _, f := range families {
			n += len(f.GetMetric())
		}
		return n
	}
	fmt.Println(series())
	metrics.Forget("copy")
	fmt.Println(series())
	// Output:
	// 14
	// 0
}
