package notifications_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/distribution/distribution/v3/manifest/ocischema"
	theirs "github.com/distribution/distribution/v3/notifications"
	"github.com/distribution/distribution/v3/registry/api/v2"
	events "github.com/docker/go-events"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
)

// nowhere and theirNowhere are sinks that take everything.
type nowhere struct{}

func (nowhere) Write(context.Context, []*notifications.Event) error { return nil }

type theirNowhere struct{}

func (theirNowhere) Write(events.Event) error { return nil }
func (theirNowhere) Close() error             { return nil }

// imageManifest is one of ten layers, as a registry has it in its hands.
func imageManifest(b *testing.B) *ocischema.DeserializedManifest {
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest}
	m.SchemaVersion = 2
	m.Config = v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.FromString("config"), Size: 3000}
	for i := range 10 {
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromString(fmt.Sprint(i)), Size: int64(1000 * i)})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	image := new(ocischema.DeserializedManifest)
	if err := image.UnmarshalJSON(raw); err != nil {
		b.Fatal(err)
	}
	return image
}

// BenchmarkBridge makes the event of a manifest push: with ours, with distribution's
// bridge, and with ours when nobody wants it. "request" is what each costs a registry for
// a whole request, the records and the URLs that depend on it included.
func BenchmarkBridge(b *testing.B) {
	var (
		repo    = named(b, "team/app")
		image   = imageManifest(b)
		request = request("192.0.2.1:4711")
		source  = theirs.SourceRecord{Addr: testSource.Addr, InstanceID: testSource.InstanceID}
		actor   = theirs.ActorRecord{Name: "alice"}
	)
	theirURLs, err := v2.NewURLBuilderFromString("https://registry.example", false)
	if err != nil {
		b.Fatal(err)
	}
	bridge := notifications.NewBridge(nowhere{}, testSource, &notifications.BridgeOptions{URLs: baseURL(b, "https://registry.example")})
	unwanted := notifications.NewBridge(picky{nowhere{}, func(*notifications.Event) bool { return false }}, testSource, nil)

	ours := bridge.For(testActor, testRequest)
	reference := theirs.NewBridge(theirURLs, source, actor, theirs.NewRequestRecord("id", request), theirNowhere{}, false)
	ignored := unwanted.For(testActor, testRequest)
	oneName := named(b, "app")
	for _, bb := range []struct {
		name string
		push func() error
	}{
		{"event/regcast", func() error { return ours.ManifestPushed(context.Background(), repo, image, "v1") }},
		{"event/distribution", func() error { return reference.ManifestPushed(repo, image) }},
		{"unwanted/regcast", func() error { return ignored.ManifestPushed(context.Background(), oneName, image, "v1") }},
		{"request/regcast", func() error {
			l := bridge.WithURLs(notifications.BaseURLOf(request)).For(testActor, notifications.RequestOf("id", request))
			return l.ManifestPushed(context.Background(), repo, image, "v1")
		}},
		{"request/distribution", func() error {
			urls := v2.NewURLBuilderFromRequest(request, false)
			return theirs.NewBridge(urls, source, actor, theirs.NewRequestRecord("id", request), theirNowhere{}, false).ManifestPushed(repo, image)
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bb.push(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
