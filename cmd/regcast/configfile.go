package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/config"
)

// configPlaces are where a configuration file is looked for without --config, in order.
func configPlaces() []string { return []string{"regcast.toml", "/etc/regcast/regcast.toml"} }

// addConfigFlag gives a command the flag --config.
func addConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "", "configuration `file` (default ./regcast.toml, else /etc/regcast/regcast.toml)")
	// The error is that of a flag that does not exist.
	_ = cmd.MarkFlagFilename("config", "toml")
}

// findConfig returns the configuration file to use: named, if that is not empty, else the
// first of configPlaces that is there, else "". One that is there but cannot be read is
// there.
func findConfig(named string) string {
	if named != "" {
		return named
	}
	for _, place := range configPlaces() {
		if _, err := os.Stat(place); !errors.Is(err, fs.ErrNotExist) {
			return place
		}
	}
	return ""
}

// loadConfig loads the configuration file that findConfig finds. Without one it returns
// the trial configuration, whose File is "": the command says so. Its errors make for
// exit code 2.
func loadConfig(named string) (*config.Config, error) {
	file := findConfig(named)
	if file == "" {
		return config.Trial(), nil
	}
	cfg, err := app.Load(file)
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}
