package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
)

// addJSONFlag gives a command the flag --json.
func addJSONFlag(cmd *cobra.Command, asJSON *bool, what string) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print "+what)
}

// writeJSON writes one JSON document.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// writeList writes a JSON array, an empty one too.
func writeList[T any](w io.Writer, list []T) error {
	return writeJSON(w, append([]T{}, list...))
}

// A table is written in aligned columns. What other programs sent cannot break its lines
// or speak to a terminal.
type table struct {
	w      *tabwriter.Writer
	colour bool
}

// newTable begins a table with these headings, or with none.
func newTable(w io.Writer, headings ...any) *table {
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0), colour: colourful(w)}
	if len(headings) > 0 {
		t.row(headings...)
	}
	return t
}

// row adds a row: text, numbers, times.
func (t *table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(t.w, "\t")
		}
		fmt.Fprint(t.w, t.cell(c))
	}
	fmt.Fprintln(t.w)
}

// field adds a row of a name and a value, unless there is none.
func (t *table) field(name string, value any) {
	if text := t.cell(value); text != nothing && text != "0" {
		t.row(name, value)
	}
}

func (t *table) cell(v any) string {
	switch v := v.(type) {
	case painted:
		if !t.colour {
			return visible(v.text)
		}
		return v.colour + visible(v.text) + plain
	case time.Time:
		return utc(v)
	case string:
		return visible(v)
	default:
		return visible(fmt.Sprint(v))
	}
}

func (t *table) flush() error { return t.w.Flush() }

// A painted cell has a colour where there are colours. So that columns stay aligned,
// either all cells of a column are painted, its heading included, or none.
type painted struct{ text, colour string }

// The colours: sequences of one length.
const (
	plain  = "\x1b[39m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
)

// colourful tells whether what is written to w may have colours (no-color.org).
func colourful(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// nothing stands for what is not there.
const nothing = "-"

// visible is one line of s, as it may be shown on a terminal.
func visible(s string) string {
	if s == "" {
		return nothing
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// shorten cuts s where it is too long for a listing.
func shorten(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// printText prints bytes that somebody sent below a heading, if there are any, with their
// lines.
func printText(w io.Writer, heading string, text admin.Text) {
	if len(text) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", heading)
	for line := range strings.Lines(strings.ToValidUTF8(string(text), string(unicode.ReplacementChar))) {
		fmt.Fprintf(w, "  %s\n", visible(strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    ")))
	}
}

// printEvent prints the JSON of an event below a heading, if there is one.
func printEvent(w io.Writer, event json.RawMessage) error {
	if len(event) == 0 {
		return nil
	}
	var text bytes.Buffer
	if err := json.Indent(&text, event, "", "   "); err != nil {
		return fmt.Errorf("laying out the event: %w", err)
	}
	printText(w, "event", text.Bytes())
	return nil
}

// utc is a time as commands show it.
func utc(t time.Time) string {
	if t.IsZero() {
		return nothing
	}
	return t.UTC().Format(time.RFC3339)
}

// span is a length of time as people say it: two units at most.
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return nothing
	case d < time.Second:
		return fmt.Sprintf("%dms", max(d, time.Millisecond)/time.Millisecond)
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
	}
}

// named names what an event happened to, as people write it.
func named(repository, tag, digest string) string {
	switch {
	case tag != "":
		return repository + ":" + tag
	case digest != "":
		return repository + "@" + digest
	default:
		return repository
	}
}

// number is n for a cell where 0 means that there is none.
func number[N int | uint64](n N) string {
	if n == 0 {
		return nothing
	}
	return fmt.Sprint(n)
}
