package auth_test

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
	"github.com/regcast/regcast/notifications/registry/internal/fixtures"
	"github.com/regcast/regcast/notifications/registry/registrytest"
)

// Below a reverse proxy a transport gives the registry our credential in place of the
// client's, for streamed bodies, too, and leaves the requests as they are.
func TestBelowAReverseProxy(t *testing.T) {
	for _, kind := range fixtures.EveryAuth() {
		t.Run(fixtures.AuthName(kind), func(t *testing.T) {
			r := registrytest.Start(t, &registrytest.Options{Auth: kind})
			upstream, err := url.Parse(r.URL())
			if err != nil {
				t.Fatal(err)
			}
			transport := auth.NewTransport(nil, &auth.Options{Credentials: fixtures.Alice(r)})
			t.Cleanup(transport.CloseIdleConnections)
			front := httptest.NewServer(&httputil.ReverseProxy{
				Rewrite: func(pr *httputil.ProxyRequest) {
					pr.SetURL(upstream)
					pr.SetXForwarded()
					pr.Out.Host = pr.In.Host
					pr.Out.Header.Del("Authorization")
				},
				Transport: unchanged{t, transport},
			})
			t.Cleanup(front.Close)
			c, err := registry.NewClient(front.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			desc, _ := fixtures.Image(t, c, "team/app", "v1")
			if got, err := c.Resolve(t.Context(), "team/app", "v1"); err != nil || got.Digest != desc.Digest {
				t.Errorf("%v, %v", got, err)
			}
			blob, b := fixtures.Content(t, 3<<20)
			if err := c.PutBlob(t.Context(), "team/app", blob, io.MultiReader(bytes.NewReader(b))); err != nil {
				t.Errorf("a stream: %v", err)
			}
			if err := c.PutBlobChunks(t.Context(), "team/other", blob, bytes.NewReader(b)); err != nil {
				t.Errorf("chunks: %v", err)
			}
			reader, err := c.OpenBlob(t.Context(), "team/other", blob)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// unchanged fails a test whose transport changes a request, which RoundTripper forbids.
type unchanged struct {
	t    *testing.T
	next http.RoundTripper
}

func (u unchanged) RoundTrip(req *http.Request) (*http.Response, error) {
	header, body, target := maps.Clone(req.Header), req.Body, req.URL.String()
	resp, err := u.next.RoundTrip(req)
	if !maps.EqualFunc(header, req.Header, func(a, b []string) bool { return len(a) == len(b) }) || req.Body != body || req.URL.String() != target {
		u.t.Errorf("the request was changed: %v", req)
	}
	return resp, err
}

// A client's own Authorization goes through as it is.
func TestAuthorizationOfTheCaller(t *testing.T) {
	r := registrytest.Start(t, &registrytest.Options{Auth: registrytest.Htpasswd})
	transport := auth.NewTransport(nil, &auth.Options{Credentials: fixtures.Alice(r)})
	t.Cleanup(transport.CloseIdleConnections)
	for user, want := range map[string]int{"": 200, "mallory": 401} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL()+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.SetBasicAuth(user, "x")
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", user, resp.StatusCode, want)
		}
	}
}
