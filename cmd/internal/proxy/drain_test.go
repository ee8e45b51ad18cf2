package proxy_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/regcast/regcast/cmd/internal/proxy"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// A gated sink takes nothing until it is open.
type gated struct {
	notificationstest.Recorder
	open chan struct{}
}

func (g *gated) Write(ctx context.Context, batch []*notifications.Event) error {
	select {
	case <-g.open:
		return g.Recorder.Write(ctx, batch)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A change that takes all of the time to drain leaves the events of others theirs.
func TestDrain(t *testing.T) {
	arrived := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/v2/team/app/manifests/quick" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		close(arrived)
		<-r.Context().Done()
	}))
	defer upstream.Close()
	u, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	sink := &gated{open: make(chan struct{})}
	p, err := proxy.New(sink, &proxy.Options{Name: "main", Upstream: u})
	if err != nil {
		t.Fatal(err)
	}
	remove := func(tag string) int {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest("DELETE", "/v2/team/app/manifests/"+tag, nil))
		return w.Code
	}
	if got := remove("quick"); got != http.StatusAccepted {
		t.Fatalf("answered %d", got)
	}
	cut := make(chan int)
	go func() { cut <- remove("never") }()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Drain(ctx)
	if got := <-cut; got != http.StatusServiceUnavailable {
		t.Errorf("what is cut is answered %d", got)
	}
	if got := remove("quick"); got != http.StatusServiceUnavailable {
		t.Errorf("what comes later is answered %d", got)
	}
	close(sink.open)
	if err := p.Shutdown(t.Context()); err != nil || sink.Len() != 1 {
		t.Errorf("%d events are stored, want 1: %v", sink.Len(), err)
	}
}
