package verify_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/regcast/regcast/notifications/verify"
)

const (
	oldSecret = "whsec_b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQgb2xk"
	newSecret = "a raw secret of more than 24 bytes"
	id        = "0198c5f2-1d2e-7c3a-9b4d-5e6f7a8b9c0d"
)

var body = []byte(`{"events":[{"id":"` + id + `"}]}`)

func newVerifier(t *testing.T, opts *verify.Options, secrets ...string) *verify.Verifier {
	t.Helper()
	v, err := verify.New(secrets, opts)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// signed is the header of a request that was signed at that time with each secret.
func signed(t *testing.T, at time.Time, secrets ...string) http.Header {
	t.Helper()
	var signatures []string
	for _, secret := range secrets {
		signatures = append(signatures, mustParse(t, secret).Sign(id, at, body))
	}
	h := make(http.Header)
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	h.Set("webhook-signature", strings.Join(signatures, " "))
	return h
}

func TestVerify(t *testing.T) {
	now := time.Now()
	set := func(name, value string) func(http.Header) {
		return func(h http.Header) { h.Set(name, value) }
	}
	remove := func(name string) func(http.Header) { return func(h http.Header) { h.Del(name) } }
	good := mustParse(t, oldSecret).Sign(id, now, body)
	for name, c := range map[string]struct {
		change func(http.Header)
		want   error
	}{
		"as signed":                {func(http.Header) {}, nil},
		"no id":                    {remove("webhook-id"), verify.ErrMissing},
		"no timestamp":             {remove("webhook-timestamp"), verify.ErrMissing},
		"no signature":             {remove("webhook-signature"), verify.ErrMissing},
		"empty signature":          {set("webhook-signature", ""), verify.ErrSignature},
		"another id":               {set("webhook-id", id+"0"), verify.ErrSignature},
		"a dot in the id":          {set("webhook-id", id+".1"), verify.ErrSignature},
		"another second":           {set("webhook-timestamp", strconv.FormatInt(now.Unix()+1, 10)), verify.ErrSignature},
		"the same second, signed":  {set("webhook-timestamp", "+"+strconv.FormatInt(now.Unix(), 10)), verify.ErrTimestamp},
		"the same second, longer":  {set("webhook-timestamp", "0"+strconv.FormatInt(now.Unix(), 10)), verify.ErrSignature},
		"no number":                {set("webhook-timestamp", "now"), verify.ErrTimestamp},
		"a fraction":               {set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10)+".5"), verify.ErrTimestamp},
		"a huge number":            {set("webhook-timestamp", "9223372036854775808"), verify.ErrTimestamp},
		"another version":          {set("webhook-signature", "v2"+good[2:]), verify.ErrSignature},
		"an asymmetric one":        {set("webhook-signature", "v1a"+good[2:]), verify.ErrSignature},
		"no version":               {set("webhook-signature", good[3:]), verify.ErrSignature},
		"cut":                      {set("webhook-signature", good[:len(good)-1]), verify.ErrSignature},
		"half":                     {set("webhook-signature", good[:3+20]+"===="), verify.ErrSignature},
		"other bits at the end":    {set("webhook-signature", good[:len(good)-2]+string(good[len(good)-2]+1)+"="), verify.ErrSignature},
		"nothing but a version":    {set("webhook-signature", "v1,"), verify.ErrSignature},
		"one of several":           {set("webhook-signature", "v1a,xyz v1,%% v1, "+good+" v1,AAAA"), nil},
		"several headers":          {func(h http.Header) { h["Webhook-Signature"] = []string{"v1,AAAA", good} }, nil},
		"with another's signature": {set("webhook-signature", mustParse(t, newSecret).Sign(id, now, body)), verify.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			h := signed(t, now, oldSecret)
			c.change(h)
			if err := newVerifier(t, nil, oldSecret).Verify(h, body); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// TestVerifyEveryBit: a request is refused whichever bit of its body or signature is
// another.
func TestVerifyEveryBit(t *testing.T) {
	v, now := newVerifier(t, nil, oldSecret), time.Now()
	changed := append([]byte(nil), body...)
	for i := range len(body) * 8 {
		changed[i/8] ^= 1 << (i % 8)
		if err := v.Verify(signed(t, now, oldSecret), changed); !errors.Is(err, verify.ErrSignature) {
			t.Fatalf("bit %d of the body: %v", i, err)
		}
		changed[i/8] ^= 1 << (i % 8)
	}
	signature := signed(t, now, oldSecret).Get("webhook-signature")
	for i := range len(signature) * 8 {
		text := []byte(signature)
		text[i/8] ^= 1 << (i % 8)
		h := signed(t, now, oldSecret)
		h["Webhook-Signature"] = []string{string(text)}
		if err := v.Verify(h, body); !errors.Is(err, verify.ErrSignature) {
			t.Fatalf("bit %d of %q: %v", i, signature, err)
		}
	}
}

// TestVerifyTolerance holds requests of all times against a clock that stands still.
func TestVerifyTolerance(t *testing.T) {
	for name, c := range map[string]struct {
		tolerance, off time.Duration
		want           error
	}{
		"now":                  {0, 0, nil},
		"five minutes ago":     {0, -5 * time.Minute, nil},
		"in five minutes":      {0, 5 * time.Minute, nil},
		"a second too old":     {0, -5*time.Minute - time.Second, verify.ErrTimestamp},
		"a second too young":   {0, 5*time.Minute + time.Second, verify.ErrTimestamp},
		"long ago":             {0, -100 * 365 * 24 * time.Hour / 10, verify.ErrTimestamp},
		"a day, as allowed":    {24 * time.Hour, -24 * time.Hour, nil},
		"two seconds, allowed": {time.Second, 2 * time.Second, verify.ErrTimestamp},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVerifier(t, &verify.Options{Tolerance: c.tolerance}, oldSecret)
				if err := v.Verify(signed(t, time.Now().Add(c.off), oldSecret), body); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		})
	}
}

