package endpoints_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regcast/regcast/endpoints"
)

// An egressProxy tunnels CONNECT requests of those who know the password.
type egressProxy struct {
	status  atomic.Int64 // answer to all others; 0 to serve everybody
	tunnels atomic.Int64
}

func (p *egressProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s := p.status.Load(); s != 0 {
		w.WriteHeader(int(s))
		return
	}
	if r.Method != http.MethodConnect {
		p.tunnels.Add(1)
		w.WriteHeader(http.StatusAccepted) // as the receiver would
		return
	}
	far, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer far.Close()
	p.tunnels.Add(1)
	w.WriteHeader(http.StatusOK)
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(far, buffered) // the server may have read ahead of us
		far.Close()
	}()
	_, _ = io.Copy(near, far)
	near.Close()
	<-done
}

func TestEgressProxy(t *testing.T) {
	p := new(egressProxy)
	front := httptest.NewServer(p)
	defer front.Close()
	ca := newAuthority(t)
	s := receiveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue("127.0.0.1", time.Hour)}})
	through := func(url string) *endpoints.Webhook {
		return newWebhook(t, url, &endpoints.Options{
			ProxyURL: strings.Replace(front.URL, "http://", "http://bob:hidden-token@", 1),
			TLS:      endpoints.TLSOptions{CAFile: ca.file()},
		})
	}
	for n, url := range []string{s.URL, "http://receiver.invalid/hook"} {
		w := through(url)
		if err := w.Write(context.Background(), batch); err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		if got := p.tunnels.Load(); got != int64(n+1) {
			t.Errorf("%s: went through the proxy %d times, want %d", url, got, n+1)
		}
		if err := w.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}

	p.status.Store(http.StatusProxyAuthRequired)
	mustNotLeak(t, mustFail(t, through(s.URL), endpoints.Auth, "proxy"), "hidden-token")
	mustFail(t, through("http://receiver.invalid/hook"), endpoints.Auth, "407")
	p.status.Store(http.StatusServiceUnavailable)
	mustFail(t, through(s.URL), endpoints.Transient, "proxy")
	front.Close()
	mustNotLeak(t, mustFail(t, through(s.URL), endpoints.Transient, "proxy"), "hidden-token")
	mustFail(t, through("http://receiver.invalid/hook"), endpoints.Transient, "proxy")
}
