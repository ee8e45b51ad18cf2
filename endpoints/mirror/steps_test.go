package mirror_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/iotest"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// A stepper does something to one request of all that a copy makes.
type stepper struct {
	at, seen atomic.Int32 // counted from 1
	giveUp   atomic.Pointer[context.CancelFunc]
	spoil    func(s *stepper, next http.Handler, w http.ResponseWriter, r *http.Request)
}

func (s *stepper) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if at := s.at.Load(); at > 0 && s.seen.Add(1) == at {
			s.spoil(s, next, w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Whatever request a copy of an index fails by, on either side, once, the next attempt is
// complete, no tag is there before, and nothing is left under way.
func TestEveryStepFailsOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("some 125 copies")
	}
	for name, spoil := range map[string]func(s *stepper, next http.Handler, w http.ResponseWriter, r *http.Request){
		"429": func(_ *stepper, _ http.Handler, w http.ResponseWriter, r *http.Request) {
			says(http.StatusTooManyRequests, "TOOMANYREQUESTS", "Retry-After", "60")(w, r)
		},
		"507": func(_ *stepper, _ http.Handler, w http.ResponseWriter, r *http.Request) {
			says(http.StatusInsufficientStorage, "UNKNOWN", "Retry-After", "60")(w, r)
		},
		"an answer that breaks off": func(_ *stepper, next http.Handler, w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(nil, r.Body, 500)
			next.ServeHTTP(w, r)
			panic(http.ErrAbortHandler)
		},
		"half a body": func(_ *stepper, next http.Handler, w http.ResponseWriter, r *http.Request) {
			r.Body = readCloser{iotest.TimeoutReader(r.Body)}
			next.ServeHTTP(w, r)
		},
		"the caller gives up": func(s *stepper, next http.Handler, w http.ResponseWriter, r *http.Request) {
			(*s.giveUp.Load())()
			next.ServeHTTP(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &stepper{spoil: spoil}
			r := newRig(t, &registrytest.Options{Wrap: s.wrap}, &registrytest.Options{Wrap: s.wrap}, nil)
			for step := int32(1); ; step++ {
				repository := "team/app" + string(rune('a'+step/26)) + string(rune('a'+step%26))
				desc := twoPlatforms(t, r, repository, int(step))
				e := event(notifications.ActionPush, repository, "1.0", desc)
				ctx, cancel := context.WithCancel(t.Context())
				s.giveUp.Store(&cancel)
				s.seen.Store(0)
				s.at.Store(step)
				err := r.endpoint.Write(ctx, []*notifications.Event{e})
				s.at.Store(0)
				cancel()
				if err != nil {
					if tagged(t, r.to, repository, "1.0") != "" && name != "an answer that breaks off" && name != "the caller gives up" {
						t.Errorf("step %d: a tag although %v", step, err)
					}
					if failed, ok := err.(*endpoints.DeliveryError); !ok || failed.Class == endpoints.Rejected || failed.Class == endpoints.Misdirected || failed.Class == endpoints.Auth {
						t.Errorf("step %d: %v", step, err)
					}
					r.deliver(t, e)
				}
				r.arrived(t, repository, "1.0")
				r.metrics(t, "inflight_bytes 0")
				if s.seen.Load() < step {
					t.Logf("%d steps", step-1)
					break
				}
			}
		})
	}
}

type readCloser struct {
	r interface{ Read([]byte) (int, error) }
}

func (c readCloser) Read(p []byte) (int, error) { return c.r.Read(p) }
func (c readCloser) Close() error               { return nil }

// twoPlatforms stores an index of two images under 1.0.
func twoPlatforms(t *testing.T, r *rig, repository string, seed int) v1.Descriptor {
	t.Helper()
	var index v1.Index
	index.SchemaVersion, index.MediaType = 2, v1.MediaTypeImageIndex
	for i := range 2 {
		index.Manifests = append(index.Manifests, putImage(t, r.from, repository, "", noise(uint64(2*seed+i+1000), 1000)))
	}
	return putManifest(t, r.from, repository, "1.0", v1.MediaTypeImageIndex, index)
}
