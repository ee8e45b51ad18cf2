package mirror_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry/registrytest"
	"github.com/regcast/regcast/sinks"
)

// A replica is a source that is behind: who asks for a tag gets what it was before.
type replica struct {
	tag    string
	behind atomic.Pointer[digest.Digest] // what it was; nil once it has caught up
	asked  atomic.Int32
}

func (p *replica) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if dgst := p.behind.Load(); dgst != nil && strings.HasSuffix(r.URL.Path, "/manifests/"+p.tag) && r.Method != http.MethodPut {
			p.asked.Add(1)
			r.URL.Path = strings.TrimSuffix(r.URL.Path, p.tag) + dgst.String()
		}
		next.ServeHTTP(w, r)
	})
}

func (p *replica) shows(dgst digest.Digest) { p.behind.Store(&dgst) }

// The copy of an event is not lost because a replica still shows what the tag was before,
// and the events behind it do not wait.
func TestAReplicaThatIsBehind(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} { // whether the target has what the tag was
		p := &replica{tag: "latest"}
		r := newRig(t, &registrytest.Options{Wrap: p.wrap}, nil, hasty)
		pipe := newPipe(t, r.endpoint)
		older := putImage(t, r.from, "team/app", "latest", noise(1, 100))
		want := digest.Digest("")
		if known {
			pipe.write(t, push("team/app", "latest", older.Digest))
			pipe.settled(t, "copy")
			want = older.Digest
		}
		newer := putImage(t, r.from, "team/app", "latest", noise(2, 100))
		p.shows(older.Digest)
		pipe.write(t, push("team/app", "latest", newer.Digest))
		eventually(t, "the replica to be asked", func() bool { return p.asked.Load() > 5 })
		other := putImage(t, r.from, "team/app", "other", noise(3, 100))
		pipe.write(t, push("team/app", "other", other.Digest))
		eventually(t, "the event behind", func() bool { return tagged(t, r.to, "team/app", "other") == other.Digest })
		if got := tagged(t, r.to, "team/app", "latest"); got != want {
			t.Errorf("the tag is %q, want %q", got, want)
		}
		if state := r.endpoint.State(); state.Name != endpoints.StateOK {
			t.Errorf("the endpoint is %s: %s", state.Name, state.Cause)
		}
		p.behind.Store(nil)
		pipe.settled(t, "copy")
		r.arrived(t, "team/app", "latest")
		r.metrics(t, "superseded_total 0")
	}
}

// Who pushes a tag twice in a row has both events settled: the later at once, the earlier
// when no replica can be behind any more. The tag does not move backwards meanwhile.
func TestTwoPushesInARow(t *testing.T) {
	r := newRig(t, nil, nil, hasty)
	pipe := newPipe(t, r.endpoint)
	older := putImage(t, r.from, "team/app", "latest", noise(1, 100))
	newer := putImage(t, r.from, "team/app", "latest", noise(2, 100))
	first, second := push("team/app", "latest", older.Digest), push("team/app", "latest", newer.Digest)
	pipe.write(t, first, second)
	eventually(t, "the later one", func() bool { return tagged(t, r.to, "team/app", "latest") == newer.Digest })
	eventually(t, "the later one to be settled, and it alone", func() bool {
		pending, dead := pipe.pending(t, "copy")
		return pending == 1 && dead == 0
	})
	late := sinks.WithAttempt(t.Context(), sinks.Attempt{Stored: time.Now().Add(-6 * time.Minute)})
	if err := r.endpoint.Write(late, []*notifications.Event{first}); err != nil {
		t.Error(err)
	}
	r.metrics(t, "superseded_total moved 1")
	r.arrived(t, "team/app", "latest")
}

// A delete is not lost because a replica still shows what was deleted, either.
func TestAReplicaThatHasNotDeletedYet(t *testing.T) {
	p := &replica{tag: "1.0"}
	r := newRig(t, &registrytest.Options{Wrap: p.wrap}, nil, func(r *rig) { r.opts.PropagateDeletes = true })
	putImage(t, r.from, "team/app", "1.0", noise(1, 100))
	desc := putImage(t, r.from, "team/app", "kept", noise(1, 100))
	r.deliver(t, push("team/app", "1.0", desc.Digest))
	if err := r.from.Untag(t.Context(), "team/app", "1.0"); err != nil {
		t.Fatal(err)
	}
	p.shows(desc.Digest)
	e := deletion("team/app", "1.0", "")
	failed := r.refused(t, e, endpoints.Early)
	if !strings.HasSuffix(failed.Error(), "source: 1.0 in repository team/app is there, still or again") {
		t.Error(failed)
	}
	r.arrivedAs(t, "1.0", desc.Digest)
	p.behind.Store(nil)
	r.deliver(t, e)
	r.arrivedAs(t, "1.0", "")
}

// arrivedAs checks what the target has under a tag of team/app.
func (r *rig) arrivedAs(t testing.TB, tag string, want digest.Digest) {
	t.Helper()
	if got := tagged(t, r.to, "team/app", tag); got != want {
		t.Errorf("%s is %q, want %q", tag, got, want)
	}
}
