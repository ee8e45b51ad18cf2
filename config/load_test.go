package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/regcast/regcast/config"
)

// write writes a file in a temporary folder and returns its name.
func write(t *testing.T, dir, name, content string, mode fs.FileMode) string {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return name
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text), "/etc/regcast/regcast.toml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	c := parse(t, `
data_dir = "data"
[intake]
token_file = "../secrets/intake"
tls = { cert_file = "/tls/cert.pem", key_file = "key.pem" }
[[endpoint]]
name = "a"
url_file = "a-url"
[[endpoint]]
name = "b"
url = "file:events.jsonl"
[[endpoint]]
name = "c"
url = "file:///var/log/events.jsonl"
[[endpoint]]
name = "d"
url = "https://d.example"
signing = { secret_files = ["key", "/run/secrets/old-key"] }
`)
	got := []string{
		c.DataDir, c.Intake.TokenFile, c.Intake.TLS.CertFile, c.Intake.TLS.KeyFile, c.Intake.TLS.ClientCAFile,
		c.Endpoints[0].URLFile, c.Endpoints[1].URL, c.Endpoints[2].URL,
		c.Endpoints[3].Signing.SecretFiles[0], c.Endpoints[3].Signing.SecretFiles[1],
	}
	want := []string{
		"/etc/regcast/data", "/etc/secrets/intake", "/tls/cert.pem", "/etc/regcast/key.pem", "",
		"/etc/regcast/a-url", "file:/etc/regcast/events.jsonl", "file:/var/log/events.jsonl",
		"/etc/regcast/key", "/run/secrets/old-key",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefaultsOfAnEndpoint(t *testing.T) {
	c := parse(t, `
[[endpoint]]
name = "a"
url = "https://a.example"
[[endpoint]]
name = "b"
url = "https://b.example"
timeout = "1s"
batch = { max_events = 100 }
start = "oldest"
[[endpoint]]
name = "c"
url = "https://c.example"
start = 2026-01-31T12:00:00+01:00
`)
	a, b := c.Endpoints[0], c.Endpoints[1]
	if a.Timeout != 15*time.Second || a.Batch.MaxEvents != 1 || a.Concurrency != 8 || a.Format != config.FormatDistribution || a.Start != (config.Start{}) {
		t.Errorf("defaults are missing: %+v", a)
	}
	if b.Timeout != time.Second || b.Batch != (config.Batch{MaxEvents: 100, MaxBytes: config.MiB}) || !b.Start.Oldest {
		t.Errorf("what is given does not stand beside the defaults: %+v", b)
	}
	if want := time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC); c.Endpoints[2].Start.At != want {
		t.Errorf("start = %v, want %v", c.Endpoints[2].Start.At, want)
	}
}

func TestListenOffLoopback(t *testing.T) {
	for text, ok := range map[string]bool{
		"[intake]\nlisten = \"0.0.0.0:1\"\nallow_anonymous = true":                                                true,
		"[intake]\nlisten = \"0.0.0.0:1\"\ntoken = \"a\"":                                                         true,
		"[intake]\nlisten = \"0.0.0.0:1\"\ntokens = [\"a\"]":                                                      true,
		"[intake]\nlisten = \"0.0.0.0:1\"\ntls = { cert_file = \"c\", key_file = \"k\", client_ca_file = \"a\" }": true,
		"[intake]\nlisten = \"0.0.0.0:1\"\ntls = { cert_file = \"c\", key_file = \"k\" }":                         false,
		"[intake]\nlisten = \"[::1]:1\"":                                                                          true,
		"[intake]\nlisten = \"localhost:1\"":                                                                      true,
		"[intake]\nlisten = \"[::]:1\"":                                                                           false,
		"[intake]\nlisten = \":1\"":                                                                               false,
		"[intake]\nlisten = \"registry.example:1\"":                                                               false,
		"[admin]\nlisten = \"0.0.0.0:1\"\nmetrics_anonymous = true":                                               false,
	} {
		if _, err := config.Parse([]byte(text), ""); (err == nil) != ok {
			t.Errorf("%s\ngives %v", text, err)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "token", "secret", 0o600)
	file := write(t, dir, "regcast.toml", `
[intake]
token_file = "token"
[[endpoint]]
name = "a"
url = "https://a.example"
authorization_file = "absent"
timeout = 3
tls = { ca_file = "." }
signing = { secret_files = ["token", "absent"] }
`, 0o600)
	_, err := config.Load(file)
	want := strings.Join([]string{
		file + ":7: endpoint[0].authorization_file: there is no file " + filepath.Join(dir, "absent"),
		file + `:8: endpoint[0].timeout: 3 lacks a unit of time: write "3s" or "3ms"`,
		file + ":9: endpoint[0].tls.ca_file: " + dir + " is a folder, not a file",
		file + ":10: endpoint[0].signing.secret_files[1]: there is no file " + filepath.Join(dir, "absent"),
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if _, err := config.Load(filepath.Join(dir, "none.toml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there gives %v", err)
	}
	large := write(t, dir, "large.toml", strings.Repeat("# a comment\n", 100_000), 0o600)
	if _, err := config.Load(large); err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Errorf("a file beyond the bound gives %v", err)
	}
	if c, err := config.Load(write(t, dir, "empty.toml", "", 0o600)); err != nil || c.Engine.Kind != config.EngineJournal {
		t.Errorf("an empty file gives %v, %v", c, err)
	}
}

func TestCheckFilesWarnsOfOpenSecrets(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "open", "secret", 0o644)
	write(t, dir, "group", "secret", 0o640)
	write(t, dir, "ca.pem", "", 0o644)
	file := write(t, dir, "regcast.toml", `
