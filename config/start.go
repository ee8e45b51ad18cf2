package config

import (
	"errors"
	"strings"
	"time"
)

// Start is where a new endpoint begins. The zero value is now: with the next event.
type Start struct {
	Oldest bool      // with the oldest event still stored
	At     time.Time // with the first event stored then or later, if not zero
}

func (s *Start) decode(v any) error {
	const want = `must be "now", "oldest" or a time such as "2026-01-31T12:00:00Z"`
	switch v := v.(type) {
	case string:
		switch v {
		case "now":
			*s = Start{}
			return nil
		case "oldest":
			*s = Start{Oldest: true}
			return nil
		}
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return errors.New(want)
		}
		*s = Start{At: t.UTC()}
		return nil
	case time.Time:
		// The TOML decoder marks a time without an offset by the name of its location.
		if strings.HasSuffix(v.Location().String(), "-local") {
			return errors.New(want)
		}
		*s = Start{At: v.UTC()}
		return nil
	default:
		return errors.New(want)
	}
}