// TestVerifyRotation: sender and receiver need one secret in common, whoever has the new
// one first.
func TestVerifyRotation(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		sender, receiver []string
		want             error
	}{
		{[]string{oldSecret}, []string{oldSecret, newSecret}, nil},
		{[]string{newSecret}, []string{oldSecret, newSecret}, nil},
		{[]string{newSecret, oldSecret}, []string{oldSecret}, nil},
		{[]string{newSecret, oldSecret}, []string{newSecret}, nil},
		{[]string{newSecret, specSecret}, []string{oldSecret, hubSecret}, verify.ErrSignature},
	} {
		if err := newVerifier(t, nil, c.receiver...).Verify(signed(t, now, c.sender...), body); !errors.Is(err, c.want) {
			t.Errorf("%v to %v: %v, want %v", c.sender, c.receiver, err, c.want)
		}
	}
}

func TestVerifyBody(t *testing.T) {
	good := mustParse(t, newSecret).SignBody(body)
	for name, c := range map[string]struct {
		value string
		want  error
	}{
		"as signed":  {good, nil},
		"upper case": {"sha256=" + strings.ToUpper(good[len("sha256="):]), nil},
		"missing":    {"", verify.ErrMissing},
		"no hash":    {good[len("sha256="):], verify.ErrSignature},
		"sha1":       {"sha1=" + good[len("sha256="):], verify.ErrSignature},
		"cut":        {good[:len(good)-2], verify.ErrSignature},
		"no hex":     {good[:len(good)-2] + "zz", verify.ErrSignature},
		"of another": {mustParse(t, oldSecret).SignBody(body), verify.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, &verify.Options{Header: verify.HeaderHub}, hubSecret, newSecret)
			h := http.Header{"X-Hub-Signature-256": {c.value}}
			if err := v.Verify(h, body); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		secrets []string
		opts    *verify.Options
	}{
		"no secret":          {nil, nil},
		"a bad secret":       {[]string{oldSecret, "hunter2"}, nil},
		"negative tolerance": {[]string{oldSecret}, &verify.Options{Tolerance: -1}},
		"negative body":      {[]string{oldSecret}, &verify.Options{MaxBody: -1}},
	} {
		if _, err := verify.New(c.secrets, c.opts); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAgainstTheSpecification's own library, in both directions.
func TestAgainstTheSpecification(t *testing.T) {
	theirs, err := standardwebhooks.NewWebhook(oldSecret)
	if err != nil {
		t.Fatal(err)
	}
	theirsRaw, err := standardwebhooks.NewWebhookRaw([]byte(newSecret))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for n := range 70 {
		body := []byte(strings.Repeat("é", n))
		for secret, wh := range map[string]*standardwebhooks.Webhook{oldSecret: theirs, newSecret: theirsRaw} {
			id := fmt.Sprintf("msg_%d", n)
			want, err := wh.Sign(id, now, body)
			if err != nil {
				t.Fatal(err)
			}
			got := mustParse(t, secret).Sign(id, now, body)
			if got != want {
				t.Fatalf("of %d bytes: %s, want %s", len(body), got, want)
			}
			h := signed(t, now)
			h.Set("webhook-id", id)
			h.Set("webhook-signature", "v1,AAAA "+want)
			if err := newVerifier(t, nil, specSecret, secret).Verify(h, body); err != nil {
				t.Errorf("what they sign is refused: %v", err)
			}
			h.Set("webhook-signature", "v1,AAAA "+got)
			if err := wh.Verify(body, h); err != nil {
				t.Errorf("they refuse what we sign: %v", err)
			}
		}
	}
}

// FuzzVerify gives a verifier any headers. What it accepts, the specification's library
// accepts, too.
func FuzzVerify(f *testing.F) {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	key, err := verify.ParseKey(oldSecret)
	if err != nil {
		f.Fatal(err)
	}
	good := key.Sign(id, time.Now(), body)
	f.Add(id, now, good, body)
	f.Add(id, now, "v1a,x "+good+" v1,", body)
	f.Add("", "", "v1,\tv1,= ,", []byte{})
	f.Add("a.b", "-1", "sha256=00", []byte("{}"))
	v, err := verify.New([]string{oldSecret}, &verify.Options{Tolerance: 4 * time.Minute})
	if err != nil {
		f.Fatal(err)
	}
	hub, err := verify.New([]string{oldSecret}, &verify.Options{Header: verify.HeaderHub})
	if err != nil {
		f.Fatal(err)
	}
	theirs, err := standardwebhooks.NewWebhook(oldSecret)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature}, verify.HeaderHub: {signature}}
		err := v.Verify(h, body)
		if known := errors.Is(err, verify.ErrMissing) || errors.Is(err, verify.ErrSignature) || errors.Is(err, verify.ErrTimestamp); err != nil && !known {
			t.Errorf("an error of no kind: %v", err)
		}
		// Theirs splits at single spaces alone, where ours takes any white space.
		h.Set("webhook-signature", strings.Join(strings.Fields(signature), " "))
		if their := theirs.Verify(body, h); err == nil && their != nil {
			t.Errorf("accepted, and their library says: %v", their)
		}
		if hub.Verify(h, body) == nil && !strings.EqualFold(h.Get(verify.HeaderHub), key.SignBody(body)) {
			t.Error("accepted what the key does not sign")
		}
	})
}
