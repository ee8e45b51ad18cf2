package config

import (
	"fmt"
	"io"
	"log/slog"
)

// A Secret is a value that does not print: not with any verb of package fmt, not as
// text, not as JSON and not with log/slog. The zero value is a secret that is not set.
type Secret struct {
	value *string // behind a pointer, so that fmt finds an address where it cannot call Format
}

const hidden = "<secret>"

// NewSecret returns a secret of that value.
func NewSecret(value string) Secret { return Secret{value: &value} }

// IsSet says whether there is a value, be it empty.
func (s Secret) IsSet() bool { return s.value != nil }

// Reveal returns the value, "" if there is none.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Equal says whether both have the same value, or none.
func (s Secret) Equal(other Secret) bool {
	return s.IsSet() == other.IsSet() && s.Reveal() == other.Reveal()
}

// String returns "<secret>", or "" if there is no value.
func (s Secret) String() string {
	if s.value == nil {
		return ""
	}
	return hidden
}

// Format writes what String returns, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, s.String()) // what a fmt.State does with an error, it does itself
}

// MarshalText returns what String returns.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (s *Secret) decode(v any) error {
	text, ok := v.(string)
	if !ok {
		return wrongType("a string", v)
	}
	*s = NewSecret(text)
	return nil
}
