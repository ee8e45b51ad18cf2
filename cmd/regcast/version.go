package main

import (
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A build says what this binary was made from.
type build struct {
	Version  string `json:"version"`  // "devel" if it was not built from a released module
	Commit   string `json:"commit"`   // "" if not known
	Modified bool   `json:"modified"` // built with changes that are not in the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// currentBuild reads what the toolchain left in the binary.
func currentBuild() build {
	b := build{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func newVersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and Go version",
		Long:  `version prints what this binary was built from, for a bug report or an inventory.`,
		Example: `  regcast version
  regcast version --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return currentBuild().print(cmd.OutOrStdout(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (b build) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return writeJSON(w, b)
	}
	commit := b.Commit
	if commit == "" {
		commit = "unknown"
	}
	if b.Modified {
		commit += " (modified)"
	}
	t := newTable(w)
	t.row("version", b.Version)
	t.row("commit", commit)
	t.row("go", b.Go)
	t.row("platform", b.Platform)
	return t.flush()
}
