package registry

import (
	"errors"
	"testing"
)

func FuzzParseContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes 5-/*")
	f.Add("bytes 0-9/-10")
	f.Fuzz(func(t *testing.T, value string) {
		first, size, err := parseContentRange(value)
		if err == nil && (first < 0 || size < -1) || err != nil && !errors.Is(err, ErrMismatch) {
			t.Errorf("%q: %d of %d, %v", value, first, size, err)
		}
	})
}

func TestParseContentRange(t *testing.T) {
	for _, test := range []struct {
		value       string
		first, size int64
		ok          bool
	}{
		{"bytes 5-9/10", 5, 10, true},
		{"bytes 5-9/*", 5, -1, true},
		{"", 0, 0, false},
		{"bytes */10", 0, 0, false},
		{"bytes 5/10", 0, 0, false},
		{"bytes 5-9", 0, 0, false},
		{"bytes -5-9/10", 0, 0, false},
		{"bytes 5-9/x", 0, 0, false},
	} {
		first, size, err := parseContentRange(test.value)
		if (err == nil) != test.ok || test.ok && (first != test.first || size != test.size) {
			t.Errorf("%q: %d %d %v", test.value, first, size, err)
		}
	}
}
