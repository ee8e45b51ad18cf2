package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/trial"
	"github.com/regcast/regcast/endpoints"
	"github.com/regcast/regcast/notifications"
	"github.com/regcast/regcast/notifications/verify"
)

// receiveFlags are the flags of receive.
type receiveFlags struct {
	listen                   string
	status, failFirst, count int
	delay                    time.Duration
	secretFile               string
	json                     bool
}

func newReceiveCommand() *cobra.Command {
	var f receiveFlags
	cmd := &cobra.Command{
		Use:     "receive",
		GroupID: groupTry,
		Short:   "Be a webhook consumer that prints what arrives, or misbehaves",
		Long: `receive takes webhook requests and prints each event in them: a line with time, action,
name, digest and actor, or with --json the event as it came. It is what to point an
endpoint at while trying out a configuration.

It can misbehave on purpose: answer with a --status, to all requests or to those that
--fail-first counts, or only after a --delay. Events in requests that it refuses are not
printed. With --secret-file it verifies signatures, by Standard Webhooks or in the header
X-Hub-Signature-256, and answers 401 to requests without a valid one. With --count it
ends with 0 once that many different events were accepted; interrupted before, with 1.`,
		Example: `  regcast receive
  regcast receive --fail-first 3                     # 503 three times, then 200
  regcast receive --status 429 --delay 2s
  regcast receive --secret-file key                  # as signing.secret_files of the endpoint
  regcast receive --listen 127.0.0.1:9000 --count 10 --json > events.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return receive(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8412", "`address` to listen on")
	flags.IntVar(&f.status, "status", 0, "answer with this status `code`")
	flags.IntVar(&f.failFirst, "fail-first", 0, "refuse this many requests, with --status or 503, and accept the rest")
	flags.DurationVar(&f.delay, "delay", 0, "wait before each answer")
	flags.IntVar(&f.count, "count", 0, "end after this many different events")
	flags.StringVar(&f.secretFile, "secret-file", "", "verify signatures with the secret in this `file`")
	flags.BoolVar(&f.json, "json", false, "print one JSON event per line")
	return cmd
}

func (f receiveFlags) check() error {
	switch {
	case f.status != 0 && (f.status < 200 || f.status > 599):
		return usagef("--status needs 200 to 599")
	case f.failFirst < 0 || f.count < 0 || f.delay < 0:
		return usagef("--fail-first, --count and --delay need 0 or more")
	case f.failFirst > 0 && f.status/100 == 2:
		return usagef("--fail-first with --status %d would refuse nothing", f.status)
	case f.count > 0 && f.failFirst == 0 && f.status != 0 && f.status/100 != 2:
		return usagef("--count would never be reached: with --status %d nothing is accepted; add --fail-first", f.status)
	}
	return nil
}

func receive(cmd *cobra.Command, f receiveFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.failFirst > 0 && f.status == 0 {
		f.status = http.StatusServiceUnavailable
	}
	printEvents, err := f.printer(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	verifySignature, err := f.verifier()
	if err != nil {
		return err
	}
	stderr := cmd.ErrOrStderr()
	receiver := trial.NewReceiver(trial.ReceiverOptions{
		Status: f.status, FailFirst: f.failFirst, Delay: f.delay, Count: f.count,
		Verify: verifySignature, Print: printEvents,
		Refused: func(line string) { fmt.Fprintln(stderr, line) },
	})
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return usageError{err}
	}
	terms := ""
	if f.secretFile != "" {
		terms = ", with a valid signature only"
	}
	fmt.Fprintf(stderr, "receiving on http://%s/%s\n", listener.Addr(), terms)
	if err := serveUntil(cmd.Context(), receiver.Done(), listener, receiver); err != nil {
		return err
	}
	got := receiver.Received()
	fmt.Fprintf(stderr, "received %d event(s) in %d request(s), of which %d refused\n", got.Events, got.Requests, got.Refused)
	select {
	case <-receiver.Done():
	default:
		if f.count > 0 {
			return fmt.Errorf("interrupted before %d different event(s) were accepted", f.count)
		}
	}
	return nil
}

// serveUntil serves h until ctx ends or done is closed, and then until the requests
// under way are answered, 10 s at most.
func serveUntil(ctx context.Context, done <-chan struct{}, listener net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("receiving: %w", err)
	case <-done:
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := server.Shutdown(limit)
	if err != nil {
		err = errors.Join(fmt.Errorf("stopping: %w", err), server.Close())
	}
	<-served
	return err
}

// verifier returns what checks signatures with the secret in f.secretFile, nil without
// one. The file is read again when it changes.
func (f receiveFlags) verifier() (func(http.Header, []byte) error, error) {
	if f.secretFile == "" {
		return nil, nil
	}
	secret := endpoints.SecretFile(f.secretFile)
	open := func(opts *verify.Options) (*verify.Verifier, error) {
		value, err := secret()
		if err != nil {
			return nil, err
		}
		return verify.New([]string{value}, opts)
	}
	if _, err := open(nil); err != nil {
		return nil, usagef("--secret-file: %w", err)
	}
	return func(header http.Header, body []byte) error {
		var opts verify.Options
		if header.Get(verify.HeaderSignature) == "" && header.Get(verify.HeaderHub) != "" {
			opts.Header = verify.HeaderHub
		}
		v, err := open(&opts)
		if err != nil {
			return err
		}
		return v.Verify(header, body)
	}, nil
}

// printer returns what prints events: the line of a console endpoint, or JSON.
func (f receiveFlags) printer(out io.Writer) (func([]*notifications.Event) error, error) {
	if f.json {
		return func(events []*notifications.Event) error {
			var lines []byte
			for _, e := range events {
				lines = append(e.AppendJSON(lines), '\n')
			}
			_, err := out.Write(lines)
			return err
		}, nil
	}
	console, err := endpoints.NewEndpoint("receive", "console:", &endpoints.Options{Console: out})
	if err != nil {
		return nil, err
	}
	return func(events []*notifications.Event) error { return console.Write(context.Background(), events) }, nil
}
