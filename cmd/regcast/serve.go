package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/app"
	"github.com/regcast/regcast/config"
)

func newServeCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:     "serve",
		GroupID: groupServe,
		Short:   "Run the dispatcher",
		Long: `serve receives events from registries, or makes them of what passes its proxies in front
of registries, stores them and delivers them to the endpoints of the configuration file:
./regcast.toml, else /etc/regcast/regcast.toml, if --config does not name one. Without any
it runs a trial: it listens on 127.0.0.1:8410, keeps its journal in ./regcast-data and
prints each event as a line on stdout.

SIGHUP reads the file again: endpoints, filters, tokens and the log level change without
losing an event; a file with a problem is refused and the old settings stay. SIGTERM or
Ctrl-C stops: requests under way get drain_timeout to finish, first those that pass a
proxy, then those to endpoints; everything else stays in the journal for the next start.
A second signal ends the process at once, which is safe too.

Logs go to stderr. It ends with 0 after a signal, 2 if the configuration is wrong, 1 if
something else is.`,
		Example: `  regcast serve
  regcast serve --config /etc/regcast/regcast.toml
  kill -HUP $(pidof regcast)        # after editing the file`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			return serve(cmd, cfg)
		},
	}
	addConfigFlag(cmd, &file)
	return cmd
}

// serve runs until the command's context ends or a server fails.
func serve(cmd *cobra.Command, cfg *config.Config) error {
	level := new(slog.LevelVar)
	logger := newLogger(cmd.ErrOrStderr(), cfg.Log, level)
	if cfg.File() == "" {
		logger.Warn("no configuration file found: running the built-in trial, which prints every event on stdout",
			"data_dir", cfg.DataDir, "next", "regcast init --output regcast.toml")
	}
	for _, w := range cfg.Warnings() {
		logger.Warn("about the configuration", "warning", w.String())
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	ctx := cmd.Context()
	a, err := app.Start(ctx, cfg, app.Options{
		Version: currentBuild().Version, Logger: logger, Level: level, Console: cmd.OutOrStdout(),
	})
	if err != nil && errors.Is(err, ctx.Err()) {
		logger.Info("stopped while starting")
		return nil
	}
	if err != nil {
		return err
	}
	for {
		select {
		case <-hangup:
			reload(ctx, a, cfg.File(), logger)
		case err := <-a.Failed():
			logger.Error("stopping", "error", err)
			return errors.Join(err, stop(a, cfg))
		case <-ctx.Done():
			logger.Info("stopping", "drain_timeout", cfg.DrainTimeout)
			if err := stop(a, cfg); err != nil {
				return err
			}
			logger.Info("stopped")
			return nil
		}
	}
}

// afterDrain is what stopping may take beside the drain timeout: requests being
// answered, the last commits.
const afterDrain = 10 * time.Second

func stop(a *app.App, cfg *config.Config) error {
	drain := cfg.DrainTimeout
	if len(cfg.Proxies) > 0 {
		drain *= 2 // what passes a proxy ends before what goes to endpoints
	}
	ctx, cancel := context.WithTimeout(context.Background(), drain+afterDrain)
	defer cancel()
	return a.Shutdown(ctx)
}

// reload reads the file again. What is wrong with it is logged, and nothing changes.
func reload(ctx context.Context, a *app.App, file string, logger *slog.Logger) {
	err := a.Reload(ctx)
	if problems, ok := errors.AsType[config.Problems](err); ok {
		for _, p := range problems {
			logger.Error("the configuration file has a problem", "problem", p.String())
		}
		err = fmt.Errorf("%d problem(s)", len(problems))
	}
	if err != nil {
		logger.Error("the configuration file is refused, the old settings stay", "file", file, "error", err)
	}
}

// newLogger logs to w as the configuration says, at level, which it sets.
func newLogger(w io.Writer, c config.Log, level *slog.LevelVar) *slog.Logger {
	_ = level.UnmarshalText([]byte(c.Level)) // config has checked the name
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
