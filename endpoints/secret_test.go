package endpoints_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/sinks"
)

// mustNotLeak checks that an error, all that it wraps and what is read from it show none
// of the secrets.
func mustNotLeak(t *testing.T, err error, secrets ...string) {
	t.Helper()
	shown := describe(err)
	for _, secret := range secrets {
		if strings.Contains(shown, secret) {
			t.Errorf("%q is shown in\n%s", secret, shown)
		}
	}
}

func describe(err error) string {
	var b strings.Builder
	for ; err != nil; err = errors.Unwrap(err) {
		fmt.Fprintf(&b, "%v\n%+v\n%#v\n", err, err, err)
		var e *endpoints.DeliveryError
		if errors.As(err, &e) {
			fmt.Fprintf(&b, "%s\n%s\n%s\n", e.Excerpt, e.URL, e.Location)
		}
	}
	return b.String()
}

// TestSecretsAreNeverShown sends secrets wherever an endpoint has them to receivers that
// send them back in every way.
func TestSecretsAreNeverShown(t *testing.T) {
	const (
		path, query, user = "/hidden-path", "key=hidden-query", "bob:hidden-password"
		token, header     = "Bearer hidden-token", "hidden-header"
	)
	secrets := []string{"hidden-path", "hidden-query", "hidden-password", "hidden-token", "hidden-header",
		"Ym9iOmhpZGRlbi1wYXNzd29yZA"} // base64 of the user information
	echo := func(status int) string {
		return receive(t, func(w http.ResponseWriter, r *http.Request) {
			dump, _ := httputil.DumpRequest(r, false)
			w.Header().Set("Location", r.URL.String())
			w.WriteHeader(status)
			_, _ = w.Write(dump)
		})
	}
	raw := func(prefix string) string {
		return listen(t, func(c net.Conn) {
			buf := make([]byte, 64<<10)
			n, _ := c.Read(buf)
			_, _ = io.WriteString(c, prefix)
			_, _ = c.Write(buf[:n])
		})
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, url := range map[string]string{
		"echo 400":     echo(400),
		"echo 302":     echo(302),
		"echo 500":     echo(500),
		"raw echo":     raw(""),
		"echo header":  raw("HTTP/1.1 200 OK\r\n"),
		"echo status":  raw("HTTP/1.1 500 "),
		"echo chunked": raw("HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n"),
		"TLS wanted":   "https" + strings.TrimPrefix(echo(200), "http"),
		"refused":      "http://" + closed.Addr().String(),
		"no name":      "http://receiver.invalid",
	} {
		scheme, host, _ := strings.Cut(url, "://")
		full := scheme + "://" + user + "@" + host + path + "?" + query
		for _, authorization := range []endpoints.Secret{nil, endpoints.SecretString(token)} {
			t.Run(name, func(t *testing.T) {
				var log bytes.Buffer
				opts := &endpoints.Options{
					URL:           endpoints.SecretString(full),
					Authorization: authorization,
					Headers:       http.Header{"X-Api-Key": {header}},
					Logger:        slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
				}
				e, err := endpoints.NewEndpoint("audit", "", opts)
				if err != nil {
					t.Fatal(err)
				}
				defer e.Shutdown(context.Background())
				policy := e.DeliverOptions().Policy
				for n := 1; n <= 6; n++ {
					err := e.Write(context.Background(), batch)
					if err == nil {
						t.Fatal("accepted")
					}
					mustNotLeak(t, err, secrets...)
					v := policy.Judge(&sinks.Attempt{Number: n, Events: 1, Previous: err}, err)
					if d := v.Dead; d != nil {
						mustNotLeak(t, fmt.Errorf("%s %s", d.Error, d.Excerpt), secrets...)
					}
				}
				state := e.State()
				mustNotLeak(t, fmt.Errorf("%s %s %+v %+v", log.String(), e.URL(), state, opts), secrets[0:4]...)
			})
		}
	}
}

func TestSecretsOfOptionsAreNotShown(t *testing.T) {
	for _, url := range []string{
		"https://bob:hidden-token@receiver.example:port/", "hidden-token", "ftp://hidden-token", "https://hid den-token/",
		"https://bob:hidden-token@", "://hidden-token", "https://receiver.example/%zzhidden-token",
	} {
		_, err := endpoints.NewWebhook(url, &endpoints.Options{
			ProxyURL: "gopher://bob:hidden-token@proxy",
			Headers:  http.Header{"X-Key": {"hidden-token\r\n"}},
		})
		if err == nil {
			t.Errorf("%s: no error", url)
		}
		mustNotLeak(t, err, "hidden-token", "den-token")
	}
}
