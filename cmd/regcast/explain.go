package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/config"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
)

func newExplainCommand() *cobra.Command {
	var file, input, only string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "explain --file EVENT",
		GroupID: groupConfig,
		Short:   "Say which endpoints would get an event, and why not",
		Long: `explain reads events (an envelope or a single event object, as a registry sends it) and
says for each endpoint of the configuration whether it would be sent, which key filters it
out if not, and the request that would be made, or what a mirror would copy. Secrets are not read and print as
<secret>. Nothing is sent and no server is needed. A file does not say how an event was
stored: explain judges a backfilled one as if it came by intake.

With --json it prints one array that has an object for each event and endpoint.

It ends with 1 if there is something in the file that intake could not read.`,
		Example: `  regcast explain --file push.json
  regcast explain --config regcast.toml --file push.json --endpoint audit
  regcast journal export regcast-data | tail -n 1 | regcast explain --file -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			if cfg.File() == "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "no configuration file found: this is about the built-in trial of regcast serve")
			}
			decoded, err := readEvents(cmd.InOrStdin(), input, &cfg.Intake)
			if err != nil {
				return err
			}
			explanations, err := app.Explain(cfg, currentBuild().Version, only, decoded.Events)
			if err != nil {
				return usageError{err}
			}
			output := printExplained
			if asJSON {
				output = writeExplained
			}
			if err := output(cmd.OutOrStdout(), explanations); err != nil {
				return err
			}
			return unreadable(input, decoded)
		},
	}
	addConfigFlag(cmd, &file)
	cmd.Flags().StringVarP(&input, "file", "f", "", "`file` with the event, - for standard input")
	cmd.Flags().StringVar(&only, "endpoint", "", "explain this `endpoint` only")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	// The error is that of a flag that does not exist.
	_ = cmd.MarkFlagRequired("file")
	return cmd
}

// maxExplained bounds, in bytes, what explain reads.
const maxExplained = 64 << 20

// readEvents reads the events of a file as intake would.
func readEvents(stdin io.Reader, name string, limits *config.Intake) (d notifications.Decoded, err error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return d, usageError{err}
		}
		defer f.Close()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, maxExplained+1))
	if err != nil {
		return d, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(body) > maxExplained {
		return d, usagef("%s is larger than %d MiB", name, maxExplained>>20)
	}
	return notifications.Decode(body, &notifications.DecodeOptions{
		MaxEvents: limits.MaxEvents, MaxEventBytes: int(limits.MaxEvent),
	}), nil
}

// unreadable is the error that says what intake would put into quarantine, nil if nothing.
func unreadable(name string, d notifications.Decoded) error {
	if len(d.Bad) == 0 {
		return nil
	}
	if name == "-" {
		name = "standard input"
	}
	return fmt.Errorf("%s: intake would put %d part(s) into quarantine, the first as %s: %s", name, len(d.Bad), d.Bad[0].Reason, d.Bad[0].Detail)
}

func printExplained(w io.Writer, list []app.Explanation) error {
	width := 0
	for _, x := range list {
		width = max(width, len(x.Endpoint))
	}
	var last *notifications.Event
	for _, x := range list {
		if x.Event != last {
			if last != nil {
				fmt.Fprintln(w)
			}
			last = x.Event
			fmt.Fprintf(w, "%s %s %s\n", x.Event.Action, what(x.Event), x.Event.ID)
		}
		fmt.Fprintf(w, "  %-*s  %s\n", width, x.Endpoint, fate(x))
		if x.Request != nil && !x.Disabled {
			if err := printRequest(w, x.Request); err != nil {
				return err
			}
		}
	}
	return nil
}

// An explained is what explain says with --json of one event at one endpoint.
type explained struct {
	Event      *notifications.Event `json:"event"`
	Endpoint   string               `json:"endpoint"`
	URL        string               `json:"url"`
	Outcome    string               `json:"outcome"` // sent, written, mirrored, filtered, or waits while the endpoint is disabled
	FilteredBy string               `json:"filtered_by,omitempty"`
	Why        string               `json:"why,omitempty"`
	Does       string               `json:"does,omitempty"` // of a mirror
	Request    *explainedRequest    `json:"request,omitempty"`
}

type explainedRequest struct {
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Header http.Header     `json:"header"`
	Body   json.RawMessage `json:"body"`
}

func writeExplained(w io.Writer, list []app.Explanation) error {
	out := make([]explained, len(list))
	for i, x := range list {
		out[i] = explained{Event: x.Event, Endpoint: x.Endpoint, URL: x.URL, Outcome: "sent", FilteredBy: x.FilteredBy, Why: x.Why, Does: x.Does}
		switch {
		case x.FilteredBy != "":
			out[i].Outcome = "filtered"
		case x.Disabled:
			out[i].Outcome = "waits"
		case x.Does != "":
			out[i].Outcome = "mirrored"
		case x.Request == nil:
			out[i].Outcome = "written"
		}
		if r := x.Request; r != nil {
			out[i].Request = &explainedRequest{Method: r.Method, URL: r.URL, Header: r.Header, Body: r.Body}
		}
	}
	return writeJSON(w, out)
}

// fate says in a few words what becomes of an event at an endpoint.
func fate(x app.Explanation) string {
	switch {
	case x.Why != "":
		return x.Why
	case x.FilteredBy != "":
		return "not sent: filtered by " + x.FilteredBy
	case x.Disabled:
		return "waits until the endpoint is enabled"
	case x.Does != "":
		return x.Does
	case x.Request == nil:
		return "written to " + x.URL
	default:
		return "sent:"
	}
}

func printRequest(w io.Writer, r *endpoints.Preview) error {
	fmt.Fprintf(w, "    %s %s\n", r.Method, r.URL)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			fmt.Fprintf(w, "    %s: %s\n", name, value)
		}
	}
	var body bytes.Buffer
	if err := json.Indent(&body, r.Body, "    ", "   "); err != nil {
		return fmt.Errorf("laying out the body: %w", err)
	}
	_, err := fmt.Fprintf(w, "\n    %s\n", body.Bytes())
	return err
}

// what names what an event happened to, as people write it.
func what(e *notifications.Event) string { return named(e.Repository, e.Tag, string(e.Digest)) }
