package mirror_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A hook runs something once, before the first request that begins with a prefix.
type hook struct {
	prefix atomic.Pointer[string]
	do     func()
}

func (h *hook) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := h.prefix.Load(); p != nil && strings.HasPrefix(r.Method+" "+r.URL.Path, *p) && h.prefix.CompareAndSwap(p, nil) {
			h.do()
		}
		next.ServeHTTP(w, r)
	})
}

func (h *hook) before(prefix string, do func()) {
	h.do = do
	h.prefix.Store(&prefix)
}

// Delivering again what has been overtaken moves no tag.
func TestReplayMovesNoTagBackwards(t *testing.T) {
	r := newRig(t, nil, nil, nil)
	older := putImage(t, r.from, "team/app", "latest", noise(1, 100))
	r.deliver(t, push("team/app", "latest", older.Digest))
	newer := putImage(t, r.from, "team/app", "latest", noise(2, 100))
	r.deliver(t, push("team/app", "latest", newer.Digest))
	r.deliver(t, ago(time.Hour, push("team/app", "latest", older.Digest)))
	if got := tagged(t, r.to, "team/app", "latest"); got != newer.Digest {
		t.Errorf("the tag is %s, want %s", got, newer.Digest)
	}
	r.metrics(t, "manifests_total superseded 1", "superseded_total moved 1", "manifests_total copied 2")
}

// A tag that moves while its image is copied stays for the event of that move.
func TestATagThatMovesMeanwhile(t *testing.T) {
	var h hook
	r := newRig(t, nil, &registrytest.Options{Wrap: h.wrap}, nil)
	older := putImage(t, r.from, "team/app", "latest", noise(1, 100))
	var newer v1.Descriptor
	h.before("PUT /v2/team/app/blobs/", func() { newer = putImage(t, r.from, "team/app", "latest", noise(2, 100)) })
	r.deliver(t, ago(time.Hour, push("team/app", "latest", older.Digest)))
	if got := tagged(t, r.to, "team/app", "latest"); got != "" {
		t.Errorf("the tag is %s, want none", got)
	}
	r.metrics(t, "superseded_total moved 1", "manifests_total copied 0", "blobs_total copied 2")
	r.deliver(t, push("team/app", "latest", newer.Digest))
	r.arrived(t, "team/app", "latest")
}

// A replay that has looked at the source before a tag moved does not write it after the
// delivery that has looked later.
func TestLookingAndWritingAreOneTurn(t *testing.T) {
	var h hook
	r := newRig(t, nil, &registrytest.Options{Wrap: h.wrap}, nil)
	older := putImage(t, r.from, "team/app", "latest", noise(1, 100))
	var newer v1.Descriptor
	done := make(chan error, 1)
	h.before("PUT /v2/team/app/manifests/latest", func() {
		newer = putImage(t, r.from, "team/app", "latest", noise(2, 100))
		go func() {
			done <- r.endpoint.Write(t.Context(), []*notifications.Event{push("team/app", "latest", newer.Digest)})
		}()
		// It copies all but the tag, for which it has to wait: by then its blobs are there.
		eventually(t, "the blobs of the newer image", func() bool {
			return r.counter(t, "blobs_total copied")+r.counter(t, "blobs_total skipped") == 4
		})
		select {
		case err := <-done:
			t.Errorf("it did not wait for its turn: %v", err)
			done <- err
		case <-time.After(100 * time.Millisecond):
		}
	})
	r.deliver(t, push("team/app", "latest", older.Digest))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := tagged(t, r.to, "team/app", "latest"); got != newer.Digest {
		t.Errorf("the tag is %s, want %s", got, newer.Digest)
	}
}

func TestAManifestThatIsGone(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		r := newRig(t, nil, nil, nil)
		desc := putImage(t, r.from, "team/app", "1.0", noise(1, 100))
		if err := r.from.DeleteManifest(t.Context(), "team/app", desc.Digest); err != nil {
			t.Fatal(err)
		}
		r.deliver(t, ago(time.Hour, push("team/app", "1.0", desc.Digest)))
		r.metrics(t, "manifests_total superseded 1", "superseded_total gone 1", "blobs_total copied 0")
	})
	t.Run("meanwhile", func(t *testing.T) {
		var h hook
		r := newRig(t, nil, &registrytest.Options{Wrap: h.wrap}, func(r *rig) { r.opts.BlobConcurrency = 1 })
		m := image(t, r.from, "team/app", noise(1, 100), noise(2, 100))
		desc := putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageManifest, m)
		h.before("PUT /v2/team/app/blobs/", func() { // and its layers with it
			for _, err := range []error{
				r.from.DeleteManifest(t.Context(), "team/app", desc.Digest),
				r.from.DeleteBlob(t.Context(), "team/app", m.Layers[1].Digest),
			} {
				if err != nil {
					t.Error(err)
				}
			}
		})
		r.deliver(t, ago(time.Hour, push("team/app", "1.0", desc.Digest)))
		r.metrics(t, "superseded_total gone 1", "blobs_total copied 2", "manifests_total copied 0", "inflight_bytes 0")
	})
	// Nothing is concluded from the 404 of a server that is no registry.
	t.Run("a server that is no registry", func(t *testing.T) {
		r := newRig(t, nil, nil, func(r *rig) {
			page := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(page.Close)
			r.opts.Source.URL = page.URL
			r.opts.PropagateDeletes = true
		})
		kept := putImage(t, r.to, "team/app", "1.0", noise(1, 100))
		for _, e := range []*notifications.Event{push("team/app", "1.0", kept.Digest), deletion("team/app", "1.0", ""), deletion("team/app", "", kept.Digest)} {
			if err := r.refused(t, e, endpoints.Misdirected); err.Status != 404 || !strings.Contains(err.Error(), "source: 404 Not Found (GET ") {
				t.Error(err)
			}
		}
		if got := tagged(t, r.to, "team/app", "1.0"); got != kept.Digest {
			t.Errorf("the tag is %q", got)
		}
	})
	// A layer that is missing while its manifest is there stays missing.
	t.Run("a layer alone", func(t *testing.T) {
		r := newRig(t, nil, nil, nil)
		m := image(t, r.from, "team/app", noise(1, 100))
		desc := putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageManifest, m)
		if err := r.from.DeleteBlob(t.Context(), "team/app", m.Layers[0].Digest); err != nil {
			t.Fatal(err)
		}
		r.refused(t, push("team/app", "1.0", desc.Digest), endpoints.Rejected)
		r.metrics(t, "inflight_bytes 0")
	})
}

