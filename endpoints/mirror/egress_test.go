package mirror_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/endpoints/mirror"
	"github.com/regcast/regcast/notifications"
)

// Where an egress proxy alone knows the names of the world, it looks up the token server's,
// too.
func TestATokenServerBehindAnEgressProxy(t *testing.T) {
	var tokens atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Host == "auth.invalid":
			tokens.Add(1)
			_, _ = w.Write([]byte(`{"token":"t"}`))
		case req.Header.Get("Authorization") != "Bearer t":
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://auth.invalid/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(proxy.Close)
	endpoint := newEndpoint(t, "copy", &mirror.Options{
		Source:   mirror.Registry{URL: "http://source.invalid"},
		Target:   mirror.Registry{URL: "http://target.invalid"},
		Endpoint: endpoints.Options{ProxyURL: proxy.URL},
	})
	ping := notifications.NewEvent(notifications.ActionPing, notifications.Details{})
	if err := endpoint.Write(t.Context(), []*notifications.Event{ping}); err != nil {
		t.Error(err)
	}
	if n := tokens.Load(); n != 2 {
		t.Errorf("asked for %d tokens, want one for each side", n)
	}
}
