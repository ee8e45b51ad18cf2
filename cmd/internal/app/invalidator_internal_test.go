package app

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcast/regcast/notifications"
)

// A recorder is a cache that has functions told.
type recorder struct {
	invalidate func(context.Context, string)
	repay      func()
}

func (r recorder) Invalidate(ctx context.Context, repository string) { r.invalidate(ctx, repository) }

func (r recorder) InvalidateAll(ctx context.Context) { r.invalidate(ctx, "everything") }

func (r recorder) Repay(context.Context) {
	if r.repay != nil {
		r.repay()
	}
}

// Whoever tells an invalidator never waits: while the cache is slow a repository is
// remembered once, and everything is forgotten when there are too many.
func TestInvalidator(t *testing.T) {
	push := func(repository string) []*notifications.Event {
		return []*notifications.Event{{Action: notifications.ActionPush, Repository: repository}}
	}
	for what, c := range map[string]struct {
		hear func(*invalidator)
		want []string
	}{
		"one of many events": {func(v *invalidator) {
			for range 3 * maxUntold {
				v.hear(push("a"))
			}
			v.hear(push("b"))
		}, []string{"first", "a", "b"}},
		"pulls": {func(v *invalidator) {
			v.hear([]*notifications.Event{{Action: notifications.ActionPull, Repository: "a"}})
		}, []string{"first"}},
		"what nobody knows": {func(v *invalidator) {
			v.hear([]*notifications.Event{{Action: "quarantine", Repository: "a"}})
		}, []string{"first", "a"}},
		"a ping": {func(v *invalidator) {
			v.hear([]*notifications.Event{notifications.NewEvent(notifications.ActionPing, notifications.Details{})})
			v.hear([]*notifications.Event{{Action: notifications.ActionPing, Repository: "a"}})
		}, []string{"first"}},
		"no repository": {func(v *invalidator) { v.hear(push("")) }, []string{"first"}},
		"blobs that come": {func(v *invalidator) {
			v.hear([]*notifications.Event{
				{Action: notifications.ActionPush, Repository: "a", Digest: "sha256:1", MediaType: "application/octet-stream"},
				{Action: notifications.ActionMount, Repository: "b", Digest: "sha256:1"},
			})
		}, []string{"first"}},
		"what may be a blob": {func(v *invalidator) {
			v.hear([]*notifications.Event{
				{Action: notifications.ActionPush, Repository: "a", Digest: "sha256:1"},
				{Action: notifications.ActionDelete, Repository: "b", Digest: "sha256:1"},
				{Action: notifications.ActionPush, Repository: "c", Digest: "sha256:1", MediaType: "application/vnd.oci.image.manifest.v1+json"},
			})
		}, []string{"first", "a", "b", "c"}},
		"too many": {func(v *invalidator) {
			for i := range 3 * maxUntold {
				v.hear(push(fmt.Sprint(i)))
			}
		}, []string{"first", "everything"}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				slow := make(chan struct{})
				v := startInvalidator("main", recorder{invalidate: func(_ context.Context, repository string) {
					told = append(told, repository)
					<-slow
				}}, prometheus.NewPedanticRegistry())
				v.hear(push("first"))
				synctest.Wait()
				c.hear(v)
				close(slow)
				v.stop(t.Context())
				v.hear(push("later"))
				v.stop(t.Context())
				slices.Sort(told[1:])
				if !slices.Equal(told, c.want) {
					t.Errorf("the cache has forgotten %q, want %q", told, c.want)
				}
			})
		})
	}
}

// A cache that does not answer keeps nobody from stopping.
func TestInvalidatorStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		v := startInvalidator("main", recorder{invalidate: func(ctx context.Context, _ string) {
			told++
			<-ctx.Done()
		}}, prometheus.NewPedanticRegistry())
		for i := range 100 {
			v.hear([]*notifications.Event{{Action: notifications.ActionPush, Repository: fmt.Sprint(i)}})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		v.stop(ctx)
		if told != 1 {
			t.Errorf("%d repositories were told of after the end, want none", told-1)
		}
	})
}

// A cache makes up for what its store could not be told of although nobody asks anything.
func TestInvalidatorRepays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repaid := 0
		v := startInvalidator("main", recorder{repay: func() { repaid++ }}, prometheus.NewPedanticRegistry())
		time.Sleep(10*time.Second + time.Millisecond)
		v.stop(t.Context())
		if repaid != 10 {
			t.Errorf("it was asked %d times in 10 s", repaid)
		}
	})
}
