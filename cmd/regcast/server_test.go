package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/regcast/regcast/cmd/internal/client"
)

func TestAskAdvises(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()

	for name, c := range map[string]struct{ admin, want string }{
		"a certificate that nobody knows": {secure.URL, "; SSL_CERT_FILE names the certificates to trust"},
		"something else that listens":     {other.URL, "is it the admin address?"},
		"not a port":                      {"http://127.0.0.1:x", "the admin URL is"},
	} {
		s := server{admin: c.admin}
		err := s.ask(t.Context(), func(c *client.Client) error {
			_, err := c.Endpoints(t.Context())
			return err
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestAskInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := (&server{}).ask(ctx, func(*client.Client) error {
		cancel()
		return errors.New("dial tcp: operation was canceled")
	})
	if err == nil || err.Error() != "interrupted" {
		t.Errorf("got %v", err)
	}
}
