package config_test

import (
	"math"
	"testing"

	"github.com/regcast/regcast/config"
)

func TestParseSize(t *testing.T) {
	good := map[string]config.Size{
		"0B": 0, "1B": 1, "1kB": 1000, "2KB": 2000, "1KiB": 1024, "8MiB": 8 << 20, "8 mib": 8 << 20,
		"3MB": 3e6, "10GiB": 10 << 30, "10GB": 1e10, "1TiB": 1 << 40, "2TB": 2e12, "8388607TiB": 8388607 << 40,
	}
	for text, want := range good {
		if got, err := config.ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "8", "MiB", "-1B", "1.5GiB", "8M", "8  MiB", "8388608TiB", "99999999999999999999B", "٣B"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}

func TestSizeStringReadsBack(t *testing.T) {
	for _, s := range []config.Size{0, 1, 999, 1000, 1024, 1500, 1 << 20, 10e9, 3 << 30, 1<<40 + 1, math.MaxInt64} {
		if got, err := config.ParseSize(s.String()); err != nil || got != s {
			t.Errorf("%d prints as %q, which reads as %d, %v", int64(s), s, got, err)
		}
	}
}
