package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/regcast/regcast/config"
)

// TestSecretNeverPrints prints a configuration that holds secrets in every way there is.
func TestSecretNeverPrints(t *testing.T) {
	const value = "hunter2"
	c, err := config.Parse([]byte(`
[intake]
tokens = ["hunter2", "hunter2"]

[[admin.token]]
name = "ops"
role = "read"
token = "hunter2"

[[endpoint]]
name = "audit"
url = "https://audit.example/hook"
authorization = "hunter2"
headers = { X-Key = "hunter2" }
proxy_url = "http://user:hunter2@proxy.example"
`), "regcast.toml")
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ c config.Config } // fmt cannot call methods of what is in here
	var out bytes.Buffer
	for _, verb := range "vqsxXdtgpUcobeT" {
		for _, flag := range []string{"", "+", "#", "10."} {
			format := "%" + flag + string(verb)
			fmt.Fprintf(&out, format, c.Intake.Tokens)
			fmt.Fprintf(&out, format, c.Endpoints[0].Authorization)
			fmt.Fprintf(&out, format, *c)
			fmt.Fprintf(&out, format, holder{*c})
		}
	}
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "c", c, "s", c.Endpoints[0].Authorization)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "c", c, "s", c.Endpoints[0].Authorization)
	text := strings.ToLower(out.String())
	if !strings.Contains(text, "<secret>") {
		t.Error("a secret that is set does not show that it is")
	}
	for _, form := range []string{value, fmt.Sprintf("%x", value), fmt.Sprint([]byte(value))} {
		if i := strings.Index(text, strings.ToLower(form)); i >= 0 {
			t.Errorf("the secret is printed: …%s", text[max(0, i-60):i+20])
		}
	}
}

func TestSecretEqual(t *testing.T) {
	unset, empty, a, b := config.Secret{}, config.NewSecret(""), config.NewSecret("a"), config.NewSecret("b")
	if !a.Equal(config.NewSecret("a")) || a.Equal(b) || empty.Equal(unset) || !unset.Equal(config.Secret{}) {
		t.Error("Equal does not compare values")
	}
	if unset.IsSet() || !empty.IsSet() || unset.String() != "" {
		t.Error("an unset secret and an empty one are not told apart")
	}
}
