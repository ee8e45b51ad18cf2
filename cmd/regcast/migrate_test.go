package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/config"
)

func TestUniqueName(t *testing.T) {
	long := strings.Repeat("a", 80)
	names := map[string]bool{}
	for _, c := range []struct{ from, want string }{
		{"alistener", "alistener"},
		{"alistener", "alistener-2"},
		{"ALISTENER", "alistener-3"},
		{"", "endpoint"},
		{"--", "endpoint-2"},
		{"a.b_c d", "a-b-c-d"},
		{"größe\xff", "gr--e"},
		{long, long[:60]},
		{long, long[:55] + "-2"},
	} {
		if got := uniqueName(c.from, names); got != c.want {
			t.Errorf("uniqueName(%q) = %q, want %q", c.from, got, c.want)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s",
		100 * time.Second: "1m40s", 10 * time.Minute: "10m", 1500 * time.Millisecond: "1.5s", time.Hour + time.Second: "1h0m1s",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestQuoteTOML(t *testing.T) {
	for _, s := range []string{"", "a", `a"b\`, "a\nb\tc", "\x00\x1f\x7f", "größe <&>", "\u2028"} {
		text := "[source]\naddr = " + quoteTOML(s)
		c, err := config.Parse([]byte(text), "")
		if err != nil || c.Source.Addr != s {
			t.Errorf("%q is quoted as %s", s, quoteTOML(s))
		}
	}
}

// TestInitShowsDefaults: what a new file says is what regcast does without it.
func TestInitShowsDefaults(t *testing.T) {
	text, err := new(starter).render()
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse(text, "")
	if err != nil {
		t.Fatal(err)
	}
	trial := config.Trial()
	if keys := config.NeedRestart(trial, got); len(keys) > 0 {
		t.Errorf("init shows other values than the defaults of %v", keys)
	}
	if diff := cmp.Diff(trial.Endpoints, got.Endpoints); diff != "" {
		t.Errorf("init's endpoint is not that of the trial:\n%s", diff)
	}
}

// FuzzMigrate: whatever is in a registry's file, the result is TOML, with the endpoints
// that it has and no key that there is not.
func FuzzMigrate(f *testing.F) {
	f.Add("notifications:\n  events:\n    includereferences: true\n  endpoints:\n    - name: a\n      url: https://u:p@a.example/x\n      headers: {X-A: [b], Authorization: [c]}\n      timeout: 500\n      threshold: 3\n      backoff: 1m\n      ignore: {mediatypes: [a/b], actions: [pull], x: y}\n      \"q\\nr\": s\n")
	f.Add("notifications: {endpoints: [{name: \"\\u0085\", url: \"http://[::1]\"}, {}]}")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := migrate([]byte(text))
		if err != nil {
			return
		}
		s.From = printable(text)
		out, err := s.render()
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(out, "")
		if c == nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err != nil && strings.Contains(err.Error(), "unknown key") {
			t.Fatalf("%v\n%s", err, out)
		}
		if want := max(1, len(s.Endpoints)); len(c.Endpoints) != want {
			t.Fatalf("%d endpoints, want %d\n%s", len(c.Endpoints), want, out)
		}
	})
}
