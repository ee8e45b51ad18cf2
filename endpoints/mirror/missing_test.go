package mirror_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	distribution "github.com/distribution/distribution/v3/configuration"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry/registrytest"
	"github.com/regcast/regcast/sinks"
)

// What a 404 of the source means depends on whether it knows the repository, on whether
// it has ever served anything, and on how old the event is.
func TestWhatTheSourceDoesNotHave(t *testing.T) {
	const gone = endpoints.Gone // here: settled as such
	for _, test := range []struct {
		repository string
		served     bool
		fresh, old endpoints.Class
		replayed   endpoints.Class
		says       string
	}{
		{"team/known", false, endpoints.Early, gone, gone, "source: it has no 1.0 in repository team/known"},
		{"team/known", true, endpoints.Early, gone, gone, "source: it has no 1.0 in repository team/known"},
		{"team/none", false, endpoints.Misdirected, endpoints.Misdirected, endpoints.Misdirected, "source: it has no repository team/none"},
		{"team/none", true, endpoints.Transient, endpoints.Transient, gone, "source: it has no repository team/none"},
	} {
		t.Run(fmt.Sprint(test.repository, " served ", test.served), func(t *testing.T) {
			r := newRig(t, nil, nil, nil)
			putImage(t, r.from, "team/known", "other", noise(1, 100))
			if test.served {
				desc := putImage(t, r.from, "team/served", "1.0", noise(1, 100))
				r.deliver(t, push("team/served", "1.0", desc.Digest))
			}
			missing := func() *notifications.Event { return push(test.repository, "1.0", digest.FromString("x")) }
			ctx := t.Context()
			replay := sinks.WithAttempt(ctx, sinks.Attempt{Stored: time.Now(), Replay: "job"})
			late := sinks.WithAttempt(ctx, sinks.Attempt{Stored: time.Now().Add(-time.Hour)})
			early := sinks.WithAttempt(ctx, sinks.Attempt{Stored: time.Now()})
			settled := 0
			for _, attempt := range []struct {
				name  string
				ctx   context.Context
				event *notifications.Event
				want  endpoints.Class
			}{
				{"fresh", ctx, missing(), test.fresh},
				{"fresh though its source's clock is behind", early, ago(time.Hour, missing()), test.fresh},
				{"old", ctx, ago(time.Hour, missing()), test.old},
				{"old though its source's clock is ahead", late, ago(-time.Hour, missing()), test.old},
				{"replayed", replay, missing(), test.replayed},
			} {
				err := r.endpoint.Write(attempt.ctx, []*notifications.Event{attempt.event})
				if attempt.want == gone {
					if settled++; err != nil {
						t.Errorf("%s: %v, want none", attempt.name, err)
					}
					continue
				}
				failed, ok := errors.AsType[*endpoints.DeliveryError](err)
				if !ok || failed.Class != attempt.want || failed.Status != http.StatusNotFound || !strings.HasSuffix(err.Error(), test.says) {
					t.Errorf("%s: %v, want %v", attempt.name, err, attempt.want)
				}
			}
			r.metrics(t, fmt.Sprint("superseded_total gone ", settled))
		})
	}
}

// The source is another registry than the one that the events come from: nothing is
// settled, and the endpoint is held until the right one is named.
func TestTheWrongSourceHoldsTheEndpoint(t *testing.T) {
	empty := registrytest.Start(t, nil)
	r := newRig(t, nil, nil, func(r *rig) {
		hasty(r)
		r.opts.Source = mirrorOf(empty)
	})
	p := newPipe(t, r.endpoint)
	for i := range 3 {
		p.write(t, push(fmt.Sprint("team/app", i), "1.0", digest.FromString("x")))
	}
	eventually(t, "the endpoint to be held", func() bool { return r.endpoint.State().Name == endpoints.StateMisdirected })
	if pending, dead := p.pending(t, "copy"); pending != 3 || dead != 0 {
		t.Errorf("%d pending, %d dead", pending, dead)
	}
	r.metrics(t, "superseded_total 0")
}

// A repository that was deleted at the source holds up no other.
func TestADeletedRepositoryHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, nil, func(r *rig) {
		hasty(r)
		r.opts.Endpoint.Retry.MaxAge = 2 * time.Second
	})
	p := newPipe(t, r.endpoint)
	p.write(t, push("team/deleted", "1.0", digest.FromString("x"))) // the first thing that it sees of the source
	for i := range 5 {
		repository := fmt.Sprint("team/app", i)
		desc := putImage(t, r.from, repository, "1.0", noise(uint64(i), 100))
		p.write(t, push(repository, "1.0", desc.Digest))
		eventually(t, repository, func() bool { return tagged(t, r.to, repository, "1.0") == desc.Digest })
	}
	eventually(t, "the dead letter", func() bool {
		pending, dead := p.pending(t, "copy")
		return pending == 0 && dead == 1
	})
}