func TestDeletes(t *testing.T) {
	for _, auth := range []registrytest.Auth{registrytest.None, registrytest.Token} {
		r := newRig(t, &registrytest.Options{Auth: auth}, &registrytest.Options{Auth: auth}, func(r *rig) { r.opts.PropagateDeletes = true })
		desc := putImage(t, r.from, "team/app", "1.0", noise(1, 100))
		for _, tag := range []string{"1.0", "latest"} {
			putImage(t, r.from, "team/app", tag, noise(1, 100))
			r.deliver(t, push("team/app", tag, desc.Digest))
		}

		// Events of what is not so any more do nothing.
		r.deliver(t, ago(time.Hour, deletion("team/app", "1.0", "")))
		r.deliver(t, ago(time.Hour, deletion("team/app", "", desc.Digest)))
		r.arrived(t, "team/app", "1.0")
		r.metrics(t, "superseded_total restored 2", "manifests_total deleted 0")

		if err := r.from.Untag(t.Context(), "team/app", "1.0"); err != nil {
			t.Fatal(err)
		}
		r.deliver(t, deletion("team/app", "1.0", ""))
		if got := tagged(t, r.to, "team/app", "1.0"); got != "" {
			t.Errorf("the tag is %s still", got)
		}
		r.arrived(t, "team/app", "latest")
		r.metrics(t, "manifests_total deleted 1")

		if err := r.from.DeleteManifest(t.Context(), "team/app", desc.Digest); err != nil {
			t.Fatal(err)
		}
		r.deliver(t, deletion("team/app", "", desc.Digest))
		for _, ref := range []string{"latest", desc.Digest.String()} {
			if got := tagged(t, r.to, "team/app", ref); got != "" {
				t.Errorf("%s is there still", ref)
			}
		}
		r.metrics(t, "manifests_total deleted 2")
		r.deliver(t, deletion("team/app", "", desc.Digest)) // again
		r.deliver(t, deletion("team/app", "latest", desc.Digest))
		r.metrics(t, "manifests_total deleted 2")
	}
}

// Whoever forges an event gets no request, and so no credential, anywhere else.
func TestAForgedEventLeadsNowhere(t *testing.T) {
	var trapped atomic.Int32
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { trapped.Add(1) }))
	defer trap.Close()
	host := strings.TrimPrefix(trap.URL, "http://")
	r := newRig(t, &registrytest.Options{Auth: registrytest.Htpasswd}, &registrytest.Options{Auth: registrytest.Htpasswd},
		func(r *rig) { r.opts.PropagateDeletes = true })
	desc := putImage(t, r.from, "team/app", "1.0", noise(1, 100))
	forged := func(action string) *notifications.Event {
		e := notifications.NewEvent(action, notifications.Details{
			Target: notifications.Target{
				Descriptor: v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: desc.Digest, URLs: []string{trap.URL}},
				Repository: "team/app", Tag: "1.0", FromRepository: host + "/team/app",
				URL: trap.URL + "/v2/team/app/manifests/" + desc.Digest.String(),
			},
			Request: notifications.RequestRecord{Host: host, Addr: host},
			Source:  notifications.SourceRecord{Addr: host},
		})
		d := notifications.Decode(notifications.AppendEnvelope(nil, []*notifications.Event{e}), nil)
		if len(d.Events) != 1 {
			t.Fatalf("%+v", d)
		}
		return d.Events[0]
	}
	r.deliver(t, forged(notifications.ActionPush))
	r.arrived(t, "team/app", "1.0")
	if err := r.from.Untag(t.Context(), "team/app", "1.0"); err != nil {
		t.Fatal(err)
	}
	r.deliver(t, forged(notifications.ActionDelete))
	if got := tagged(t, r.to, "team/app", "1.0"); got != "" {
		t.Errorf("the tag is %s still", got)
	}
	if n := trapped.Load(); n != 0 {
		t.Errorf("%d requests went where the event pointed", n)
	}
}
