package notifications_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

var (
	testActor   = notifications.ActorRecord{Name: "alice"}
	testRequest = notifications.RequestRecord{ID: "r1", Addr: "192.0.2.7:51234", Host: "registry.example", Method: "PUT", UserAgent: "client/1"}
	testSource  = notifications.SourceRecord{Addr: "node-1:5000", InstanceID: "i1"}
	errTest     = errors.New("test fault")
)

// A manifest is what a registry would hand to the bridge.
type manifest struct {
	mediaType  string
	payload    string
	references []v1.Descriptor
	err        error
	read       int // calls of Payload
}

func (m *manifest) References() []v1.Descriptor { return m.references }

func (m *manifest) Payload() (string, []byte, error) {
	m.read++
	return m.mediaType, []byte(m.payload), m.err
}

func newManifest() *manifest {
	return &manifest{
		mediaType:  v1.MediaTypeImageManifest,
		payload:    `{"schemaVersion":2}`,
		references: []v1.Descriptor{{MediaType: v1.MediaTypeImageConfig, Digest: digest.FromString("config"), Size: 6}},
	}
}

func named(t testing.TB, name string) reference.Named {
	t.Helper()
	n, err := reference.WithName(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func baseURL(t testing.TB, s string) notifications.BaseURL {
	t.Helper()
	b, err := notifications.ParseBaseURL(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// operation is a call of one listener method.
type operation func(ctx context.Context, l notifications.Listener) error

func TestBridgeEvents(t *testing.T) {
	var (
		repo = named(t, "team/app")
		from = named(t, "team/base")
		m    = newManifest()
		dgst = digest.FromString(m.payload)
		blob = v1.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromString("layer"), Size: 5}
	)
	manifestTarget := func(tag string, references []v1.Descriptor) notifications.Target {
		return notifications.Target{
			Descriptor: v1.Descriptor{MediaType: m.mediaType, Digest: dgst, Size: int64(len(m.payload))},
			Length:     int64(len(m.payload)),
			Repository: "team/app",
			URL:        "https://registry.example/v2/team/app/manifests/" + dgst.String(),
			Tag:        tag,
			References: references,
		}
	}
	blobTarget := func(from string) notifications.Target {
		return notifications.Target{
			Descriptor: blob, Length: 5, Repository: "team/app", FromRepository: from,
			URL: "https://registry.example/v2/team/app/blobs/" + blob.Digest.String(),
		}
	}
	tests := []struct {
		name       string
		references bool
		call       operation
		action     string
		target     notifications.Target
		kind       notifications.Kind
	}{
		{"manifest pushed by tag", false, func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPushed(ctx, repo, m, "v1")
		}, "push", manifestTarget("v1", nil), notifications.KindManifest | notifications.KindImage},
		{"manifest pushed by digest, with references", true, func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPushed(ctx, repo, m, "")
		}, "push", manifestTarget("", m.references), notifications.KindManifest},
		{"manifest pulled by tag, with references", true, func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPulled(ctx, repo, m, "v1")
		}, "pull", manifestTarget("v1", m.references), notifications.KindManifest | notifications.KindImage},
		{"manifest pulled by digest", false, func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPulled(ctx, repo, m, "")
		}, "pull", manifestTarget("", nil), notifications.KindManifest},
		{"manifest deleted", true, func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestDeleted(ctx, repo, dgst)
		}, "delete", notifications.Target{Descriptor: v1.Descriptor{Digest: dgst}, Repository: "team/app"}, notifications.KindManifest},
		{"blob pushed", true, func(ctx context.Context, l notifications.Listener) error {
			return l.BlobPushed(ctx, repo, blob)
		}, "push", blobTarget(""), notifications.KindBlob},
		{"blob pulled", false, func(ctx context.Context, l notifications.Listener) error {
			return l.BlobPulled(ctx, repo, blob)
		}, "pull", blobTarget(""), notifications.KindBlob},
		{"blob of no known type pulled", false, func(ctx context.Context, l notifications.Listener) error {
			return l.BlobPulled(ctx, repo, v1.Descriptor{Digest: blob.Digest, Size: blob.Size})
		}, "pull", blobTarget(""), notifications.KindBlob},
		{"blob mounted", false, func(ctx context.Context, l notifications.Listener) error {
			return l.BlobMounted(ctx, repo, blob, from)
		}, "mount", blobTarget("team/base"), notifications.KindBlob},
		{"blob deleted", false, func(ctx context.Context, l notifications.Listener) error {
			return l.BlobDeleted(ctx, repo, blob.Digest)
		}, "delete", notifications.Target{Descriptor: v1.Descriptor{Digest: blob.Digest}, Repository: "team/app"}, notifications.KindBlob},
		{"tag deleted", false, func(ctx context.Context, l notifications.Listener) error {
			return l.TagDeleted(ctx, repo, "v1")
		}, "delete", notifications.Target{Repository: "team/app", Tag: "v1"}, notifications.KindTag | notifications.KindImage},
		{"repository deleted", false, func(ctx context.Context, l notifications.Listener) error {
			return l.RepositoryDeleted(ctx, repo)
		}, "delete", notifications.Target{Repository: "team/app"}, notifications.KindRepository},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rec notificationstest.Recorder
			bridge := notifications.NewBridge(&rec, testSource, &notifications.BridgeOptions{
				URLs: baseURL(t, "https://registry.example"), IncludeReferences: tt.references,
			})
			before := time.Now()
			if err := tt.call(t.Context(), bridge.For(testActor, testRequest)); err != nil {
				t.Fatal(err)
			}
			if rec.Len() != 1 {
				t.Fatalf("%d events, want 1", rec.Len())
			}
			e := rec.Events()[0]
			details, err := e.Details()
			if err != nil {
				t.Fatal(err)
			}
			want := notifications.Details{Target: tt.target, Request: testRequest, Actor: testActor, Source: testSource}
			if tt.action == "delete" && tt.target.Digest != "" {
				want.Remark.Kind = tt.kind.String()
			}
			if diff := cmp.Diff(want, details); diff != "" {
				t.Error(diff)
			}
			if e.Action != tt.action || e.Kind() != tt.kind || e.Provenance.Format != notifications.FormatBridge {
				t.Errorf("action %s, kind %v, format %q; want %s, %v", e.Action, e.Kind(), e.Provenance.Format, tt.action, tt.kind)
			}
			if id, err := uuid.Parse(e.ID); err != nil || id.Version() != 7 {
				t.Errorf("id %q: want a UUIDv7 (%v)", e.ID, err)
			}
			if e.Timestamp.Before(before.Add(-time.Millisecond)) || e.Timestamp.After(time.Now()) || e.Timestamp.Location() != time.UTC {
				t.Errorf("timestamp %v: want now, in UTC", e.Timestamp)
			}
			if _, err := notifications.ParseEvent(string(e.AppendJSON(nil))); err != nil {
				t.Errorf("receivers cannot read it: %v", err)
			}
		})
	}
}