// sparse takes indexes that are not complete.
func sparse(c *distribution.Configuration) { c.Validation.Manifests.Indexes.Platforms = "none" }

// An index that names what was never pushed is copied without it, but not before it may be
// sure that nobody is late; that is counted, and logged once.
func TestASparseIndex(t *testing.T) {
	absent := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("never pushed"), Size: 7}
	var log strings.Builder
	r := newRig(t, &registrytest.Options{Configure: sparse}, &registrytest.Options{Configure: sparse}, func(r *rig) {
		r.opts.Endpoint.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	there := putImage(t, r.from, "team/app", "", noise(1, 100))
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{absent, there}}
	desc := putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageIndex, index)
	e := event(notifications.ActionPush, "team/app", "1.0", desc)

	err := r.refused(t, e, endpoints.Early)
	if err.Status != http.StatusNotFound || !strings.Contains(err.Error(), "source: it has no "+absent.Digest.String()) {
		t.Error(err)
	}
	r.metrics(t, "manifests_total missing 0", "manifests_total copied 0", "blobs_total copied 0")
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}

	r.deliver(t, ago(time.Hour, e))
	if got := tagged(t, r.to, "team/app", "1.0"); got != desc.Digest {
		t.Errorf("the index is %q", got)
	}
	r.arrived(t, "team/app", there.Digest.String())
	r.metrics(t, "manifests_total missing 1", "manifests_total copied 2")
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=INFO") ||
		!strings.Contains(got, "missing=1 first="+absent.Digest.String()) || !strings.Contains(got, "event="+e.ID+" artifact=team/app:1.0") {
		t.Errorf("logged: %s", got)
	}

	// What is late comes with the next attempt.
	late := image(t, r.from, "team/app", noise(2, 100))
	content, jerr := json.Marshal(late)
	if jerr != nil {
		t.Fatal(jerr)
	}
	index.Manifests[0] = v1.Descriptor{MediaType: late.MediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	desc = putManifest(t, r.from, "team/app", "2.0", v1.MediaTypeImageIndex, index)
	e = event(notifications.ActionPush, "team/app", "2.0", desc)
	r.refused(t, e, endpoints.Early)
	putManifest(t, r.from, "team/app", "", late.MediaType, late)
	r.deliver(t, e)
	r.arrived(t, "team/app", "2.0")
	r.metrics(t, "manifests_total missing 1")
}

// What only the target has of an index is not missing there.
func TestASparseIndexOfWhatTheTargetHas(t *testing.T) {
	r := newRig(t, &registrytest.Options{Configure: sparse}, nil, nil)
	inner := putImage(t, r.to, "team/app", "", noise(1, 100))
	nested := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{inner}}
	index := nested
	index.Manifests = []v1.Descriptor{inner, putManifest(t, r.to, "team/app", "", v1.MediaTypeImageIndex, nested)}
	desc := putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageIndex, index)
	r.deliver(t, event(notifications.ActionPush, "team/app", "1.0", desc))
	if got := tagged(t, r.to, "team/app", "1.0"); got != desc.Digest {
		t.Errorf("the index is %q", got)
	}
	r.metrics(t, "manifests_total missing 0", "manifests_total copied 1")
}

func TestASparseIndexForATargetThatWantsAll(t *testing.T) {
	r := newRig(t, &registrytest.Options{Configure: sparse}, nil, nil)
	desc := putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageIndex, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("never pushed"), Size: 7}},
	})
	err := r.refused(t, ago(time.Hour, event(notifications.ActionPush, "team/app", "1.0", desc)), endpoints.Rejected)
	if !strings.Contains(err.Error(), "without the 1 manifest(s) that the source does not have") || err.Status != 400 {
		t.Error(err)
	}
	r.metrics(t, "manifests_total missing 0")
}

// An index may name more than anybody has.
func TestASparseIndexOfTooMuch(t *testing.T) {
	r := newRig(t, &registrytest.Options{Configure: sparse}, nil, nil)
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	for i := range 1001 {
		index.Manifests = append(index.Manifests, v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i)), Size: 7})
	}
	desc := putManifest(t, r.from, "team/app", "1.0", v1.MediaTypeImageIndex, index)
	err := r.refused(t, ago(time.Hour, event(notifications.ActionPush, "team/app", "1.0", desc)), endpoints.Rejected)
	if !strings.Contains(err.Error(), "more than 1000 manifests") {
		t.Error(err)
	}
	r.metrics(t, "manifests_total missing 0")
}
