package main

import (
	"github.com/spf13/cobra"
)

// The groups of commands in the help of regcast itself.
const (
	groupServe   = "serve"
	groupConfig  = "config"
	groupTry     = "try"
	groupData    = "data"
	groupOperate = "operate"
)

// newRootCommand builds regcast itself. It sets *started once a command has been found,
// its flags and arguments are sound and it begins to run: an error before that is one of
// usage. For that, subcommands do not have a PersistentPreRun of their own.
func newRootCommand(started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "regcast",
		Short: "Dispatch the events of container registries to webhooks",
		Long: `regcast receives the events of container registries over HTTP, keeps them on disk
and delivers them to webhooks: at least once, in order per repository, until each
of them has accepted. The operating commands talk to a running dispatcher: they show
where an event is and steer what becomes of it.

Without any configuration, "regcast serve" listens on 127.0.0.1:8410 and prints each
event on stdout. To go on from there, "regcast init" writes a configuration file to
edit, or carries over the notifications of a CNCF distribution registry.`,
		Example: `  regcast serve                               # try it: prints what it receives
  regcast send --to http://127.0.0.1:8410/events
  regcast init --from registry.yml --output regcast.toml
  regcast check --config regcast.toml
  regcast serve --config regcast.toml
  regcast status`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.ValidateRequiredFlags(); err != nil {
				return err
			}
			if err := cmd.ValidateFlagGroups(); err != nil {
				return err
			}
			*started = true
			return nil
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupServe, Title: "Running:"},
		&cobra.Group{ID: groupOperate, Title: "Operating:"},
		&cobra.Group{ID: groupConfig, Title: "Configuration:"},
		&cobra.Group{ID: groupTry, Title: "Trying out:"},
		&cobra.Group{ID: groupData, Title: "Stored events:"},
	)
	root.AddCommand(
		newServeCommand(),
		newStatusCommand(),
		newTailCommand(),
		newEventsCommand(),
		newDeadCommand(),
		newReplayCommand(),
		newJobsCommand(),
		newBackfillCommand(),
		newQuarantineCommand(),
		newPauseCommand(),
		newResumeCommand(),
		newDisableCommand(),
		newEnableCommand(),
		newForgetCommand(),
		newPingCommand(),
		newReloadCommand(),
		newLogCommand(),
		newCheckCommand(),
		newExplainCommand(),
		newInitCommand(),
		newSendCommand(),
		newReceiveCommand(),
		newJournalCommand(),
		newVersionCommand(),
	)
	return root
}