func TestBridgeWithoutURLs(t *testing.T) {
	var rec notificationstest.Recorder
	l := notifications.NewBridge(&rec, testSource, nil).For(testActor, testRequest)
	if err := l.ManifestPushed(t.Context(), named(t, "app"), newManifest(), "v1"); err != nil {
		t.Fatal(err)
	}
	if d, _ := rec.Events()[0].Details(); d.Target.URL != "" || d.Target.References != nil {
		t.Errorf("url %q, %d references; want neither", d.Target.URL, len(d.Target.References))
	}
}

func TestBridgeKeepsItsOwnReferences(t *testing.T) {
	var rec notificationstest.Recorder
	m := newManifest()
	l := notifications.NewBridge(&rec, testSource, &notifications.BridgeOptions{IncludeReferences: true}).For(testActor, testRequest)
	if err := l.ManifestPushed(t.Context(), named(t, "app"), m, ""); err != nil {
		t.Fatal(err)
	}
	m.references[0].Size = 99
	if d, _ := rec.Events()[0].Details(); d.Target.References[0].Size != 6 {
		t.Error("the event changed with the manifest after it was written")
	}
}

func TestBridgeRefusesWhatIsNoEvent(t *testing.T) {
	repo := named(t, "app")
	tests := map[string]struct {
		call operation
		want string
	}{
		"no payload": {func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPushed(ctx, repo, &manifest{err: errTest}, "v1")
		}, errTest.Error()},
		"no media type": {func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPulled(ctx, repo, &manifest{payload: "{}"}, "")
		}, "media type"},
		"tag that is none": {func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestPushed(ctx, repo, newManifest(), "a b")
		}, "tag"},
		"delete of no manifest": {func(ctx context.Context, l notifications.Listener) error {
			return l.ManifestDeleted(ctx, repo, "")
		}, "digest"},
		"delete of a garbled blob": {func(ctx context.Context, l notifications.Listener) error {
			return l.BlobDeleted(ctx, repo, "sha256:beef")
		}, "digest"},
		"garbled blob": {func(ctx context.Context, l notifications.Listener) error {
			return l.BlobPushed(ctx, repo, v1.Descriptor{Digest: "sha256:" + digest.Digest(strings.Repeat("X", 64))})
		}, "digest"},
		"delete of no tag": {func(ctx context.Context, l notifications.Listener) error {
			return l.TagDeleted(ctx, repo, "")
		}, "tag"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var rec notificationstest.Recorder
			err := tt.call(t.Context(), notifications.NewBridge(&rec, testSource, nil).For(testActor, testRequest))
			if err == nil || !strings.Contains(err.Error(), tt.want) || rec.Len() != 0 {
				t.Errorf("error %v, %d events; want an error about the %s, and none", err, rec.Len(), tt.want)
			}
		})
	}
}

