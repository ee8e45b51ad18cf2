package endpoints_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/notificationstest"
	"github.com/regcast/regcast/notifications/verify"
	"github.com/regcast/regcast/sinks"
)

const (
	firstSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secondSecret = "a raw secret of more than 24 bytes"
)

func secretsOf(values ...string) (list []endpoints.Secret) {
	for _, v := range values {
		list = append(list, endpoints.SecretString(v))
	}
	return list
}

// A signedRequest is what a receiver got.
type signedRequest struct {
	header http.Header
	body   []byte
}

// receiveSigned starts a receiver that hands out what it gets.
func receiveSigned(t *testing.T) (url string, next func() signedRequest) {
	t.Helper()
	got := make(chan signedRequest, 1)
	url = receive(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- signedRequest{r.Header.Clone(), body}
	})
	return url, func() signedRequest { return <-got }
}

// TestSigning: the specification's library, and ours, accept each request by each secret
// on its own, and no other.
func TestSigning(t *testing.T) {
	url, next := receiveSigned(t)
	w := newWebhook(t, url, &endpoints.Options{
		Authorization: endpoints.SecretString("Bearer abc"),
		Signing:       endpoints.SigningOptions{Secrets: secretsOf(firstSecret, secondSecret)},
	})
	var theirs []*standardwebhooks.Webhook
	for _, open := range []func() (*standardwebhooks.Webhook, error){
		func() (*standardwebhooks.Webhook, error) { return standardwebhooks.NewWebhook(firstSecret) },
		func() (*standardwebhooks.Webhook, error) { return standardwebhooks.NewWebhookRaw([]byte(secondSecret)) },
	} {
		wh, err := open()
		if err != nil {
			t.Fatal(err)
		}
		theirs = append(theirs, wh)
	}
	for name, c := range map[string]struct {
		ctx   context.Context
		batch []*notifications.Event
	}{
		"bare":     {t.Context(), batch},
		"attempt":  {sinks.WithAttempt(t.Context(), sinks.Attempt{Number: 7, First: 1, OutOfOrder: true, Replay: "job7"}), batch},
		"batch":    {t.Context(), notificationstest.Pushes(1, 30, "team/app")},
		"odd id":   {t.Context(), []*notifications.Event{{ID: "a.b\r\nc", Action: "push", Repository: "a"}}},
		"empty id": {t.Context(), []*notifications.Event{{Action: "push", Repository: "a"}}},
	} {
		if err := w.Write(c.ctx, c.batch); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := next()
		for i, wh := range theirs {
			if err := wh.Verify(got.body, got.header); err != nil {
				t.Errorf("%s: their library with secret %d: %v", name, i+1, err)
			}
		}
		for _, secret := range []string{firstSecret, secondSecret} {
			v, err := verify.New([]string{secret}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Verify(got.header, got.body); err != nil {
				t.Errorf("%s: ours: %v", name, err)
			}
			if err := v.Verify(got.header, append(got.body, ' ')); !errors.Is(err, verify.ErrSignature) {
				t.Errorf("%s: with another body: %v", name, err)
			}
		}
		if got.header.Get("Authorization") != "Bearer abc" {
			t.Errorf("%s: without authorization: %v", name, got.header)
		}
	}
}

// TestWebhookID: the same events have the same id, others another, and one event its own.
func TestWebhookID(t *testing.T) {
	url, next := receiveSigned(t)
	w := newWebhook(t, url, &endpoints.Options{Signing: endpoints.SigningOptions{Secrets: secretsOf(firstSecret)}})
	idOf := func(attempt int, ids ...string) string {
		t.Helper()
		var batch []*notifications.Event
		for _, id := range ids {
			batch = append(batch, &notifications.Event{ID: id, Action: "push", Repository: "team/app"})
		}
		ctx := sinks.WithAttempt(t.Context(), sinks.Attempt{Number: attempt, First: uint64(attempt)})
		if err := w.Write(ctx, batch); err != nil {
			t.Fatal(err)
		}
		return next().header.Get("webhook-id")
	}
	for _, id := range []string{"0198c5f2-1d2e-7c3a-9b4d-5e6f7a8b9c0d", "x", "a/b:c~!", strings.Repeat("x", 128)} {
		if got := idOf(1, id); got != id {
			t.Errorf("of the event %s: %s", id, got)
		}
	}
	seen := map[string]string{}
	for _, ids := range [][]string{
		{"a.b"}, {"a b"}, {"a\nb"}, {"é"}, {"\x7f"}, {""}, {strings.Repeat("x", 129)}, {strings.Repeat("y", 64<<10)},
		{"a", "b"}, {"b", "a"}, {"ab", ""}, {"", "ab"}, {"a", "b", ""}, {"a", "a"}, {"", ""},
	} {
		first := idOf(1, ids...)
		if again := idOf(2, ids...); again != first {
			t.Errorf("of %.40q: %s, and %s at the second attempt", ids, first, again)
		}
		if other, ok := seen[first]; ok {
			t.Errorf("of %.40q and of %s: %s", ids, other, first)
		}
		if !strings.HasPrefix(first, "sha256-") || len(first) != 71 {
			t.Errorf("of %.40q: %s", ids, first)
		}
		seen[first] = fmt.Sprintf("%.40q", ids)
	}
}

func TestSigningOfTheBodyAlone(t *testing.T) {
	url, next := receiveSigned(t)
	for header, want := range map[string]string{"": "X-Hub-Signature-256", "x-regcast-signature": "X-Regcast-Signature"} {
		signing := endpoints.SigningOptions{Secrets: secretsOf(secondSecret), Scheme: endpoints.SchemeHMACSHA256, Header: header}
		if err := newWebhook(t, url, &endpoints.Options{Signing: signing}).Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		got := next()
		v, err := verify.New([]string{secondSecret}, &verify.Options{Header: want})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Verify(got.header, got.body); err != nil {
			t.Errorf("in %s: %v", want, err)
		}
		if got.header.Get("webhook-id")+got.header.Get("webhook-signature") != "" {
			t.Errorf("two schemes at once: %v", got.header)
		}
	}
}

// TestSigningSecretsAreReadAgain rotates a secret, and takes it away.
func TestSigningSecretsAreReadAgain(t *testing.T) {
	url, next := receiveSigned(t)
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	put := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(one, firstSecret+"\n")
	put(two, secondSecret)
	w := newWebhook(t, url, &endpoints.Options{Signing: endpoints.SigningOptions{
		Secrets: []endpoints.Secret{endpoints.SecretFile(one), endpoints.SecretFile(two)},
	}})
	const third = "whsec_aGlkZGVuIGhpZGRlbiBoaWRkZW4gaGlkZGVu"
	for _, c := range []struct{ one, two string }{{firstSecret, secondSecret}, {secondSecret, third}, {third, firstSecret}} {
		put(one, c.one)
		put(two, c.two)
		if err := w.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		got := next()
		for _, secret := range []string{firstSecret, secondSecret, third} {
			v, err := verify.New([]string{secret}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Verify(got.header, got.body); (err == nil) != (secret == c.one || secret == c.two) {
				t.Errorf("signed with %s and %s; with %s: %v", c.one, c.two, secret, err)
			}
		}
	}
	for _, bad := range []string{"", "hidden", "whsec_aGlkZGVu", "whsec_aGlkZGVuIGhpZGRlbiBoaWRkZW4gaGlkZGVu$", "whsk_aGlkZGVuIGhpZGRlbiBoaWRkZW4gaGlkZGVu"} {
		put(two, bad)
		e := mustFail(t, w, endpoints.Auth, "secret")
		mustNotLeak(t, e, "hidden", "aGlkZGVu", firstSecret)
		if !strings.Contains(e.Error(), "signing secret 2: ") {
			t.Errorf("%v does not say which secret", e)
		}
	}
	if err := os.Remove(two); err != nil {
		t.Fatal(err)
	}
	if e := mustFail(t, w, endpoints.Auth, "secret"); !errors.Is(e, os.ErrNotExist) {
		t.Errorf("%v does not say that the file is missing", e)
	}
	put(two, secondSecret)
	if err := w.Write(t.Context(), batch); err != nil {
		t.Errorf("after the file is back: %v", err)
	}
	next()
}

// TestSigningHolds: an endpoint whose secret is gone is held, and loses nothing.
func TestSigningHolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	var accepted atomic.Int64
	url := receive(t, func(http.ResponseWriter, *http.Request) { accepted.Add(1) })
	e := newEndpoint(t, url, &endpoints.Options{
		Retry:   endpoints.RetryOptions{Initial: time.Millisecond, Max: time.Millisecond},
		Signing: endpoints.SigningOptions{Secrets: []endpoints.Secret{endpoints.SecretFile(path)}},
	})
	engine := sinks.NewMemory(nil)
	defer engine.Shutdown(context.Background())
	stop := deliver(t, engine, e, e)
	defer stop()
	if err := engine.Write(t.Context(), notificationstest.Pushes(1, 5, "team/app")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return e.State().Name == endpoints.StateAuth })
	if err := os.WriteFile(path, []byte(firstSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return accepted.Load() == 5 && account(t, engine, e.Name(), 5).Pending == 0 })
	if info := account(t, engine, e.Name(), 5); info.Totals[sinks.Delivered] != 5 {
		t.Errorf("%+v, want 5 delivered", info)
	}
}

