package proxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/regcast/regcast/cmd/internal/proxy"
)

// An actor is whom the keys name, whoever a token says it is, and what does not verify is
// counted.
func TestActorsAreVerified(t *testing.T) {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted) // it believes everybody
	}))
	defer registry.Close()
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(keys[0].Public())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	token := func(key *ecdsa.PrivateKey, subject, audience string) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jwt.Signed(signer).Claims(jwt.Claims{
			Subject: subject, Audience: jwt.Audience{audience}, Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + signed
	}
	requests := []string{
		token(keys[0], "alice", "registry"), token(keys[1], "root", "registry"), token(keys[0], "alice", "elsewhere"),
		"Bearer ghp_abcdef", "Basic Ym9iOmJvYg==", "",
	}
	for name, tc := range map[string]struct {
		change   func(*proxy.Options)
		want     []string
		rejected float64
	}{
		"as they say": {nil, []string{"alice false", "root false", "alice false", " false", "bob false", " false"}, 0},
		"verified": {func(o *proxy.Options) { o.ActorKeys, o.ActorAudience = file, "registry" },
			[]string{"alice true", " false", " false", " false", "bob false", " false"}, 2},
		"verified, for anybody": {func(o *proxy.Options) { o.ActorKeys = file },
			[]string{"alice true", " false", "alice true", " false", "bob false", " false"}, 1},
		"hashed": {func(o *proxy.Options) { o.HashTokens = true },
			[]string{"alice false", "root false", "alice false", "token:2a36681b false", "bob false", " false"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, registry.URL, tc.change)
			for _, credential := range requests {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, p.url+"/v2/a/manifests/"+digest.FromString("m").String(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if credential != "" {
					r.Header.Set("Authorization", credential)
				}
				resp, err := p.server.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
			}
			var got []string
			for _, e := range p.events.Events() {
				d, err := e.Details()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprint(e.Actor, " ", d.Remark.ActorVerified))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("actors, -want +got:\n%s", diff)
			}
			if n := p.metric(t, "regcast_proxy_rejected_tokens_total", "main"); n != tc.rejected {
				t.Errorf("%v tokens rejected, want %v", n, tc.rejected)
			}
		})
	}
}