func TestBridgeReturnsTheSinksError(t *testing.T) {
	sink := notificationstest.NewFaulty(nil, notificationstest.EveryNth(1, notifications.ErrFull))
	l := notifications.NewBridge(sink, testSource, nil).For(testActor, testRequest)
	if err := l.RepositoryDeleted(t.Context(), named(t, "app")); err != notifications.ErrFull {
		t.Errorf("got %v, want the sink's error as it is", err)
	}
}

// brokenURLs is a URLBuilder that fails.
type brokenURLs struct{}

func (brokenURLs) ManifestURL(reference.Canonical) (string, error) { return "", errTest }
func (brokenURLs) BlobURL(reference.Canonical) (string, error)     { return "", errTest }

func TestBridgeWritesEventsWithoutURLRatherThanNone(t *testing.T) {
	var rec notificationstest.Recorder
	l := notifications.NewBridge(&rec, testSource, nil).WithURLs(brokenURLs{}).For(testActor, testRequest)
	if err := l.ManifestPushed(t.Context(), named(t, "app"), newManifest(), "v1"); !errors.Is(err, errTest) || rec.Len() != 1 {
		t.Errorf("error %v, %d events; want the builder's error, and one", err, rec.Len())
	}
}

func TestBridgeWithURLsOfRequest(t *testing.T) {
	var rec notificationstest.Recorder
	bridge := notifications.NewBridge(&rec, testSource, &notifications.BridgeOptions{URLs: baseURL(t, "https://one.example")})
	blob := v1.Descriptor{Digest: digest.FromString("x"), Size: 1}
	for _, b := range []*notifications.Bridge{bridge.WithURLs(baseURL(t, "http://two.example:5000/a")), bridge} {
		if err := b.For(testActor, testRequest).BlobPulled(t.Context(), named(t, "app"), blob); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"http://two.example:5000/a/v2/app/blobs/" + blob.Digest.String(), "https://one.example/v2/app/blobs/" + blob.Digest.String()}
	var got []string
	for _, e := range rec.Events() {
		d, _ := e.Details()
		got = append(got, d.Target.URL)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// picky is a selective sink.
type picky struct {
	notifications.Sink
	wants func(*notifications.Event) bool
}

func (p picky) Wants(e *notifications.Event) bool { return p.wants(e) }

func TestBridgeAsksBeforeItReads(t *testing.T) {
	repo := named(t, "team/app")
	tests := map[string]struct {
		wants        func(e *notifications.Event) bool
		events, read int
	}{
		"nothing":            {func(*notifications.Event) bool { return false }, 0, 0},
		"other repositories": {func(e *notifications.Event) bool { return e.Repository != "team/app" }, 0, 0},
		"deletes":            {func(e *notifications.Event) bool { return e.Action == notifications.ActionDelete }, 0, 0},
		"other media types":  {func(e *notifications.Event) bool { return e.MediaType == "" || e.MediaType == v1.MediaTypeImageIndex }, 0, 1},
		"just this": {func(e *notifications.Event) bool {
			return e.Action == "push" && e.Tag == "v1" && e.Actor == "alice" && e.Method == "PUT" &&
				e.Provenance.Format == notifications.FormatBridge && (e.MediaType == "" || e.MediaType == v1.MediaTypeImageManifest)
		}, 1, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var rec notificationstest.Recorder
			m := newManifest()
			l := notifications.NewBridge(picky{&rec, tt.wants}, testSource, nil).For(testActor, testRequest)
			if err := l.ManifestPushed(t.Context(), repo, m, "v1"); err != nil {
				t.Fatal(err)
			}
			if rec.Len() != tt.events || m.read != tt.read {
				t.Errorf("%d events, payload read %d times; want %d, %d", rec.Len(), m.read, tt.events, tt.read)
			}
		})
	}
}

func TestBridgeWithNothingWantedAllocatesNothing(t *testing.T) {
	l := notifications.NewBridge(picky{nil, func(*notifications.Event) bool { return false }}, testSource, nil).For(testActor, testRequest)
	repo := named(t, "app") // of two parts or more, reference.Named joins the name anew each time
	m := newManifest()
	blob := v1.Descriptor{Digest: digest.FromString("x"), Size: 1}
	pool := sync.Pool{New: func() any { return new(manifest) }}
	if testing.AllocsPerRun(1, func() {
		for range 100 {
			pool.Put(pool.Get())
		}
	}) != 0 {
		t.Skip("pools forget on purpose under the race detector")
	}
	allocs := testing.AllocsPerRun(100, func() {
		_ = l.ManifestPushed(t.Context(), repo, m, "v1")
		_ = l.BlobPulled(t.Context(), repo, blob)
		_ = l.BlobDeleted(t.Context(), repo, blob.Digest)
		_ = l.TagDeleted(t.Context(), repo, "v1")
		_ = l.RepositoryDeleted(t.Context(), repo)
	})
	if allocs != 0 {
		t.Errorf("%v allocations for events that nobody wants, want 0", allocs)
	}
}

func TestBridgeHandsOverWhenTheClientIsGone(t *testing.T) {
	repo := named(t, "app")
	synctest.Test(t, func(t *testing.T) {
		var rec notificationstest.Recorder
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		slow := notificationstest.NewSlow(&rec, time.Second)
		if err := notifications.NewBridge(slow, testSource, nil).For(testActor, testRequest).RepositoryDeleted(ctx, repo); err != nil || rec.Len() != 1 {
			t.Errorf("with a client that is gone: %v, %d events; want 1", err, rec.Len())
		}

		start := time.Now()
		stuck := notifications.NewBridge(notificationstest.NewGate(nil), testSource, nil).For(testActor, testRequest)
		if err := stuck.RepositoryDeleted(ctx, repo); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != notifications.DefaultHandOff {
			t.Errorf("with a sink that is stuck: %v after %v", err, time.Since(start))
		}

		obedient := notifications.NewBridge(slow, testSource, &notifications.BridgeOptions{HandOff: -1}).For(testActor, testRequest)
		if err := obedient.RepositoryDeleted(ctx, repo); !errors.Is(err, context.Canceled) || rec.Len() != 1 {
			t.Errorf("where the caller's context decides: %v, %d events", err, rec.Len())
		}
	})
}

func TestBridgeIsSafeForConcurrentUse(t *testing.T) {
	var rec notificationstest.Recorder
	wants := func(e *notifications.Event) bool { return e.Tag != "" && e.Repository == "app-"+e.Tag }
	bridge := notifications.NewBridge(picky{&rec, wants}, testSource, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		repo := named(t, fmt.Sprintf("app-v%d", i))
		wg.Go(func() {
			l := bridge.For(testActor, testRequest)
			for range 100 {
				if err := l.TagDeleted(t.Context(), repo, fmt.Sprintf("v%d", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if rec.Len() != 800 {
		t.Errorf("%d events, want 800: previews got mixed up", rec.Len())
	}
}

func ExampleNewBridge() {
	sink := &notificationstest.Recorder{}
	source := notifications.SourceRecord{Addr: "registry-0:5000", InstanceID: "instance-7"}
	bridge := notifications.NewBridge(sink, source, nil)

	handler := func(r *http.Request) {
		// The registry has deleted a tag, and tells.
		listener := bridge.For(notifications.ActorRecord{Name: "alice"}, notifications.RequestOf("request-1", r))
		repo, _ := reference.WithName("team/app")
		if err := listener.TagDeleted(r.Context(), repo, "v1"); err != nil {
			fmt.Println("event not recorded:", err)
		}
	}
	r, _ := http.NewRequest(http.MethodDelete, "https://registry.example/v2/team/app/manifests/v1", nil)
	handler(r)

	for _, e := range sink.Events() {
		fmt.Println(e.Actor, "did", e.Action, e.Repository, e.Tag, "by", e.Method)
	}
	// Output: alice did delete team/app v1 by DELETE
}
