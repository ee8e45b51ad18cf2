package endpoints_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regcast/regcast/endpoints"
)

// An authority issues certificates for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, key := a.sign(template, 24*time.Hour)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.key = key
	return a
}

// sign issues a certificate by template that ends after life.
func (a *authority) sign(template *x509.Certificate, life time.Duration) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotAfter = time.Now().Add(life).Truncate(time.Second)
	template.NotBefore = template.NotAfter.Add(-48 * time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// issue returns a certificate for name, which may be an IP address.
func (a *authority) issue(name string, life time.Duration) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name, Organization: []string{"Receivers"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, key := a.sign(template, life)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// file writes the authority's certificate.
func (a *authority) file() string {
	return writePEM(a.t, "CERTIFICATE", a.cert.Raw)
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pair writes certificate and key.
func pair(t *testing.T, c tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, "CERTIFICATE", c.Certificate[0]), writePEM(t, "PRIVATE KEY", key)
}

func receiveTLS(t *testing.T, conf *tls.Config) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = conf
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestServersThatCannotBeVerified(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		name  string
		cert  tls.Certificate
		opts  endpoints.TLSOptions
		cause any // target of errors.As
	}{
		{"unknown authority", newAuthority(t).issue("127.0.0.1", time.Hour), endpoints.TLSOptions{CAFile: ca.file()}, new(x509.UnknownAuthorityError)},
		{"system's authorities", ca.issue("127.0.0.1", time.Hour), endpoints.TLSOptions{}, new(x509.UnknownAuthorityError)},
		{"another name", ca.issue("receiver.example", time.Hour), endpoints.TLSOptions{CAFile: ca.file()}, new(x509.HostnameError)},
		{"expired", ca.issue("127.0.0.1", -time.Hour), endpoints.TLSOptions{CAFile: ca.file()}, new(x509.CertificateInvalidError)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := receiveTLS(t, &tls.Config{Certificates: []tls.Certificate{c.cert}})
			e := mustFail(t, newWebhook(t, s.URL, &endpoints.Options{TLS: c.opts}), endpoints.Untrusted, "tls")
			if !errors.As(e, c.cause) {
				t.Errorf("%v is not because of %T", e, c.cause)
			}
			leaf, err := x509.ParseCertificate(c.cert.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			if e.Certificate == nil || e.Certificate.Subject != leaf.Subject.String() || !e.Certificate.NotAfter.Equal(leaf.NotAfter) {
				t.Errorf("certificate %+v, want subject %q", e.Certificate, leaf.Subject)
			}
			if text := e.Error(); !strings.Contains(text, "O=Receivers") || !strings.Contains(text, leaf.NotAfter.UTC().Format(time.RFC3339)) {
				t.Errorf("%q does not show the certificate", text)
			}
			c.opts.InsecureSkipVerify = true
			if err := newWebhook(t, s.URL, &endpoints.Options{TLS: c.opts}).Write(context.Background(), batch); err != nil {
				t.Errorf("although it is not to be verified: %v", err)
			}
		})
	}
}

func TestTrustedServer(t *testing.T) {
	ca := newAuthority(t)
	s := receiveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue("127.0.0.1", time.Hour)}})
	w := newWebhook(t, s.URL, &endpoints.Options{TLS: endpoints.TLSOptions{CAFile: ca.file()}})
	if err := w.Write(context.Background(), batch); err != nil {
		t.Error(err)
	}
}

func TestClientCertificates(t *testing.T) {
	ca := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	s := receiveTLS(t, &tls.Config{
		Certificates: []tls.Certificate{ca.issue("127.0.0.1", time.Hour)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})
	mustFail(t, newWebhook(t, s.URL, &endpoints.Options{TLS: endpoints.TLSOptions{CAFile: ca.file()}}), endpoints.Transient, "handshake")

	cert, key := pair(t, ca.issue("regcast", time.Hour))
	w := newWebhook(t, s.URL, &endpoints.Options{TLS: endpoints.TLSOptions{CAFile: ca.file(), CertFile: cert, KeyFile: key}})
	if err := w.Write(context.Background(), batch); err != nil {
		t.Error(err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	ca := newAuthority(t)
	s := receiveTLS(t, &tls.Config{
		Certificates: []tls.Certificate{ca.issue("127.0.0.1", time.Hour)},
		MinVersion:   tls.VersionTLS10, MaxVersion: tls.VersionTLS11,
	})
	mustFail(t, newWebhook(t, s.URL, &endpoints.Options{TLS: endpoints.TLSOptions{CAFile: ca.file()}}), endpoints.Transient, "handshake")
}

func TestServersThatDoNotSpeakTLS(t *testing.T) {
	plain := receive(t, func(http.ResponseWriter, *http.Request) {})
	mustFail(t, newWebhook(t, strings.Replace(plain, "http", "https", 1), nil), endpoints.Misdirected, "handshake")
	other := listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example ESMTP\r\n") })
	mustFail(t, newWebhook(t, strings.Replace(other, "http", "https", 1), nil), endpoints.Transient, "handshake")
}

// TestTLSFilesAreReadAgain changes the authority of a running endpoint.
func TestTLSFilesAreReadAgain(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	var logged bytes.Buffer
	s := receiveTLS(t, &tls.Config{Certificates: []tls.Certificate{after.issue("127.0.0.1", time.Hour)}})
	file := before.file()
	w := newWebhook(t, s.URL, &endpoints.Options{
		TLS: endpoints.TLSOptions{CAFile: file}, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	})
	mustFail(t, w, endpoints.Untrusted, "tls")

	if err := os.WriteFile(file, []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustFail(t, w, endpoints.Untrusted, "tls")
	mustFail(t, w, endpoints.Untrusted, "tls")
	if got := strings.Count(logged.String(), "\n"); got != 1 {
		t.Errorf("%d log lines about a broken file, want 1:\n%s", got, logged.String())
	}

	fixed, err := os.ReadFile(after.file())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, fixed, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Write(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(context.Background(), batch); err != nil {
		t.Errorf("without its file, which it has read: %v", err)
	}
}