[intake]
token_file = "open"
[[endpoint]]
name = "a"
url = "https://a.example"
authorization_file = "group"
tls = { ca_file = "ca.pem" }
[[endpoint]]
name = "b"
url = "https://a.example"
authorization = "inline"
signing = { secret_files = ["group", "open"] }
`, 0o644)
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	problems, warnings := c.CheckFiles()
	if len(problems) > 0 {
		t.Error(problems)
	}
	want := strings.Join([]string{
		file + ": holds a secret and everybody on this machine can read it: chmod o-rwx, or use the _file keys",
		file + ":3: intake.token_file: everybody on this machine can read " + filepath.Join(dir, "open") + ": chmod o-rwx",
		file + ":13: endpoint[1].signing.secret_files[1]: everybody on this machine can read " + filepath.Join(dir, "open") + ": chmod o-rwx",
	}, "\n")
	if warnings.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", warnings, want)
	}
}

func TestCheckFilesKnowsWhatIsNoSecret(t *testing.T) {
	for proxy, secret := range map[string]bool{"": false, "http://proxy.example:3128": false, "http://user:password@proxy.example:3128": true} {
		c, err := config.Load(write(t, t.TempDir(), "regcast.toml", `
[[endpoint]]
name = "a"
url = "https://a.example"
proxy_url = "`+proxy+`"
`, 0o644))
		if err != nil {
			t.Fatal(err)
		}
		if _, warnings := c.CheckFiles(); (len(warnings) > 0) != secret {
			t.Errorf("with proxy_url = %q: %v", proxy, warnings)
		}
	}
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "endpoint: there is none",
		`filter = { media_types = ["a/b"] }`: ":4: endpoint[0].filter.media_types: excludes deletes",
		`filter = { media_types = ["a/b"], actions = ["push", "delete"] }`: "excludes deletes",
		`filter = { media_types = ["a/b"], actions = ["push"] }`:           "",
		`batch = { linger = "1s" }`:                                        "has no effect while max_events is 1",
		`batch = { linger = "1s", max_events = 2 }`:                        "",
		`tls = { insecure_skip_verify = true }`:                            "use ca_file",
		"url = \"http://a.example\"\nauthorization = \"Bearer a\"":         "without TLS",
		"url = \"http://a.example\"":                                       "",
		"url = \"http://127.0.0.1:80\"\nauthorization = \"Bearer a\"":      "",
		"url = \"console:\"\nheaders = { X-A = \"b\" }":                    "have no effect",
		"url = \"console:\"\nsigning = { secret_files = [\"a\"] }":         "have no effect",
	} {
		if text != "" {
			if !strings.Contains(text, "url = ") {
				text = "url = \"https://a.example\"\n" + text
			}
			text = "[[endpoint]]\nname = \"a\"\n" + text
		}
		got := parse(t, text).Warnings()
		if want == "" && len(got) == 0 {
			continue
		}
		if want == "" || len(got) != 1 || !strings.Contains(got[0].String(), want) {
			t.Errorf("%s\nwarns %v, want %q", text, got, want)
		}
	}
}

func TestNeedRestart(t *testing.T) {
	base := `
[intake]
token = "a"
[[admin.token]]
name = "ops"
role = "read"
token = "a"
[[endpoint]]
name = "a"
url = "https://a.example"
`
	running := parse(t, base)
	changes := map[string][]string{
		base: nil,
		strings.ReplaceAll(base, `"a"`, `"b"`) + "[[endpoint]]\nname = \"c\"\nurl = \"console:\"": nil,
		"log = { level = \"debug\" }" + base:                                                      nil,
		"data_dir = \"other\"" + base:                                                             {"data_dir"},
		"log = { format = \"json\" }" + base:                                                      {"log.format"},
		"source = { addr = \"a\" }\nengine.kind = \"memory\"\nengine.journal.dead_bytes = \"2MiB\"" + base: {
			"source.addr", "engine.kind", "engine.journal.dead_bytes",
		},
		"admin.metrics_anonymous = true\n[intake]\nlisten = \"127.0.0.1:1\"\nmax_events = 1\ntrusted_proxies = [\"10.0.0.0/8\"]": {
			"intake.listen", "intake.max_events", "intake.trusted_proxies", "admin.metrics_anonymous",
		},
		"[intake]\ntls = { cert_file = \"c\", key_file = \"k\" }": {"intake.tls.cert_file", "intake.tls.key_file"},
	}
	for text, want := range changes {
		if diff := cmp.Diff(want, config.NeedRestart(running, parse(t, text))); diff != "" {
			t.Errorf("%s\n(-want +got):\n%s", text, diff)
		}
	}
}

func TestTrial(t *testing.T) {
	c := config.Trial()
	if c.File() != "" || len(c.Warnings()) > 0 || len(c.Endpoints) != 1 || c.Endpoints[0].Name != "console" {
		t.Errorf("the trial configuration is %+v", c)
	}
	problems, warnings := c.CheckFiles()
	if len(problems)+len(warnings) > 0 {
		t.Error(problems, warnings)
	}
}
