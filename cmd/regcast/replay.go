package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
)

func newReplayCommand() *cobra.Command {
	var s server
	var req admin.ReplayRequest
	var ch change
	var asJSON, wait bool
	cmd := &cobra.Command{
		Use:     "replay --endpoint ENDPOINT",
		GroupID: groupOperate,
		Short:   "Deliver stored events to an endpoint again",
		Long: `replay delivers the stored events that the flags select to one endpoint, whether it had
them before or not: with the same ids, the header Regcast-Replay, and the endpoint's filter.
A job of the dispatcher does it beside live events, which keep their place; it goes on
after a restart. "regcast jobs" shows how far it is and ends it.

` + changeHelp + "\n\n" + timeHelp,
		Example: `  regcast replay --endpoint audit --since 2h
  regcast replay --endpoint audit --repository 'team/**' --action push --since 7d --rate 50
  regcast replay --endpoint audit --id 0193a1c4-5f6e-7d2a-8b1c-3e4f5a6b7c8d
  regcast replay --endpoint audit --all --yes --wait`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkReplay(&req); err != nil {
				return err
			}
			return s.ask(cmd.Context(), func(c *client.Client) error {
				out, done, err := ch.run(cmd, "replay to "+visible(req.Endpoint), "event(s)", func(dryRun bool) (admin.Outcome, error) {
					req.DryRun = dryRun
					return c.Replay(cmd.Context(), req)
				})
				if err != nil {
					return listedBy("regcast status", err)
				}
				return replayed(cmd, c, out, done, wait, asJSON, "event(s)", "delivered again, as far as the endpoint's filter lets them")
			})
		},
	}
	addServerFlags(cmd, &s)
	flags := cmd.Flags()
	flags.StringVar(&req.Endpoint, "endpoint", "", "`endpoint` to deliver to")
	flags.StringSliceVar(&req.IDs, "id", nil, "the event with this `id`, or those with several, separated by commas")
	addSelectionFlags(cmd, &req.Selection)
	flags.IntVar(&req.Limit, "limit", 0, "only the oldest so many; 0 is no limit")
	addAllFlag(cmd, &req.All)
	addReplayFlags(cmd, &req.Rate, &wait)
	addChangeFlags(cmd, &ch)
	addJSONFlag(cmd, &asJSON, "the outcome as one JSON object")
	// The error is that of a flag that does not exist.
	_ = cmd.MarkFlagRequired("endpoint")
	return cmd
}

func addReplayFlags(cmd *cobra.Command, rate *float64, wait *bool) {
	flags := cmd.Flags()
	flags.Float64Var(rate, "rate", 0, "events per second at most; 0 is as fast as the endpoint takes them")
	flags.BoolVar(wait, "wait", false, "wait for the end of the job, if there is one, and show how far it is")
}

func checkReplay(r *admin.ReplayRequest) error {
	if err := checkExtent(r.IsZero(), r.All, "--id, --repository, --tag, --action, --actor, --digest, --since or --until"); err != nil {
		return err
	}
	if r.Limit < 0 {
		return usagef("--limit needs 0 or more")
	}
	return checkRate(r.Rate)
}

func checkRate(rate float64) error {
	if !(rate >= 0 && rate <= 1e9) { // NaN too
		return usagef("--rate needs 0 or a number of events per second")
	}
	return nil
}

// replayed prints what a replay of what came to, and waits for the job that does it;
// again is what was done to those that need no job.
func replayed(cmd *cobra.Command, c *client.Client, out admin.Outcome, made, wait, asJSON bool, what, again string) error {
	if !made || out.Job == nil {
		return printOutcome(cmd, out, made, asJSON, what, again)
	}
	switch {
	case wait && asJSON:
	case wait:
		printBegun(cmd.ErrOrStderr(), out, what, again)
	case asJSON:
		return writeJSON(cmd.OutOrStdout(), out)
	default:
		return printBegun(cmd.OutOrStdout(), out, what, again)
	}
	job, err := waitJob(cmd.Context(), c, *out.Job, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if asJSON {
		out.Job = &job
		return writeJSON(cmd.OutOrStdout(), out)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is done: %d event(s), %d delivered, %d given up on\n", visible(job.ID), replaying(out), job.Delivered, job.Dead)
	return err
}

// replaying is how many events the job of out delivers again: a job of events looks at
// others between them as well, and that of dead letters leaves some to other jobs.
func replaying(out admin.Outcome) uint64 { return min(out.Job.Total, out.Count) }

// printBegun prints what a replay has done at once, and what jobs do.
func printBegun(w io.Writer, out admin.Outcome, what, again string) error {
	if out.Done > 0 {
		fmt.Fprintf(w, "%d %s %s\n", out.Done, what, again)
	}
	job := out.Job
	_, err := fmt.Fprintf(w, "%s replays %d %s to %s; regcast jobs shows how far it is\n", visible(job.ID), replaying(out), what, visible(job.Endpoint))
	if begun := out.Done + job.Total; begun < out.Count {
		_, err = fmt.Fprintf(w, "other jobs replay the other %d\n", out.Count-begun)
	}
	return err
}
