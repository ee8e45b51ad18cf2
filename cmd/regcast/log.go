package main

import (
	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
)

func newLogCommand() *cobra.Command {
	var s server
	var q admin.LogQuery
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "log",
		GroupID: groupOperate,
		Short:   "List what operators did",
		Long: `log lists what operators did, the newest first: each pause, resume, disable, enable, ping,
replay, drop, forget and reload, with the name of the token, the time, how many things it
touched and how it ended. What was only looked at or tried with --dry-run is not in it.`,
		Example: `  regcast log
  regcast log --limit 1000 --json | jq '.[] | select(.action == "dead drop")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(q.Limit); err != nil {
				return err
			}
			return s.ask(cmd.Context(), func(c *client.Client) error { return listLog(cmd, c, q, asJSON) })
		},
	}
	addServerFlags(cmd, &s)
	addLimitFlag(cmd, &q.Limit)
	addJSONFlag(cmd, &asJSON, "one JSON array")
	return cmd
}

func listLog(cmd *cobra.Command, c *client.Client, q admin.LogQuery, asJSON bool) error {
	list, err := c.Log(cmd.Context(), q)
	if err != nil {
		return err
	}
	if asJSON {
		return writeList(cmd.OutOrStdout(), list)
	}
	if len(list) > 0 {
		t := newTable(cmd.OutOrStdout(), "AT", "TOKEN", "ACTION", "ENDPOINT", "COUNT", "JOB", "RESULT", "REQUEST")
		for _, o := range list {
			t.row(o.At, o.Token, o.Action, o.Endpoint, number(o.Count), o.Job, shorten(result(&o)), shorten(string(o.Request)))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	noteLimit(cmd, len(list), q.Limit, "operations")
	return nil
}

// result says how an operation ended.
func result(o *admin.Operation) string {
	switch {
	case o.Ended.IsZero():
		return "not ended"
	case o.Error != "":
		return o.Error
	}
	return "done"
}
