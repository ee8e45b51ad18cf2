package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/trial"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
)

// sendFlags are the flags of send.
type sendFlags struct {
	to, file, tokenFile       string
	count, concurrency, batch int
	rate                      float64
}

func newSendCommand() *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use:     "send --to URL",
		GroupID: groupTry,
		Short:   "Post sample events, or those of a file, as a registry would",
		Long: `send posts events to an intake, or to anything else that takes the notifications of a
CNCF distribution registry: samples, each with its own id, or those of a file that holds
an envelope or JSON lines.

It prints how many were accepted and failed, and how many a second that was, and ends
with 1 if any failed. Nothing is repeated, so that what failed shows.`,
		Example: `  regcast send --to http://127.0.0.1:8410/events
  regcast send --to http://127.0.0.1:8410/events --count 10000 --concurrency 16
  regcast send --to https://regcast.example/events --token-file token --file events.jsonl
  regcast journal export regcast-data | regcast send --to http://127.0.0.1:8410/events --file -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return send(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "`URL` of the intake")
	flags.IntVar(&f.count, "count", 1, "sample events to send")
	flags.IntVar(&f.concurrency, "concurrency", 1, "requests in flight; with more than one, events may overtake each other")
	flags.IntVar(&f.batch, "batch", 1, "events per request")
	flags.Float64Var(&f.rate, "rate", 0, "events per second at most; 0 sends as fast as it goes")
	flags.StringVarP(&f.file, "file", "f", "", "send the events of this `file` instead, - for standard input")
	flags.StringVar(&f.tokenFile, "token-file", "", "`file` with the token that the intake wants")
	// The error is that of a flag that does not exist.
	_ = cmd.MarkFlagRequired("to")
	cmd.MarkFlagsMutuallyExclusive("count", "file")
	return cmd
}

// The bounds of what send is asked for.
const (
	maxSendConcurrency = 1024
	maxSendBatch       = 10_000
)

func (f sendFlags) check() error {
	to, err := url.Parse(f.to)
	switch {
	case err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "":
		return usagef("--to needs an http or https URL, such as http://127.0.0.1:8410/events")
	case f.count < 1:
		return usagef("--count needs at least 1")
	case f.concurrency < 1 || f.concurrency > maxSendConcurrency:
		return usagef("--concurrency needs 1 to %d", maxSendConcurrency)
	case f.batch < 1 || f.batch > maxSendBatch:
		return usagef("--batch needs 1 to %d", maxSendBatch)
	case !(f.rate >= 0 && f.rate <= 1e9): // NaN too
		return usagef("--rate needs 0 or a number of events per second")
	}
	return nil
}

func send(cmd *cobra.Command, f sendFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	opts := trial.SendOptions{
		URL: f.to, UserAgent: "regcast/" + currentBuild().Version,
		Concurrency: f.concurrency, Batch: f.batch, Rate: f.rate,
	}
	if f.tokenFile != "" {
		token, err := endpoints.SecretFile(f.tokenFile)()
		if err != nil {
			return usageError{err}
		}
		opts.Token = token
	}
	source, total, closeSource, err := f.source(cmd.InOrStdin())
	if err != nil {
		return err
	}
	defer closeSource()

	bar := newProgress(cmd.ErrOrStderr(), total, "sending")
	opts.Progress = bar.add
	sent, err := trial.Send(cmd.Context(), source, opts)
	bar.finish()
	fmt.Fprintf(cmd.OutOrStdout(), "accepted %d, duplicates %d, quarantined %d, failed %d, %.1f events/s\n",
		sent.Accepted, sent.Duplicates, sent.Quarantined, sent.Failed, sent.Rate())
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted after %d event(s)", sent.Total())
	case err != nil && sent.Failed > 0:
		return fmt.Errorf("%d event(s) failed: %w", sent.Failed, err)
	}
	return err
}

// source returns the events to send and how many they are, -1 if that shows only at
// their end.
func (f sendFlags) source(stdin io.Reader) (source iter.Seq2[*notifications.Event, error], total int, closeSource func() error, err error) {
	closeSource = func() error { return nil }
	switch f.file {
	case "":
		return trial.Samples(f.count), f.count, closeSource, nil
	case "-":
		return trial.Read(stdin), -1, closeSource, nil
	}
	file, err := os.Open(f.file)
	if err != nil {
		return nil, 0, nil, usageError{err}
	}
	return trial.Read(file), -1, file.Close, nil
}
