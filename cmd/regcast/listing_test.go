package main

import (
	"bytes"
	"os"
	"testing"
	"time"
	"unicode/utf8"
)

func TestTableOnATerminal(t *testing.T) {
	var out bytes.Buffer
	table := &table{w: newTable(&out).w, colour: true}
	table.row("ENDPOINT", painted{"STATE", plain}, "PENDING")
	table.row("audit", painted{"ok", green}, 3)
	table.row("scan", painted{"misdirected", red}, 12)
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	want := "ENDPOINT  \x1b[39mSTATE\x1b[39m        PENDING\n" +
		"audit     \x1b[32mok\x1b[39m           3\n" +
		"scan      \x1b[31mmisdirected\x1b[39m  12\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

// The null device is a character device, as a terminal is.
func TestColourful(t *testing.T) {
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if !colourful(terminal) {
		t.Error("no colours on a terminal")
	}
	if colourful(file) || colourful(new(bytes.Buffer)) {
		t.Error("colours elsewhere")
	}
	t.Setenv("NO_COLOR", "1")
	if colourful(terminal) {
		t.Error("colours despite NO_COLOR")
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if colourful(terminal) {
		t.Error("colours on a terminal that has none")
	}
}

func TestSpan(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "-", -1: "-", 0.0002: "1ms", 0.0124: "12ms", 0.9999: "999ms", 1: "1s", 59.9: "59s", 60: "1m00s", 3599: "59m59s",
		3600: "1h00m", 86399: "23h59m", 86400: "1d00h", 3 * 86400: "3d00h", 1e9: "11574d01h",
	} {
		if got := span(seconds); got != want {
			t.Errorf("%v seconds: got %s, want %s", seconds, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	long := ""
	for range 100 {
		long += "é"
	}
	if got := shorten(long); utf8.RuneCountInString(got) != 80 || !utf8.ValidString(got) {
		t.Errorf("got %q", got)
	}
	if got := shorten(long[:160]); got != long[:160] {
		t.Errorf("got %q", got)
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.FixedZone("", 7200))
	for text, want := range map[string]string{
		"2026-11-20T12:00:00+02:00": "2026-11-20T10:00:00Z",
		"2026-11-20T12:00:00.5Z":    "2026-11-20T12:00:00.5Z",
		"2h":                        "2026-11-21T06:00:00Z",
		"1h30m":                     "2026-11-21T06:30:00Z",
		"0s":                        "2026-11-21T08:00:00Z",
		"7d":                        "2026-11-14T08:00:00Z",
		"":                          "", "-2h": "", "-1d": "", "d": "", "1.5d": "", "99999d": "", "2026-11-20": "", "now": "", "3": "",
	} {
		got, err := parseTime(text, now)
		if err != nil {
			if want != "" {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if s := got.Format(time.RFC3339Nano); s != want {
			t.Errorf("%q: got %s, want %q", text, s, want)
		}
	}
}
