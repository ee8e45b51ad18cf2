package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/notifications"
)

func newExplainCommand() *cobra.Command {
	var file, input, only string
	cmd := &cobra.Command{
		Use:     "explain --file EVENT",
		GroupID: groupConfig,
		Short:   "Say which endpoints would get an event, and why not",
		Long: `explain reads an event (an envelope or a single event object, as a registry sends it) and
says for each endpoint of the configuration whether it would be sent, which key filters it
out if not, and the request that would be made. Secrets are not read and print as
<secret>. Nothing is sent and no server is needed.`,
		Example: `  regcast explain --file push.json
  regcast explain --config regcast.toml --file push.json --endpoint audit
  curl -s registry/last-event | regcast explain --file -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			events, err := readEvents(cmd.InOrStdin(), input, cfg.Intake.MaxEvents)
			if err != nil {
				return err
			}
			explained, err := app.Explain(cfg, currentBuild().Version, only, events)
			if err != nil {
				return usageError{err}
			}
			return printExplained(cmd.OutOrStdout(), explained)
		},
	}
	addConfigFlag(cmd, &file)
	cmd.Flags().StringVarP(&input, "file", "f", "", "`file` with the event, - for standard input")
	cmd.Flags().StringVar(&only, "endpoint", "", "explain this `endpoint` only")
	// The error is that of a flag that does not exist.
	_ = cmd.MarkFlagRequired("file")
	return cmd
}

// maxExplained bounds, in bytes, what explain reads.
const maxExplained = 64 << 20

// readEvents reads the events of a file as intake would.
func readEvents(stdin io.Reader, name string, maxEvents int) ([]*notifications.Event, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usageError{err}
		}
		defer f.Close()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, maxExplained+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(body) > maxExplained {
		return nil, usagef("%s is larger than %d MiB", name, maxExplained>>20)
	}
	decoded := notifications.Decode(body, &notifications.DecodeOptions{MaxEvents: maxEvents})
	var errs []error
	for _, bad := range decoded.Bad {
		errs = append(errs, fmt.Errorf("intake would quarantine this as %q: %s", bad.Reason, bad.Detail))
	}
	return decoded.Events, errors.Join(errs...)
}

func printExplained(w io.Writer, explained []app.Explanation) error {
	for i, x := range explained {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s %s %s\n  %s: ", x.Event.Action, what(x.Event), x.Event.ID, x.Endpoint)
		switch {
		case x.FilteredBy != "":
			fmt.Fprintf(w, "not sent: %s\n", x.FilteredBy)
		case x.Disabled:
			fmt.Fprintln(w, "would wait: the endpoint is disabled")
		case x.Request == nil:
			fmt.Fprintf(w, "sent to %s\n", x.URL)
		default:
			fmt.Fprintln(w, "sent, as")
			if err := printRequest(w, x); err != nil {
				return err
			}
		}
	}
	return nil
}

func printRequest(w io.Writer, x app.Explanation) error {
	fmt.Fprintf(w, "    %s %s\n", x.Request.Method, x.Request.URL)
	for _, name := range slices.Sorted(maps.Keys(x.Request.Header)) {
		for _, value := range x.Request.Header[name] {
			fmt.Fprintf(w, "    %s: %s\n", name, value)
		}
	}
	var body bytes.Buffer
	if err := json.Indent(&body, x.Request.Body, "    ", "   "); err != nil {
		return fmt.Errorf("laying out the body: %w", err)
	}
	_, err := fmt.Fprintf(w, "\n    %s\n", body.Bytes())
	return err
}

// what names what an event happened to, as people write it.
func what(e *notifications.Event) string {
	switch {
	case e.Tag != "":
		return e.Repository + ":" + e.Tag
	case e.Digest != "":
		return e.Repository + "@" + string(e.Digest)
	default:
		return e.Repository
	}
}