// eventually polls until it is so.
func eventually(t *testing.T, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !so(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("not within a minute")
		}
	}
}

// TestSigningSecretIsReadAgainBeforeHolding has a receiver that learns of a new secret
// while a request with the old one is on its way, and that shows what it knows.
func TestSigningSecretIsReadAgainBeforeHolding(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(firstSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	verifier, err := verify.New([]string{secondSecret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	var broken atomic.Bool
	url := receive(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		if err := verifier.Verify(r.Header, body); err != nil || broken.Load() {
			if err := os.WriteFile(path, []byte(secondSecret), 0o600); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, "I know %s and %s", firstSecret, secondSecret)
		}
	})
	w := newWebhook(t, url, &endpoints.Options{Signing: endpoints.SigningOptions{Secrets: []endpoints.Secret{endpoints.SecretFile(path)}}})
	if err := w.Write(t.Context(), batch); err != nil || requests.Load() != 2 {
		t.Errorf("%v after %d requests, want to be accepted by the second", err, requests.Load())
	}
	broken.Store(true)
	e := deliveryError(t, w.Write(t.Context(), batch))
	if requests.Load() != 3 {
		t.Errorf("%d requests, want one with a secret that has not changed", requests.Load())
	}
	mustNotLeak(t, e, secondSecret)
}

func TestSigningOptions(t *testing.T) {
	many := slices.Repeat(secretsOf(firstSecret), 9)
	for name, c := range map[string]struct {
		signing endpoints.SigningOptions
		headers http.Header
		want    string
	}{
		"none":                 {endpoints.SigningOptions{}, http.Header{"Webhook-Id": {"a"}}, ""},
		"usual":                {endpoints.SigningOptions{Secrets: many[:8]}, http.Header{"X-Hub-Signature-256": {"a"}}, ""},
		"too many":             {endpoints.SigningOptions{Secrets: many}, nil, "signing.secret_files: 9 secrets are more than 8"},
		"scheme":               {endpoints.SigningOptions{Scheme: "v1a"}, nil, `signing.scheme: "v1a" is not one of standard-webhooks, hmac-sha256`},
		"header":               {endpoints.SigningOptions{Header: "X-Sig"}, nil, "signing.header: only hmac-sha256 has a header of its own"},
		"two for one":          {endpoints.SigningOptions{Secrets: many[:2], Scheme: "hmac-sha256"}, nil, "signing.secret_files: hmac-sha256 has room for one signature, and so for one secret"},
		"no name":              {endpoints.SigningOptions{Scheme: "hmac-sha256", Header: "X Sig"}, nil, `signing.header: "X Sig" is not a header name`},
		"of the attempt":       {endpoints.SigningOptions{Scheme: "hmac-sha256", Header: "regcast-attempt"}, nil, "signing.header: Regcast-Attempt has another meaning"},
		"of the authorization": {endpoints.SigningOptions{Scheme: "hmac-sha256", Header: "authorization"}, nil, "signing.header: Authorization has another meaning"},
		"twice":                {endpoints.SigningOptions{Secrets: many[:1]}, http.Header{"webhook-timestamp": {"a"}}, "headers: webhook-timestamp is set by regcast itself"},
		"twice, of the body":   {endpoints.SigningOptions{Secrets: many[:1], Scheme: "hmac-sha256", Header: "x-sig"}, http.Header{"X-Sig": {"a"}}, "headers: X-Sig is set by regcast itself"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := endpoints.NewWebhook("http://receiver.example/", &endpoints.Options{Signing: c.signing, Headers: c.headers})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestPreviewOfSigning(t *testing.T) {
	unread := []endpoints.Secret{func() (string, error) { t.Error("a secret is read"); return "", nil }}
	for name, c := range map[string]struct {
		signing endpoints.SigningOptions
		want    http.Header
	}{
		"standard": {endpoints.SigningOptions{Secrets: unread}, http.Header{
			"Webhook-Id": {batch[0].ID}, "Webhook-Timestamp": {"<unix seconds of the attempt>"}, "Webhook-Signature": {"<secret>"},
		}},
		"of the body": {endpoints.SigningOptions{Secrets: unread, Scheme: "hmac-sha256"}, http.Header{"X-Hub-Signature-256": {"<secret>"}}},
	} {
		preview, _ := newEndpoint(t, "http://receiver.example/", &endpoints.Options{Signing: c.signing}).Preview(batch)
		got := http.Header{}
		for header, values := range preview.Header {
			if strings.HasPrefix(header, "Webhook-") || strings.HasPrefix(header, "X-") {
				got[header] = values
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}
