package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/config"
)

func newCheckCommand() *cobra.Command {
	var file string
	var noSecrets bool
	cmd := &cobra.Command{
		Use:     "check",
		GroupID: groupConfig,
		Short:   "Validate a configuration file",
		Long: `check reads a configuration file as "serve" would and prints everything that is wrong
with it, each problem on one line with its file, line and key. Nothing is started and
no endpoint is contacted. Warnings are about what is allowed and probably not meant.

It ends with 0 if "serve" would accept the file, else with 2.`,
		Example: `  regcast check
  regcast check --config /etc/regcast/regcast.toml
  regcast check --config regcast.toml --no-secrets   # in CI, where the files of secrets are not`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := findConfig(file)
			if found == "" {
				return usagef("there is no ./regcast.toml and no /etc/regcast/regcast.toml: name a file with --config, or write one with regcast init")
			}
			return check(cmd, found, noSecrets)
		},
	}
	addConfigFlag(cmd, &file)
	cmd.Flags().BoolVar(&noSecrets, "no-secrets", false, "do not look for the files that the configuration names")
	return cmd
}

// check prints warnings and, if there are no problems, one line of good news. Problems
// are its error.
func check(cmd *cobra.Command, file string, noSecrets bool) error {
	data, err := config.Read(file)
	if err != nil {
		return usageError{err}
	}
	cfg, err := config.Parse(data, file)
	if cfg == nil {
		return err
	}
	problems, _ := errors.AsType[config.Problems](err)
	warnings := cfg.Warnings()
	unsound := app.Check(cfg)
	if noSecrets {
		unsound = slices.DeleteFunc(unsound, aboutFiles)
	} else {
		missing, open := cfg.CheckFiles()
		problems, warnings = problems.Merge(missing), append(append(warnings, open...), app.CheckContents(cfg)...)
	}
	problems = problems.Merge(unsound)
	warnings.Sort()
	for _, w := range warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
	}
	if len(problems) > 0 {
		return problems
	}
	summary := fmt.Sprintf("%d endpoint(s)", len(cfg.Endpoints))
	if n := len(cfg.Proxies); n > 0 {
		summary = fmt.Sprintf("%s, %d proxy(ies)", summary, n)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, %s\n", file, summary)
	return err
}

// aboutFiles says whether a problem may be that a file is not there.
func aboutFiles(p config.Problem) bool {
	return strings.HasSuffix(p.Path, "_file") || strings.HasSuffix(p.Path, "tls")
}
