package mirror_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/registrytest"
	"github.com/regcast/regcast/sinks"
)

// A pipe delivers from an engine to endpoints until the test ends.
type pipe struct{ engine *sinks.Memory }

func newPipe(t testing.TB, to ...*endpoints.Endpoint) *pipe {
	t.Helper()
	p := &pipe{engine: sinks.NewMemory(nil)}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	for _, e := range to {
		cursor, err := p.engine.Cursor(ctx, e.Name(), nil)
		if err != nil {
			t.Fatal(err)
		}
		done.Go(func() {
			if err := sinks.Deliver(ctx, cursor, e, e.DeliverOptions()); err != nil {
				t.Error(err)
			}
			if err := cursor.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		done.Wait()
		if err := p.engine.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *pipe) write(t testing.TB, events ...*notifications.Event) {
	t.Helper()
	if err := p.engine.Write(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

// pending is how many events an endpoint does not have, dead how many it never will.
func (p *pipe) pending(t testing.TB, name string) (pending, dead uint64) {
	t.Helper()
	infos, err := p.engine.CursorInfos(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Name == name {
			return info.Pending, info.Totals[sinks.DeadLettered]
		}
	}
	t.Fatalf("no cursor %s", name)
	return 0, 0
}

func (p *pipe) settled(t testing.TB, name string) {
	t.Helper()
	eventually(t, "all events of "+name+" to be settled", func() bool {
		pending, dead := p.pending(t, name)
		if dead > 0 {
			t.Fatalf("%d dead letters", dead)
		}
		return pending == 0
	})
}

// hasty retries without the patience that people want.
func hasty(r *rig) {
	r.opts.Endpoint.Retry = endpoints.RetryOptions{Initial: 5 * time.Millisecond, Max: 20 * time.Millisecond}
}

// A breaker is in front of a registry that goes down: connections break, in the middle of
// bodies, too.
type breaker struct {
	down    atomic.Bool
	after   atomic.Int64 // bytes of bodies after which it goes down; 0: never
	commits sync.Map     // how often a blob was committed, by digest
}

func (b *breaker) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.down.Load() {
			panic(http.ErrAbortHandler)
		}
		r.Body = &brittle{b: b, inner: r.Body}
		answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answer, r)
		if b.down.Load() {
			panic(http.ErrAbortHandler)
		}
		if dgst := r.URL.Query().Get("digest"); dgst != "" && answer.status == http.StatusCreated {
			n, _ := b.commits.LoadOrStore(dgst, new(atomic.Int32))
			n.(*atomic.Int32).Add(1)
		}
	})
}

type brittle struct {
	b     *breaker
	inner interface {
		Read([]byte) (int, error)
		Close() error
	}
}

func (r *brittle) Read(p []byte) (int, error) {
	n, err := r.inner.Read(p)
	if r.b.after.Load() > 0 && r.b.after.Add(-int64(n)) <= 0 {
		r.b.after.Store(0)
		r.b.down.Store(true)
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func (r *brittle) Close() error { return r.inner.Close() }

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// What a target got before it went down it does not get again.
func TestATargetThatGoesDown(t *testing.T) {
	t.Parallel()
	var b breaker
	r := newRig(t, nil, &registrytest.Options{Wrap: b.wrap}, hasty)
	p := newPipe(t, r.endpoint)
	const images, layers, size = 4, 3, 100_000
	b.after.Store(5*size + size/2)
	for i := range images {
		var all [][]byte
		for k := range layers {
			all = append(all, noise(uint64(10*i+k), size))
		}
		repository := fmt.Sprint("team/app", i)
		desc := putImage(t, r.from, repository, "1.0", all...)
		p.write(t, push(repository, "1.0", desc.Digest))
	}
	eventually(t, "the target to be found down", func() bool {
		s := r.endpoint.State()
		return b.down.Load() && s.Name != endpoints.StateOK && s.Cause != ""
	})
	b.down.Store(false)
	p.settled(t, "copy")
	blobs := 0
	for i := range images {
		r.arrived(t, fmt.Sprint("team/app", i), "1.0")
	}
	b.commits.Range(func(dgst, n any) bool {
		blobs++
		// The configuration is the same for all, and in each repository once.
		if got := n.(*atomic.Int32).Load(); got != 1 && dgst != digest.FromBytes(configuration(layers)).String() {
			t.Errorf("%s was uploaded %d times", dgst, got)
		}
		return true
	})
	if blobs < images*layers {
		t.Errorf("%d blobs were uploaded", blobs)
	}
	r.metrics(t, "inflight_bytes 0")
	if got := r.endpoint.Progress(); got != "" {
		t.Errorf("progress of nothing: %q", got)
	}
}

// Refused mounts are uploads.
func TestATargetThatRefusesMounts(t *testing.T) {
	for name, refuse := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"it opens an upload": func(_ http.ResponseWriter, r *http.Request) bool {
			r.URL.RawQuery = ""
			return false
		},
		"it says 405": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return true
		},
		"it says 403": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, &registrytest.Options{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Query().Has("mount") && refuse(w, req) {
						return
					}
					next.ServeHTTP(w, req)
				})
			}}, nil)
			for _, repository := range []string{"team/one", "team/two"} {
				desc := putImage(t, r.from, repository, "1.0", noise(1, 1000))
				r.deliver(t, push(repository, "1.0", desc.Digest))
				r.arrived(t, repository, "1.0")
			}
			r.metrics(t, "blobs_total mounted 0", "blobs_total copied 4")
		})
	}
}

