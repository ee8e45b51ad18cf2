package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
)

func newJobsCommand() *cobra.Command {
	var s server
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "jobs",
		GroupID: groupOperate,
		Short:   "List the jobs of replay, or cancel one",
		Long: `jobs lists the jobs that deliver events again, those that run and those that ended lately,
the newest first: of how many events each has to look at it is done with how many, and
what became of these.`,
		Example: `  regcast jobs
  regcast jobs cancel job7
  regcast jobs --json | jq '.[] | select(.state == "running")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.ask(cmd.Context(), func(c *client.Client) error { return listJobs(cmd, c, asJSON) })
		},
	}
	addServerFlags(cmd, &s)
	addJSONFlag(cmd, &asJSON, "one JSON array")
	cmd.AddCommand(newJobsCancelCommand())
	return cmd
}

func listJobs(cmd *cobra.Command, c *client.Client, asJSON bool) error {
	list, err := c.Jobs(cmd.Context())
	switch {
	case err != nil:
		return err
	case asJSON:
		return writeList(cmd.OutOrStdout(), list)
	case len(list) == 0:
		fmt.Fprintln(cmd.ErrOrStderr(), "no jobs")
		return nil
	}
	t := newTable(cmd.OutOrStdout(), "ID", "KIND", "ENDPOINT", "STATE", "DONE", "TOTAL", "DELIVERED", "DEAD", "CREATED", "ENDED", "ERROR")
	for _, j := range list {
		t.row(j.ID, j.Kind, j.Endpoint, j.State, j.Done, j.Total, j.Delivered, j.Dead, j.Created, j.Ended, shorten(j.Error))
	}
	return t.flush()
}

func newJobsCancelCommand() *cobra.Command {
	var s server
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "cancel ID",
		Short: "End a job",
		Long: `cancel ends a job and prints how far it came. What it has delivered stays delivered. To
cancel a job that has ended is no error.`,
		Example: `  regcast jobs cancel job7`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.ask(cmd.Context(), func(c *client.Client) error {
				j, err := c.CancelJob(cmd.Context(), args[0])
				if err != nil {
					return listedBy("regcast jobs", err)
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), j)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s after %d of %d event(s), %d delivered, %d given up on\n",
					visible(j.ID), visible(string(j.State)), j.Done, j.Total, j.Delivered, j.Dead)
				return err
			})
		},
	}
	addServerFlags(cmd, &s)
	addJSONFlag(cmd, &asJSON, "the job as one JSON object")
	return cmd
}

// jobEvery is how often a job is asked how far it is.
const jobEvery = time.Second

// waitJob shows how far a job is until it has ended, which it does after a restart of the
// dispatcher, too. Its error says how, unless it is done.
func waitJob(ctx context.Context, c *client.Client, job admin.Job, w io.Writer) (admin.Job, error) {
	bar := newProgress(w, int(job.Total), visible(job.ID))
	defer bar.finish()
	shown := uint64(0)
	for {
		bar.add(int(job.Done - min(shown, job.Done)))
		shown = max(shown, job.Done)
		if job.State != admin.JobRunning {
			break
		}
		select {
		case <-ctx.Done():
			return job, ctx.Err()
		case <-time.After(jobEvery):
		}
		now, err := c.Job(ctx, job.ID)
		if err = awaitServer(ctx, c, err, w); err != nil {
			return job, err
		}
		if now.ID != "" { // else the dispatcher was away, and is asked again
			job = now
		}
	}
	switch job.State {
	case admin.JobDone:
		return job, nil
	case admin.JobCanceled:
		return job, fmt.Errorf("%s was canceled after %d of %d event(s)", job.ID, job.Done, job.Total)
	}
	return job, fmt.Errorf("%s failed: %s", job.ID, job.Error)
}
