package verify_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/regcast/regcast/notifications/verify"
)

// The examples of the specification's libraries and of GitHub's documentation.
const (
	specSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	hubSecret  = "It's a Secret to Everybody"
)

func mustParse(t *testing.T, secret string) verify.Key {
	t.Helper()
	key, err := verify.ParseKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestPublishedSignatures(t *testing.T) {
	got := mustParse(t, specSecret).Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("Standard Webhooks: %s, want %s", got, want)
	}
	got = mustParse(t, hubSecret).SignBody([]byte("Hello, World!"))
	if want := "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"; got != want {
		t.Errorf("GitHub: %s, want %s", got, want)
	}
}

func TestParseKey(t *testing.T) {
	for name, c := range map[string]struct{ secret, err string }{
		"base64":              {specSecret, ""},
		"raw":                 {hubSecret, ""},
		"shortest":            {strings.Repeat("é", 12), ""},
		"empty":               {"", "0 bytes is too short"},
		"too short":           {"hunter2hunter2hunter2hu", "23 bytes is too short: it needs 24"},
		"base64 of too short": {"whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHU=", "23 bytes is too short"},
		"not base64":          {"whsec_hunter2hunter2-hunter2hunter2", "base64"},
		"without padding":     {"whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg", "base64"},
		"private key":         {"whsk_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==", "only shared secrets"},
		"public key":          {"whpk_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==", "only shared secrets"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verify.ParseKey(c.secret)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("%v, want %q", err, c.err)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVudGVy")) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

// TestKeyDoesNotPrint prints a key in every way there is, on its own and where fmt cannot
// call its methods.
func TestKeyDoesNotPrint(t *testing.T) {
	key := mustParse(t, hubSecret)
	verifier, err := verify.New([]string{hubSecret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ k verify.Key }
	var out bytes.Buffer
	for _, verb := range "vqsxXdtgpUcobeT" {
		for _, flag := range []string{"", "+", "#"} {
			format := "%" + flag + string(verb)
			fmt.Fprintf(&out, format, key)
			fmt.Fprintf(&out, format, []verify.Key{key})
			fmt.Fprintf(&out, format, holder{key})
			fmt.Fprintf(&out, format, verifier)
			fmt.Fprintf(&out, format, *verifier)
		}
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "k", key)
	text := strings.ToLower(out.String())
	if !strings.Contains(text, "<secret>") {
		t.Error("a key does not say what it is")
	}
	for _, form := range []string{hubSecret, fmt.Sprintf("%x", hubSecret), fmt.Sprint([]byte(hubSecret))} {
		if strings.Contains(text, strings.ToLower(form)) {
			t.Errorf("the secret is printed as %s", form)
		}
	}
}
