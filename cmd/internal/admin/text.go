package admin

import (
	"encoding/json"
	"unicode/utf8"
)

// Text is bytes that somebody sent: text as a rule, but who knows. In JSON it is a
// string if it is valid UTF-8, else {"base64": "…"}, so that no byte is lost.
type Text []byte

type base64Text struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON returns the JSON of t.
func (t Text) MarshalJSON() ([]byte, error) {
	if utf8.Valid(t) {
		return json.Marshal(string(t))
	}
	return json.Marshal(base64Text{t})
}

// UnmarshalJSON sets t to what data holds.
func (t *Text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		var b base64Text
		err := json.Unmarshal(data, &b)
		*t = b.Base64
		return err
	}
	var s string
	err := json.Unmarshal(data, &s)
	*t = Text(s)
	return err
}
