package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/cmd/internal/client"
)

func newPingCommand() *cobra.Command {
	var s server
	var file, sample string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ping ENDPOINT",
		GroupID: groupOperate,
		Short:   "Send an endpoint a test event and print the answer",
		Long: `ping sends an event with the action "ping" and the header "Regcast-Test: true" to an
endpoint, whatever its filter and its state say, and prints the answer. The event is
stored nowhere and counted nowhere, but an endpoint that is held and accepts it is tried
again at once.

The dispatcher sends it, from where it runs; with --config this command does, as that
file says, and no dispatcher is needed. It ends with 1 unless the endpoint accepts.`,
		Example: `  regcast ping audit
  regcast ping audit --sample delete
  regcast ping audit --config regcast.toml      # before it is in service`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var pong admin.Pong
			var err error
			if file != "" {
				pong, err = pingAlone(cmd.Context(), file, args[0], sample)
			} else {
				err = s.ask(cmd.Context(), func(c *client.Client) error {
					pong, err = c.Ping(cmd.Context(), args[0], sample)
					return listedBy("regcast status", err)
				})
			}
			if err != nil {
				return err
			}
			return printPong(cmd, args[0], &pong, asJSON)
		},
	}
	addServerFlags(cmd, &s)
	flags := cmd.Flags()
	flags.StringVar(&sample, "sample", "push", "what the `event` looks like: push, pull, mount or delete")
	flags.StringVarP(&file, "config", "c", "", "send it from here, as this configuration `file` says")
	addJSONFlag(cmd, &asJSON, "the answer as one JSON object")
	for _, flag := range []string{"admin", "token-file"} {
		cmd.MarkFlagsMutuallyExclusive("config", flag)
	}
	return cmd
}

// pingAlone sends a test event without a dispatcher.
func pingAlone(ctx context.Context, file, name, sample string) (admin.Pong, error) {
	cfg, err := loadConfig(file)
	if err != nil {
		return admin.Pong{}, err
	}
	pong, err := app.PingAlone(ctx, cfg, currentBuild().Version, name, sample)
	if err != nil {
		return pong, usageError{err}
	}
	return pong, nil
}

func printPong(cmd *cobra.Command, name string, p *admin.Pong, asJSON bool) error {
	w := cmd.OutOrStdout()
	switch {
	case asJSON:
		if err := writeJSON(w, p); err != nil {
			return err
		}
	case p.Status == 0 && p.Error == "":
		fmt.Fprintf(w, "%s took event %s in %s\n", visible(name), visible(p.ID), span(p.DurationSeconds))
	case p.Status == 0:
		fmt.Fprintf(w, "%s did not answer event %s, after %s\n", visible(name), visible(p.ID), span(p.DurationSeconds))
	default:
		status := strings.TrimSpace(fmt.Sprint(p.Status, " ", http.StatusText(p.Status)))
		fmt.Fprintf(w, "%s answered event %s with %s in %s\n", visible(name), visible(p.ID), status, span(p.DurationSeconds))
		printText(w, "answer", p.Excerpt)
	}
	if p.Error != "" {
		return errors.New(p.Error)
	}
	return nil
}
