package sinks_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/sinks"
)

// countedManifest counts how often it is read.
type countedManifest struct {
	mediaType string
	read      int
}

func (m *countedManifest) References() []v1.Descriptor { return nil }

func (m *countedManifest) Payload() (string, []byte, error) {
	m.read++
	return m.mediaType, []byte("{}"), nil
}

// tellAll calls every method of l.
func tellAll(t *testing.T, l notifications.Listener, m notifications.Manifest) {
	t.Helper()
	ctx := t.Context()
	repo, err := reference.WithName("team/app")
	if err != nil {
		t.Fatal(err)
	}
	blob := v1.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromString("layer"), Size: 5}
	for i, err := range []error{
		l.ManifestPushed(ctx, repo, m, "v1"), l.ManifestPushed(ctx, repo, m, ""),
		l.ManifestPulled(ctx, repo, m, "v1"), l.ManifestPulled(ctx, repo, m, ""),
		l.ManifestDeleted(ctx, repo, digest.FromString("{}")),
		l.BlobPushed(ctx, repo, blob), l.BlobPulled(ctx, repo, blob), l.BlobMounted(ctx, repo, blob, repo), l.BlobDeleted(ctx, repo, blob.Digest),
		l.TagDeleted(ctx, repo, "v1"), l.RepositoryDeleted(ctx, repo),
	} {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// describe is what a filter can see of events.
func describe(events []*notifications.Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%s %s %s:%s %s %s", e.Kind(), e.Action, e.Repository, e.Tag, e.Digest, e.MediaType))
	}
	return all
}

// A bridge asks its sinks before it makes an event. The answer must never keep out what
// the filter would have let pass, and must spare the work where it can.
func TestFiltersAnswerTheBridge(t *testing.T) {
	tests := []struct {
		name           string
		filter, ignore sinks.Rules
		read           int // of 4 manifests
	}{
		{name: "everything", read: 4},
		{name: "manifests", filter: sinks.Rules{Kinds: []string{"manifest"}}, read: 4},
		{name: "images", filter: sinks.Rules{Kinds: []string{"image"}}, read: 4}, // the kind is open without tag
		{name: "blobs", filter: sinks.Rules{Kinds: []string{"blob"}}, read: 2},   // those without tag may be
		{name: "no blobs", ignore: sinks.Rules{Kinds: []string{"blob"}}, read: 4},
		{name: "no manifests", ignore: sinks.Rules{Kinds: []string{"manifest"}}, read: 2},
		{name: "repositories", filter: sinks.Rules{Kinds: []string{"repository"}}, read: 2},
		{name: "indexes", filter: sinks.Rules{MediaTypes: []string{v1.MediaTypeImageIndex}}, read: 4},
		{name: "image manifests", filter: sinks.Rules{MediaTypes: []string{v1.MediaTypeImageManifest}}, read: 4},
		{name: "no image manifests", ignore: sinks.Rules{MediaTypes: []string{v1.MediaTypeImageManifest}}, read: 4},
		{name: "pushes", filter: sinks.Rules{Actions: []string{"push"}}, read: 2},
		{name: "pushes of images", filter: sinks.Rules{Actions: []string{"push"}, Tags: []string{"v*"}}, read: 1},
		{name: "other repositories", filter: sinks.Rules{Repositories: []string{"other/**"}}, read: 0},
		{name: "not by alice", ignore: sinks.Rules{Actors: []string{"alice"}}, read: 0},
		{name: "by GET", filter: sinks.Rules{Methods: []string{"GET"}}, read: 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			matcher, err := sinks.NewMatcher(tt.filter, tt.ignore)
			if err != nil {
				t.Fatal(err)
			}
			var asked, all, filtered notificationstest.Recorder
			listener := func(dst notifications.Sink) notifications.Listener {
				return notifications.NewBridge(dst, notifications.SourceRecord{}, nil).
					For(notifications.ActorRecord{Name: "alice"}, notifications.RequestRecord{Method: "PUT"})
			}
			m := &countedManifest{mediaType: v1.MediaTypeImageManifest}
			tellAll(t, listener(sinks.NewBroadcaster(sinks.NewFilter(&asked, matcher))), m)
			if m.read != tt.read {
				t.Errorf("%d manifests were read, want %d", m.read, tt.read)
			}

			tellAll(t, listener(&all), m)
			if err := sinks.NewFilter(&filtered, matcher).Write(context.Background(), all.Events()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(describe(filtered.Events()), describe(asked.Events())); diff != "" {
				t.Errorf("asking beforehand changed what gets through: %s", diff)
			}
		})
	}
}
