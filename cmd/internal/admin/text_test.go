package admin_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/regcast/regcast/cmd/internal/admin"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":         `""`,
		"no":       `"no"`,
		"\xff{":    `{"base64":"/3s="}`,
		`{"a":"b"`: `"{\"a\":\"b\""`,
	} {
		data, err := json.Marshal(admin.Text(text))
		if err != nil || string(data) != want {
			t.Errorf("%q: %s, %v, want %s", text, data, err, want)
		}
		var back admin.Text
		if err := json.Unmarshal(data, &back); err != nil || string(back) != text {
			t.Errorf("%s: %q, %v, want %q", data, back, err, text)
		}
	}
	var back admin.Text
	for _, wrong := range []string{`1`, `{"base64":"!"}`} {
		if err := json.Unmarshal([]byte(wrong), &back); err == nil {
			t.Errorf("%s is read as %q", wrong, back)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("no"))
	f.Add([]byte("\xff{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		data, err := json.Marshal(admin.Text(b))
		if err != nil {
			t.Fatal(err)
		}
		var back admin.Text
		if err := json.Unmarshal(data, &back); err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%q became %s and then %q, %v", b, data, back, err)
		}
	})
}
