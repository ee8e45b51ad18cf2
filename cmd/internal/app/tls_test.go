package app_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
)

// newPair writes a certificate for 127.0.0.1, signed by itself, and its key, and returns
// both.
func newPair(t *testing.T, certFile, keyFile string, serial int64) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if err := errors.Join(os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, keyPEM, 0o600)); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// postTLS posts an event over TLS as a client that has certs, and returns the serial
// number of the server's certificate.
func postTLS(t *testing.T, a *app.App, n int, certs ...tls.Certificate) (serial int64, err error) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		Certificates:       certs,
		InsecureSkipVerify: true, // the test looks at the certificate itself
	}}
	client := &http.Client{Transport: transport, Timeout: patience}
	body := notifications.AppendEnvelope(nil, notificationstest.Pushes(n, 1, "team/a"))
	resp, err := client.Post("https://"+a.IntakeAddr()+"/events", notifications.MediaTypeV2, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return 0, fmt.Errorf("answered %s", resp.Status)
	}
	return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), nil
}

const intakeTLS = "[intake]\nlisten = \"127.0.0.1:0\"\n" +
	"tls = { cert_file = \"cert.pem\", key_file = \"key.pem\", client_ca_file = \"clients.pem\" }\n"

func TestIntakeTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	newPair(t, cert, key, 1)
	client := newPair(t, filepath.Join(dir, "clients.pem"), filepath.Join(dir, "client-key.pem"), 2)
	stranger := newPair(t, filepath.Join(dir, "stranger.pem"), filepath.Join(dir, "stranger-key.pem"), 3)
	a := startApp(t, load(t, dir, intakeTLS))

	if serial, err := postTLS(t, a, 1, client); err != nil || serial != 1 {
		t.Errorf("a client with a certificate: %v, certificate %d, want 1", err, serial)
	}
	if _, err := postTLS(t, a, 2); err == nil {
		t.Error("a client without a certificate was let in")
	}
	if _, err := postTLS(t, a, 3, stranger); err == nil {
		t.Error("a client with a certificate of somebody else was let in")
	}
	newPair(t, cert, key, 4)
	if serial, err := postTLS(t, a, 5, client); err != nil || serial != 4 {
		t.Errorf("after the certificate was renewed: %v, certificate %d, want 4", err, serial)
	}
}

func TestCertificatesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	cert, key, clients := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "clients.pem")
	newPair(t, cert, key, 1)
	if err := os.WriteFile(clients, []byte("no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := load(t, dir, intakeTLS)
	check := func(what string) {
		t.Helper()
		if _, err := app.Start(t.Context(), cfg, app.Options{}); err == nil {
			t.Errorf("%s: serving", what)
		}
		problems := app.Check(cfg)
		if len(problems) != 1 || problems[0].Path != "intake.tls" {
			t.Errorf("%s: problems %v, want one with intake.tls", what, problems)
		}
		_, err := app.Load(filepath.Join(dir, "regcast.toml"))
		if _, ok := errors.AsType[config.Problems](err); !ok {
			t.Errorf("%s: Load = %v, want problems", what, err)
		}
	}
	check("no authority")
	newPair(t, clients, filepath.Join(dir, "client-key.pem"), 2)
	newPair(t, cert, filepath.Join(dir, "other.pem"), 3)
	check("another's key")
}
