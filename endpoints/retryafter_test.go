package endpoints

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	const limit = time.Hour
	for _, c := range []struct {
		value, date string
		want        time.Duration
		ok          bool
	}{
		{"", "", 0, false},
		{"   ", "", 0, false},
		{"0", "", time.Second, true},
		{"1", "", time.Second, true},
		{"120", "", 2 * time.Minute, true},
		{" 120 ", "", 2 * time.Minute, true},
		{"3601", "", limit, true},
		{"99999999999999999999999999", "", limit, true},
		{"9223372036854775807", "", limit, true},
		{"-5", "", 0, false},
		{"+5", "", 0, false},
		{"1.5", "", 0, false},
		{"5s", "", 0, false},
		{"soon", "", 0, false},
		{"٣", "", 0, false},
		{"Sat, 21 Nov 2026 08:02:00 GMT", "", 2 * time.Minute, true},
		{"Saturday, 21-Nov-26 08:02:00 GMT", "", 2 * time.Minute, true},
		{"Sat Nov 21 08:02:00 2026", "", 2 * time.Minute, true},
		{"Sat, 21 Nov 2026 07:00:00 GMT", "", time.Second, true},
		{"Sat, 21 Nov 2099 07:00:00 GMT", "", limit, true},
		{"Sat, 21 Nov 2026 18:02:00 GMT", "Sat, 21 Nov 2026 18:00:00 GMT", 2 * time.Minute, true}, // their clock
		{"Sat, 21 Nov 2026 08:02:00 GMT", "yesterday", 2 * time.Minute, true},
		{"Sat, 31 Nov 2026 08:02:00 GMT", "", 0, false},
	} {
		header := http.Header{"Retry-After": {c.value}, "Date": {c.date}}
		if got, ok := retryAfter(header, now, limit); got != c.want || ok != c.ok {
			t.Errorf("Retry-After %q, Date %q: %v, %v, want %v, %v", c.value, c.date, got, ok, c.want, c.ok)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"", "0", "7", "-1", "1e9", "Sat, 21 Nov 2026 08:02:00 GMT"} {
		f.Add(value, "Sat, 21 Nov 2026 08:00:00 GMT", int64(time.Hour))
	}
	f.Fuzz(func(t *testing.T, value, date string, limit int64) {
		if limit < int64(time.Second) {
			t.Skip("not a limit")
		}
		wait, ok := retryAfter(http.Header{"Retry-After": {value}, "Date": {date}}, time.Now(), time.Duration(limit))
		if ok && (wait < minRetryAfter || wait > time.Duration(limit)) || !ok && wait != 0 {
			t.Errorf("%v, %v is out of bounds", wait, ok)
		}
	})
}
