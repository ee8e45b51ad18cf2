package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/client"
	"github.com/regcast/regcast/config"
)

// A reloaded is what reload says with --json.
type reloaded struct {
	OK       bool            `json:"ok"`
	Problems []admin.Problem `json:"problems"`
}

func newReloadCommand() *cobra.Command {
	var s server
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "reload",
		GroupID: groupOperate,
		Short:   "Make the dispatcher read its configuration file again",
		Long: `reload makes the dispatcher read its configuration file again, as SIGHUP does: endpoints,
filters, tokens and the log level change without losing an event. A file with a problem,
or with a change that needs a restart, is refused as a whole and the old settings stay;
this command prints what is wrong with it, each problem on one line with its key.

It ends with 2 if there is something wrong with the file.`,
		Example: `  regcast check --config /etc/regcast/regcast.toml && regcast reload`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.ask(cmd.Context(), func(c *client.Client) error {
				err := c.Reload(cmd.Context())
				problems := problemsOf(err)
				if err != nil && len(problems) == 0 {
					return err
				}
				return printReloaded(cmd, problems, asJSON)
			})
		},
	}
	addServerFlags(cmd, &s)
	addJSONFlag(cmd, &asJSON, "one JSON object with the problems")
	return cmd
}

// problemsOf are the problems of the configuration file that a client's error has.
func problemsOf(err error) []admin.Problem {
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return nil
	}
	return e.Problems
}

func printReloaded(cmd *cobra.Command, problems []admin.Problem, asJSON bool) error {
	if asJSON {
		if err := writeJSON(cmd.OutOrStdout(), reloaded{len(problems) == 0, append([]admin.Problem{}, problems...)}); err != nil {
			return err
		}
	}
	if len(problems) > 0 {
		all := make(config.Problems, len(problems))
		for i, p := range problems {
			all[i] = config.Problem(p)
		}
		return all
	}
	if asJSON {
		return nil
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), "configuration reloaded")
	return err
}