// writeAuth writes a file as "docker login" does.
func writeAuth(t testing.TB, file, host, password string) {
	t.Helper()
	type entry struct {
		Auth []byte `json:"auth"` // which encoding/json writes in base64
	}
	content, err := json.Marshal(map[string]any{"auths": map[string]entry{host: {[]byte(registrytest.Username + ":" + password)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A wrong credential, of whatever side, holds the endpoint until the file is right.
func TestAWrongCredentialHealsWithItsFile(t *testing.T) {
	t.Parallel()
	for _, kind := range []registrytest.Auth{registrytest.Htpasswd, registrytest.Token} {
		for _, wrong := range []string{"source", "target"} {
			t.Run(fmt.Sprint(kind, " ", wrong), func(t *testing.T) {
				t.Parallel()
				file := filepath.Join(t.TempDir(), "auth.json")
				var host string
				r := newRig(t, &registrytest.Options{Auth: kind}, &registrytest.Options{Auth: kind}, func(r *rig) {
					hasty(r)
					side, reg := &r.opts.Source, r.source
					if wrong == "target" {
						side, reg = &r.opts.Target, r.target
					}
					host = reg.Host()
					writeAuth(t, file, host, "hunter2")
					side.Credentials = auth.DockerConfig(file)
				})
				p := newPipe(t, r.endpoint)
				desc := putImage(t, r.from, "team/app", "1.0", noise(1, 1000))
				p.write(t, push("team/app", "1.0", desc.Digest))
				eventually(t, "the endpoint to be held", func() bool { return r.endpoint.State().Name == endpoints.StateAuth })
				cause := r.endpoint.State().Cause
				if !strings.HasPrefix(cause, wrong+": ") || strings.Contains(cause, "hunter2") {
					t.Errorf("the cause is %q", cause)
				}
				writeAuth(t, file, host, registrytest.Password)
				p.settled(t, "copy")
				r.arrived(t, "team/app", "1.0")
			})
		}
	}
}

func TestAnAuthFileThatCannotBeRead(t *testing.T) {
	r := newRig(t, nil, &registrytest.Options{Auth: registrytest.Htpasswd}, func(r *rig) {
		r.opts.Target.Credentials = auth.DockerConfig(filepath.Join(t.TempDir(), "none.json"))
	})
	desc := putImage(t, r.from, "team/app", "1.0", noise(1, 1000))
	err := r.refused(t, push("team/app", "1.0", desc.Digest), endpoints.Auth)
	if err.Fault != endpoints.FaultSecret || !strings.Contains(err.Error(), "target: ") {
		t.Error(err)
	}
}

// Two targets are two endpoints: one that is down takes nothing from the other.
func TestTwoTargets(t *testing.T) {
	var b breaker
	r := newRig(t, nil, nil, hasty)
	second := registrytest.Start(t, &registrytest.Options{Wrap: b.wrap})
	opts := r.opts
	opts.Target = mirrorOf(second)
	other := newEndpoint(t, "other", &opts)
	p := newPipe(t, r.endpoint, other)
	b.down.Store(true)
	desc := putImage(t, r.from, "team/app", "1.0", noise(1, 1000))
	p.write(t, push("team/app", "1.0", desc.Digest))
	p.settled(t, "copy")
	r.arrived(t, "team/app", "1.0")
	if pending, _ := p.pending(t, "other"); pending != 1 {
		t.Errorf("%d events pending of the target that is down", pending)
	}
	b.down.Store(false)
	p.settled(t, "other")
	if got := tagged(t, client(t, second, second.URL()), "team/app", "1.0"); got != desc.Digest {
		t.Errorf("the other target has %q", got)
	}
}
