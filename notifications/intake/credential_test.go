package intake_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications/intake"
)

func TestTokens(t *testing.T) {
	tests := map[string]struct {
		header    string
		tokens    []string
		anonymous bool
		want      int
	}{
		"bearer":                      {"Bearer s3cret", []string{"s3cret"}, false, 202},
		"bearer, spelled otherwise":   {"bearer  s3cret", []string{"s3cret"}, false, 202},
		"the second, while rotating":  {"Bearer new", []string{"old", "new"}, false, 202},
		"password of basic":           {"Basic " + "cmVnaXN0cnk6czNjcmV0", []string{"s3cret"}, false, 202}, // registry:s3cret
		"the whole value":             {"s3cret", []string{"s3cret"}, false, 202},
		"the whole value, two words":  {"Token s3cret", []string{"Token s3cret"}, false, 202},
		"none":                        {"", []string{"s3cret"}, false, 401},
		"wrong":                       {"Bearer s3creT", []string{"s3cret"}, false, 401},
		"a part":                      {"Bearer s3c", []string{"s3cret"}, false, 401},
		"too much":                    {"Bearer s3crets", []string{"s3cret"}, false, 401},
		"another scheme":              {"Digest s3cret", []string{"s3cret"}, false, 401},
		"user name of basic":          {"Basic " + "czNjcmV0Og==", []string{"s3cret"}, false, 401}, // s3cret:
		"nothing, and an empty token": {"Bearer ", []string{""}, false, 401},
		"no token left":               {"Bearer s3cret", nil, false, 401},
		"anonymous":                   {"", []string{"s3cret"}, true, 202},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, intake.Options{Tokens: func() ([]string, bool) { return test.tokens, test.anonymous }})
			req, err := http.NewRequest(http.MethodPost, r.url, strings.NewReader(envelope(push)))
			if err != nil {
				t.Fatal(err)
			}
			if test.header != "" {
				req.Header.Set("Authorization", test.header)
			}
			resp, got := r.do(t, req)
			if resp.StatusCode != test.want {
				t.Errorf("got %s %s, want %d", resp.Status, got, test.want)
			}
			if asked := strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer "); asked != (test.want == 401) {
				t.Errorf("asked for a token: %v", asked)
			}
			if stored := len(r.events) == 1; stored != (test.want == 202) {
				t.Errorf("stored: %v", stored)
			}
		})
	}
}

func TestSenderBehindProxies(t *testing.T) {
	tests := map[string]struct {
		trusted []netip.Prefix
		want    string
	}{
		"a trusted one":  {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "203.0.113.7"},
		"a stranger":     {[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "127.0.0.1"},
		"nobody trusted": {nil, "127.0.0.1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, intake.Options{TrustedProxies: test.trusted})
			req, err := http.NewRequest(http.MethodPost, r.url, strings.NewReader(envelope(push)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Forwarded-For", "203.0.113.7")
			r.do(t, req)
			if got := r.events[0].Provenance.Sender; got != test.want {
				t.Errorf("the sender is %s, want %s", got, test.want)
			}
		})
	}
}

func TestSenderWithCertificate(t *testing.T) {
	tests := map[string]struct {
		subject pkix.Name
		dns     []string
		want    string
	}{
		"a common name": {pkix.Name{CommonName: "registry-1"}, []string{"registry.example"}, "registry-1"},
		"a DNS name":    {pkix.Name{}, []string{"registry.example"}, "registry.example"},
		"no name":       {pkix.Name{}, nil, "127.0.0.1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			certificate, authority := selfSigned(t, test.subject, test.dns)
			s := new(store)
			server := httptest.NewUnstartedServer(intake.NewHandler(s, nil))
			server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority}
			server.StartTLS()
			defer server.Close()
			transport := server.Client().Transport.(*http.Transport)
			transport.TLSClientConfig.Certificates = []tls.Certificate{certificate}
			resp, err := server.Client().Post(server.URL+intake.Path, "", strings.NewReader(envelope(push)))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := s.events[0].Provenance.Sender; got != test.want {
				t.Errorf("the sender is %s, want %s", got, test.want)
			}
		})
	}
}

// selfSigned makes a client certificate and the pool that trusts it.
func selfSigned(t *testing.T, subject pkix.Name, dns []string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: subject, DNSNames: dns,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}
