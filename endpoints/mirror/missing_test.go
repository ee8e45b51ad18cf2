package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

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
