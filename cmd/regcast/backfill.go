package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/backfill"
	"github.com/regcast/regcast/cmd/internal/client"
	"github.com/regcast/regcast/notifications/registry"
	"github.com/regcast/regcast/notifications/registry/auth"
)

// backfillFlags are the flags of backfill.
type backfillFlags struct {
	from                       string
	endpoints, repositories    []string
	authFile                   string
	plainHTTP, restart, dryRun bool
	concurrency                int
	rate                       float64
	asJSON                     bool
}

func newBackfillCommand() *cobra.Command {
	var s server
	var f backfillFlags
	cmd := &cobra.Command{
		Use:     "backfill --from REGISTRY --endpoint ENDPOINT",
		GroupID: groupOperate,
		Short:   "Make events of what a registry had before there were events",
		Long: `backfill walks a registry and has the dispatcher store a push event for each manifest and
each tag that it finds. Only the named endpoints get them, by their filters, now or by a
later replay. The events are marked "regcast":{"origin":"backfill"}; nobody is their actor,
and their time is now: registries do not say when something was pushed. What is stored
already is not stored again, so that backfill can be repeated.

Repositories come from the registry's catalog, or are named by --repository without a
wildcard, which needs none. A manifest is found by its tag or by an index that has one;
registries do not list others. Credentials are those of docker login.

When it is interrupted, the same command goes on behind the last repository that was
finished. It ends with 1 if the registry did not give all that it has.`,
		Example: `  regcast backfill --from registry.example:5000 --endpoint audit --dry-run
  regcast backfill --from registry.example:5000 --endpoint audit
  regcast backfill --from http://127.0.0.1:5000 --endpoint audit --endpoint scan --repository 'team/**'
  regcast backfill --from ghcr.io --endpoint audit --repository owner/app --rate 10`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBackfill(cmd, &s, &f) },
	}
	addServerFlags(cmd, &s)
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "`registry` to walk: a host, or a URL that says https or http")
	flags.StringSliceVar(&f.endpoints, "endpoint", nil, "`endpoint` that gets the events, or those with several")
	flags.StringSliceVar(&f.repositories, "repository", nil, "only repositories that match this `glob`, or one of several: * within a path segment, ** across")
	flags.StringVar(&f.authFile, "auth-file", "", "`file` with credentials, as docker login writes it (default Docker's own)")
	flags.BoolVar(&f.plainHTTP, "plain-http", false, "speak http to a registry whose URL does not say")
	flags.IntVar(&f.concurrency, "concurrency", 4, "requests to the registry at a time")
	flags.Float64Var(&f.rate, "rate", 0, "requests to the registry per second at most; 0 is no limit")
	flags.BoolVar(&f.restart, "restart", false, "begin with the first repository, even if the last walk was interrupted")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only say what would be stored")
	addJSONFlag(cmd, &f.asJSON, "the outcome as one JSON object")
	// The error is that of a flag that does not exist.
	_ = cmd.MarkFlagRequired("from")
	_ = cmd.MarkFlagRequired("endpoint")
	return cmd
}

// maxBackfillConcurrency bounds what backfill is asked for.
const maxBackfillConcurrency = 64

// check looks at the flags and completes the registry's URL.
func (f *backfillFlags) check() error {
	if f.concurrency < 1 || f.concurrency > maxBackfillConcurrency {
		return usagef("--concurrency needs 1 to %d", maxBackfillConcurrency)
	}
	if !(f.rate >= 0 && f.rate <= 1e9) { // NaN too
		return usagef("--rate needs 0 or a number of requests per second")
	}
	if !strings.Contains(f.from, "://") {
		scheme := "https://"
		if f.plainHTTP {
			scheme = "http://"
		}
		f.from = scheme + f.from
	}
	u, err := backfill.ParseRegistry(f.from)
	if err != nil {
		return usagef("--from: %w", err)
	}
	f.from = u.String()
	f.endpoints = slices.Compact(slices.Sorted(slices.Values(f.endpoints)))
	return nil
}

func runBackfill(cmd *cobra.Command, s *server, f *backfillFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	selection, err := backfill.Select(f.repositories)
	if err != nil {
		return usagef("--repository: %w", err)
	}
	if f.authFile != "" {
		if _, err := os.Stat(f.authFile); err != nil {
			return usagef("--auth-file: %w", err)
		}
	}
	from, err := backfill.Connect(f.from, &backfill.ConnectOptions{
		Credentials: auth.DockerConfig(f.authFile), UserAgent: "regcast/" + currentBuild().Version,
		Concurrency: f.concurrency, Rate: f.rate,
	})
	if err != nil {
		return usageError{err}
	}
	defer from.CloseIdleConnections()
	return s.ask(cmd.Context(), func(c *client.Client) error {
		b := &backfilling{
			backfillFlags: f, dispatcher: c, log: cmd.ErrOrStderr(),
			walk: backfill.Walk{Client: from, Selection: selection, Concurrency: f.concurrency},
		}
		return b.run(cmd)
	})
}

// A backfilling is a backfill at work.
type backfilling struct {
	*backfillFlags
	dispatcher *client.Client
	walk       backfill.Walk
	log        io.Writer
	bar        *progress

	accepted, duplicates uint64
	notes                int
	before               int // what could not be read before this walk went on
}

