package main

import (
	"context"
	"testing"

	"github.com/distribution/distribution/v3/manifest/schema2"
	dnotifications "github.com/distribution/distribution/v3/notifications"
	v2 "github.com/distribution/distribution/v3/registry/api/v2"
	"github.com/distribution/reference"
	devents "github.com/docker/go-events"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/sinks"
)

// bridgeRows compare what a registry's request pays for its event: bridge and hand-off
// to a queue, of which the other end is free of charge.
func bridgeRows() []row {
	return []row{
		{name: "bridge and queue, time", against: "distribution's bridge and queue", unit: "ns/push", reach: 0.5, less: true,
			ours: bridge(nanoseconds), peer: distributionBridge(nanoseconds)},
		{name: "bridge and queue, allocations", against: "distribution's bridge and queue", unit: "allocs/push", reach: 0.5, less: true,
			ours: bridge(allocations), peer: distributionBridge(allocations), rounds: 1},
	}
}

type figureOf func(testing.BenchmarkResult) float64

func nanoseconds(r testing.BenchmarkResult) float64 { return float64(r.T.Nanoseconds()) / float64(r.N) }
func allocations(r testing.BenchmarkResult) float64 { return float64(r.AllocsPerOp()) }

// pushed is a manifest of ten layers and where it was pushed to.
func pushed() (reference.Named, *schema2.DeserializedManifest, error) {
	repo, err := reference.WithName("team/app")
	if err != nil {
		return nil, nil, err
	}
	layers := make([]v1.Descriptor, 10)
	for i := range layers {
		layers[i] = v1.Descriptor{MediaType: schema2.MediaTypeLayer, Size: 1 << 20, Digest: digest.FromBytes([]byte{byte(i)})}
	}
	m, err := schema2.FromStruct(schema2.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: schema2.MediaTypeManifest,
		Config:    v1.Descriptor{MediaType: schema2.MediaTypeImageConfig, Size: 1 << 10, Digest: digest.FromString("config")},
		Layers:    layers,
	})
	return repo, m, err
}

func bridge(of figureOf) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		repo, manifest, err := pushed()
		if err != nil {
			return result{}, err
		}
		urls, err := notifications.ParseBaseURL("https://registry.example")
		if err != nil {
			return result{}, err
		}
		queue := sinks.NewQueue(nowhere{}, &sinks.QueueOptions{Capacity: 100_000})
		defer func() { _ = queue.Shutdown(ctx) }()
		b := notifications.NewBridge(sinks.NewBroadcaster(queue), notifications.SourceRecord{Addr: "node:5000"},
			&notifications.BridgeOptions{URLs: urls})
		return result{value: of(testing.Benchmark(func(t *testing.B) {
			t.ReportAllocs()
			for t.Loop() {
				listener := b.For(notifications.ActorRecord{Name: "ci"}, notifications.RequestRecord{ID: "1", Method: "PUT"})
				if err := listener.ManifestPushed(ctx, repo, manifest, "1.0"); err != nil {
					t.Fatal(err)
				}
			}
		}))}, nil
	}
}

// nowhere takes everything at once.
type nowhere struct{}

func (nowhere) Write(context.Context, []*notifications.Event) error { return nil }

// distributionBridge makes the bridge of distribution's app for each request, over a
// broadcaster and a queue whose other end is as free of charge as ours.
func distributionBridge(of figureOf) func(context.Context) (result, error) {
	return func(context.Context) (result, error) {
		repo, manifest, err := pushed()
		if err != nil {
			return result{}, err
		}
		urls, err := v2.NewURLBuilderFromString("https://registry.example", false)
		if err != nil {
			return result{}, err
		}
		broadcaster := devents.NewBroadcaster(devents.NewQueue(emptiness{}))
		defer broadcaster.Close()
		return result{value: of(testing.Benchmark(func(t *testing.B) {
			t.ReportAllocs()
			for t.Loop() {
				b := dnotifications.NewBridge(urls, dnotifications.SourceRecord{Addr: "node:5000"},
					dnotifications.ActorRecord{Name: "ci"}, dnotifications.RequestRecord{ID: "1", Method: "PUT"}, broadcaster, false)
				if err := b.ManifestPushed(repo, manifest); err != nil {
					t.Fatal(err)
				}
			}
		}))}, nil
	}
}

type emptiness struct{}

func (emptiness) Write(devents.Event) error { return nil }
func (emptiness) Close() error              { return nil }
