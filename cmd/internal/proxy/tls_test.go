package proxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/proxy"
)

func mustParse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// An authority signs certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	a.file = write(t, "CERTIFICATE", der)
	return a
}

// issue returns files of a certificate and its key, for 127.0.0.1.
func (a *authority) issue(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "CERTIFICATE", der), write(t, "PRIVATE KEY", private)
}

func write(t *testing.T, kind string, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func (a *authority) pair(t *testing.T, name string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.issue(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// A registry with TLS that wants a client certificate, and a proxy with TLS before it,
// in each version of HTTP on each side.
func TestTLSOnBothSides(t *testing.T) {
	a := newAuthority(t)
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("Location", "http://"+r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()+"/v2/x")
		fmt.Fprintf(w, "%s by %s: %d %v; %s; trailer %s", r.Proto, r.TLS.PeerCertificates[0].Subject.CommonName, n, err, r.Header.Get("X-Forwarded-Proto"), r.Trailer.Get("X-Ask"))
		w.(http.Flusher).Flush() // or HTTP/2 tells the length, with which HTTP/1.1 has no trailers
		w.Header().Set("X-Sum", "17")
	}))
	upstream.EnableHTTP2 = true
	upstream.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	upstream.TLS = &tls.Config{Certificates: []tls.Certificate{a.pair(t, "registry")}, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert}
	upstream.StartTLS()
	defer upstream.Close()
	certFile, keyFile := a.issue(t, "proxy")

	for _, test := range []struct{ front, behind bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		t.Run(fmt.Sprintf("HTTP 2 in front %v, behind %v", test.front, test.behind), func(t *testing.T) {
			r := newRig(t, upstream.URL, func(o *proxy.Options) {
				o.TLS, o.HTTP2 = proxy.UpstreamTLS{CAFile: a.file, CertFile: certFile, KeyFile: keyFile}, test.behind
			})
			r.server.EnableHTTP2 = test.front
			r.server.TLS = &tls.Config{Certificates: []tls.Certificate{a.pair(t, "proxy")}}
			r.server.StartTLS()
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool}, ForceAttemptHTTP2: test.front}
			defer tr.CloseIdleConnections()
			req, _ := http.NewRequest("POST", r.server.URL+"/v2/team/app/blobs/uploads/", io.LimitReader(rand.Reader, 1<<20))
			req.Trailer = http.Header{"X-Ask": {"42"}}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			proto := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}
			if want := proto[test.behind] + " by proxy: 1048576 <nil>; https; trailer 42"; err != nil || string(body) != want {
				t.Errorf("got %s %q %v, want %q", resp.Status, body, err, want)
			}
			if resp.Proto != proto[test.front] {
				t.Errorf("the client speaks %s", resp.Proto)
			}
			if got := resp.Trailer.Get("X-Sum"); got != "17" {
				t.Errorf("trailers %v", resp.Trailer)
			}
			if want := r.server.URL + "/v2/x"; resp.Header.Get("Location") != want {
				t.Errorf("Location is %q, want %q", resp.Header.Get("Location"), want)
			}
		})
	}
	t.Run("no client certificate", func(t *testing.T) {
		r := start(t, upstream.URL, func(o *proxy.Options) { o.TLS.CAFile = a.file })
		if resp, body := do(t, client(t), "GET", r.url+"/v2/", nil); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%s %s", resp.Status, body)
		}
		// The registry's alert may come after it has closed the connection.
		if n := r.metric(t, "regcast_proxy_upstream_errors_total", "tls") + r.metric(t, "regcast_proxy_upstream_errors_total", "protocol"); n != 1 {
			t.Errorf("counted %v", n)
		}
	})
}

func TestOptionsOfNoUse(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	empty := write(t, "NOTHING", nil)
	for name, test := range map[string]struct {
		opts proxy.Options
		want string
	}{
		"no name":         {proxy.Options{Upstream: mustParse(t, "http://r")}, "Name: "},
		"no upstream":     {proxy.Options{Name: "p"}, "Upstream: it is missing"},
		"no host":         {proxy.Options{Name: "p", Upstream: mustParse(t, "http:///x")}, "Upstream: it is missing"},
		"scheme":          {proxy.Options{Name: "p", Upstream: mustParse(t, "ftp://r")}, "Upstream: the scheme"},
		"user":            {proxy.Options{Name: "p", Upstream: mustParse(t, "http://u@r")}, "Upstream: it has a user"},
		"public url":      {proxy.Options{Name: "p", Upstream: mustParse(t, "http://r"), PublicURL: mustParse(t, "/x")}, "PublicURL: "},
		"vendor":          {proxy.Options{Name: "p", Upstream: mustParse(t, "http://r"), Extra: []string{"gitlab", "quay"}}, `Extra: no routes of "quay"`},
		"files for plain": {proxy.Options{Name: "p", Upstream: mustParse(t, "http://r"), TLS: proxy.UpstreamTLS{CAFile: empty}}, "TLS: "},
		"no authorities":  {proxy.Options{Name: "p", Upstream: mustParse(t, "https://r"), TLS: proxy.UpstreamTLS{CAFile: none}}, "TLS.CAFile: "},
		"no certificate":  {proxy.Options{Name: "p", Upstream: mustParse(t, "https://r"), TLS: proxy.UpstreamTLS{CAFile: empty}}, "TLS.CAFile: no certificate in"},
		"no key":          {proxy.Options{Name: "p", Upstream: mustParse(t, "https://r"), TLS: proxy.UpstreamTLS{CertFile: empty, KeyFile: none}}, "TLS.CertFile: reading " + empty},
	} {
		_, err := proxy.New(nil, &test.opts)
		if bad, ok := errors.AsType[*proxy.OptionError](err); !ok || !strings.HasPrefix(bad.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
