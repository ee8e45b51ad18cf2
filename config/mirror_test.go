package config_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regcast/regcast/config"
)

// mirror is an endpoint that copies, and more.
func mirror(more string) string {
	return "[[endpoint]]\nname = \"copy\"\nkind = \"mirror\"\nsource = \"https://a.example\"\ntarget = \"https://b.example/prefix\"\n" + more + "\n"
}

func TestAMirror(t *testing.T) {
	c := parse(t, mirror(`
source_auth_file = "a.json"
target_auth_file = "/run/secrets/b.json"
token_hosts = ["auth.internal", "[::1]:5001"]
platforms = ["linux/amd64"]
blob_concurrency = 16
by_digest = true
referrers = true
propagate_deletes = true
source_tls = { ca_file = "ca.pem" }
retry = { max = "10m" }`)+strings.Replace(mirror(`timeout = "1h"`), "copy", "other", 1))
	e := c.Endpoints[0]
	if e.SourceAuthFile != "/etc/regcast/a.json" || e.TargetAuthFile != "/run/secrets/b.json" || e.SourceTLS.CAFile != "/etc/regcast/ca.pem" {
		t.Errorf("files: %+v", e)
	}
	if !e.ByDigest || !e.Referrers || !e.PropagateDeletes || len(e.Platforms) != 1 || len(e.TokenHosts) != 2 || e.Format != "" {
		t.Errorf("%+v", e)
	}
	if e.BlobConcurrency != 16 || c.Endpoints[1].BlobConcurrency != 4 {
		t.Errorf("%d and %d blobs at once", e.BlobConcurrency, c.Endpoints[1].BlobConcurrency)
	}
	if e.Timeout != 5*time.Minute || c.Endpoints[1].Timeout != time.Hour || e.Retry.Max != 10*time.Minute {
		t.Errorf("timeouts: %v, %v", e.Timeout, c.Endpoints[1].Timeout)
	}
}

// A key of the other kind is always a mistake: it says something that would not happen.
func TestKeysOfTheOtherKind(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"url":               {mirror(`url = "https://c.example"`), "endpoint[0].url is for a webhook, and this is a mirror"},
		"url_file":          {mirror(`url_file = "x"`), "endpoint[0].url_file is for a webhook"},
		"format":            {mirror(`format = "distribution"`), "endpoint[0].format is for a webhook"},
		"authorization":     {mirror(`authorization_file = "x"`), "endpoint[0].authorization_file is for a webhook"},
		"headers":           {mirror(`headers = { X = "y" }`), "endpoint[0].headers is for a webhook"},
		"signing":           {mirror(`signing = { secret_files = ["x"] }`), "endpoint[0].signing is for a webhook"},
		"tls":               {mirror(`tls = { insecure_skip_verify = true }`), "endpoint[0].tls is for a webhook"},
		"success_on":        {mirror(`success_on = [409]`), "endpoint[0].success_on is for a webhook"},
		"batches":           {mirror(`batch = { max_events = 2 }`), "endpoint[0].batch.max_events must be 1"},
		"linger":            {mirror(`batch = { linger = "1s" }`), "endpoint[0].batch.linger is for a webhook"},
		"target":            {webhook(`target = "https://c.example"`), `endpoint[0].target is for an endpoint of kind = "mirror"`},
		"platforms":         {webhook(`platforms = []`), `endpoint[0].platforms is for an endpoint of kind = "mirror"`},
		"propagate_deletes": {webhook(`propagate_deletes = false`), `endpoint[0].propagate_deletes is for an endpoint of kind = "mirror"`},
		"another kind":      {webhook(`kind = "mirorr"`), `endpoint[0].kind`},
	} {
		t.Run(name, func(t *testing.T) { oneProblem(t, test.text, test.want) })
	}
}

func webhook(more string) string {
	return "[[endpoint]]\nname = \"hook\"\nurl = \"https://a.example\"\n" + more + "\n"
}

// oneProblem parses a text that has one, which begins with want after its place.
func oneProblem(t *testing.T, text, want string) {
	t.Helper()
	_, err := config.Parse([]byte(text), "")
	if err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(strings.ReplaceAll(err.Error(), ": ", " "), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestWhereAMirrorCopies(t *testing.T) {
	for name, test := range map[string]struct{ from, to, want string }{
		"no source":       {`source = "https://a.example"`, ``, "source is missing"},
		"no target":       {`target = "https://b.example/prefix"`, ``, "target is missing"},
		"no scheme":       {`https://a.example`, `a.example`, "source must begin with http:// or https://"},
		"a password":      {`https://b.example`, `https://me:hunter2@b.example`, "target holds a user name or password move it to target_auth_file"},
		"a query":         {`/prefix`, `/prefix?x=y`, "target ends in a ? or # part"},
		"a certificate":   {`kind =`, "source_tls = { cert_file = \"x\" }\nkind =", "source_tls"},
		"TLS without TLS": {`https://b.example/prefix"`, "http://b.example\"\ntarget_tls = { insecure_skip_verify = true }", "target_tls is for a registry with https"},
		"a token server":  {`kind =`, "token_hosts = [\"https://auth\"]\nkind =", `token_hosts[0] "https://auth" is no host`},
		"too many blobs":  {`kind =`, "blob_concurrency = 65\nkind =", `blob_concurrency must be from 1 to 64`},
		"no such kind":    {`kind = "mirror"`, `kind = "miror"`, `kind "miror" is none of webhook, mirror; did you mean mirror?`},
		"a long timeout":  {`kind =`, "timeout = \"25h\"\nkind =", `timeout must be from 1ms to 24h`},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(mirror(""), test.from, test.to, 1)
			oneProblem(t, text, test.want)
			if _, err := config.Parse([]byte(text), ""); strings.Contains(err.Error(), "hunter2") {
				t.Error("the error shows a password")
			}
		})
	}
}

func TestWarningsOfAMirror(t *testing.T) {
	c := parse(t, strings.NewReplacer("https://b", "http://b", `a.example"`, `a.example/v2"`).Replace(mirror(`
target_auth_file = "b.json"
propagate_deletes = true
filter = { actions = ["push"] }
source_tls = { insecure_skip_verify = true }`)))
	var got []string
	for _, w := range c.Warnings() {
		got = append(got, w.Path)
	}
	slices.Sort(got)
	want := []string{"endpoint[0].propagate_deletes", "endpoint[0].source", "endpoint[0].source_tls.insecure_skip_verify", "endpoint[0].target"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