func (b *backfilling) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	begun, err := b.step(ctx, admin.BackfillRequest{Step: admin.BackfillBegin, Restart: b.restart})
	if err != nil {
		return listedBy("regcast status", err)
	}
	if err := b.walk.Client.Ping(ctx); err != nil {
		return adviseRegistry(err)
	}
	if begun.After != "" {
		unread := ""
		if begun.Unreadable > 0 {
			unread = fmt.Sprintf("%d before could not be read; ", begun.Unreadable)
		}
		fmt.Fprintf(b.log, "going on behind %s; %s--restart begins with the first repository\n", visible(begun.After), unread)
	}
	b.walk.After, b.walk.Unreadable, b.before = begun.After, b.note, begun.Unreadable
	b.bar = newProgress(b.log, -1, "0 repositories, 0 tags, events")
	err = b.walk.Run(ctx, b.emit)
	b.bar.finish()
	if err == nil {
		_, err = b.step(ctx, admin.BackfillRequest{Step: admin.BackfillEnd})
	}
	counts := b.walk.Counts()
	if perr := b.print(cmd.OutOrStdout(), counts, begun.After); perr != nil {
		return perr
	}
	switch {
	case err != nil && !b.dryRun:
		fmt.Fprintln(b.log, "the same command goes on where this one ended")
		return adviseRegistry(err)
	case err != nil:
		return adviseRegistry(err)
	case b.before > 0:
		return fmt.Errorf("%d of what the registry lists could not be read, %d of it before the interruption; what could is done", b.before+counts.Unreadable, b.before)
	case counts.Unreadable > 0:
		return fmt.Errorf("%d of what the registry lists could not be read; what could is done", counts.Unreadable)
	}
	return nil
}

// step asks the dispatcher, and waits for it while it is not there.
func (b *backfilling) step(ctx context.Context, r admin.BackfillRequest) (admin.Backfilled, error) {
	r.From, r.Endpoints, r.Repositories, r.DryRun = b.from, b.endpoints, b.repositories, b.dryRun
	for {
		out, err := b.dispatcher.Backfill(ctx, r)
		if err == nil || r.Step == admin.BackfillBegin {
			return out, err
		}
		if err := awaitServer(ctx, b.dispatcher, err, b.log); err != nil {
			return out, err
		}
	}
}

func (b *backfilling) emit(ctx context.Context, batch backfill.Batch) error {
	r := admin.BackfillRequest{Step: admin.BackfillStore, Found: batch.Found, Finished: batch.Finished}
	if r.Finished != "" {
		r.Unreadable = b.before + batch.Unreadable
	}
	out, err := b.step(ctx, r)
	if err != nil {
		return err
	}
	b.accepted += out.Accepted
	b.duplicates += out.Duplicates
	counts := b.walk.Counts()
	b.bar.describe(fmt.Sprintf("%d repositories, %d tags, events", counts.Repositories, counts.Tags))
	b.bar.add(len(batch.Found) * len(b.endpoints))
	return nil
}

// maxNotes bounds what is printed of what cannot be read; all is counted.
const maxNotes = 20

// note says what cannot be read.
func (b *backfilling) note(what string, err error) {
	switch n := b.notes; {
	case n < maxNotes:
		fmt.Fprintf(b.log, "passing by %s: %s\n", visible(what), visible(err.Error()))
	case n == maxNotes:
		fmt.Fprintln(b.log, "passing by more; the end says how many")
	}
	b.notes++
}

// print says what the backfill came to.
func (b *backfilling) print(w io.Writer, counts backfill.Counts, after string) error {
	if b.asJSON {
		return writeJSON(w, struct {
			From  string `json:"from"`
			After string `json:"after,omitempty"` // began behind this repository
			backfill.Counts
			Before     int    `json:"unreadable_before,omitempty"` // could not be read up to there
			Accepted   uint64 `json:"accepted"`
			Duplicates uint64 `json:"duplicates"`
			DryRun     bool   `json:"dry_run,omitempty"`
		}{b.from, after, counts, b.before, b.accepted, b.duplicates, b.dryRun})
	}
	stored := "stored"
	if b.dryRun {
		stored = "would be stored"
	}
	_, err := fmt.Fprintf(w, "%d repositories, %d tags, %d manifests: %d event(s) %s, %d were there already\n",
		counts.Repositories, counts.Tags, counts.Manifests, b.accepted, stored, b.duplicates)
	return err
}

// speaksPlain tells whether a registry that was asked by https answered in another way.
func speaksPlain(err error) bool {
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok || errors.Is(err, http.ErrSchemeMismatch)
}

// adviseRegistry adds to what a registry answered what to do about it.
func adviseRegistry(err error) error {
	switch {
	case errors.Is(err, backfill.ErrNoCatalog):
		return fmt.Errorf("%w; name each with --repository, without a wildcard", err)
	case errors.Is(err, registry.ErrUnauthorized):
		return fmt.Errorf("%w; docker login to it first, or name the file with its credentials by --auth-file", err)
	case speaksPlain(err):
		return fmt.Errorf("%w; if it speaks http, say so with http:// or --plain-http", err)
	}
	return err
}
