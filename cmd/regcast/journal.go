package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/sinks/journal"
)

func newJournalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "journal",
		GroupID: groupData,
		Short:   "Back up, verify or export the journal",
		Long: `journal works on the file that serve keeps events in: regcast.db in the configuration's
data_dir. It is a SQLite database; its schema is documented in the package
sinks/journal.`,
		RunE: subcommands,
	}
	cmd.AddCommand(newJournalBackupCommand(), newJournalVerifyCommand(), newJournalExportCommand())
	return cmd
}

func newJournalBackupCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the journal, consistently, while it is in use",
		Long: `backup writes a consistent copy of the journal to FILE, which must not exist. The
dispatcher may go on running. To restore, stop it, put the copy into an empty data_dir
under the name regcast.db, and start it again: events that were stored after the copy are
gone, and those that were delivered after it are delivered again.`,
		Example: `  regcast journal backup /backup/regcast-$(date +%F).db
  regcast journal backup --config /etc/regcast/regcast.toml /backup/regcast.db`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			if _, err := os.Stat(filepath.Dir(args[0])); err != nil {
				return usagef("the folder of the copy: %w", err)
			}
			if err := journal.Backup(cmd.Context(), cfg.DataDir, args[0]); err != nil {
				return backupError(err, cfg.DataDir, args[0])
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), args[0])
			return err
		},
	}
	addConfigFlag(cmd, &file)
	return cmd
}

// backupError is err of a backup of the journal in dir to file, with what to do about it.
func backupError(err error, dir, file string) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return usagef("%s is there already and is not overwritten: name another file", file)
	case errors.Is(err, fs.ErrNotExist):
		return usagef("%w; --config names the configuration whose data_dir is to be backed up (now: %s)", err, dir)
	}
	return err
}

// openError is err of opening the journal in dir for verify or export, with what to do
// about it.
func openError(err error, dir string) error {
	switch {
	case errors.Is(err, journal.ErrLocked):
		return fmt.Errorf("the journal in %s is in use: stop the dispatcher, or look at a copy, made with regcast journal backup and put into a folder of its own as regcast.db", dir)
	case errors.Is(err, fs.ErrNotExist):
		return usagef("%w; DIR is the data_dir of the configuration", err)
	}
	return err
}

func newJournalVerifyCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check a stopped journal, its hash chain included",
		Long: `verify reads the whole journal in DIR, which no dispatcher may be using: the database's own
integrity, every stored event, and the chain of hashes that shows that nothing was
changed or taken out since it was written. It changes nothing. It ends with 0 if all is
well, else with 1.

To prove later that nobody has written the journal anew, keep the last sequence and the
last hash somewhere else: the table chunk has that hash in the row whose column last is
that sequence.`,
		Example: `  regcast journal verify /var/lib/regcast
  regcast journal verify --json /var/lib/regcast | jq .problems`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := journal.Verify(cmd.Context(), args[0])
			if err != nil {
				return openError(err, args[0])
			}
			if err := printReport(cmd.OutOrStdout(), &report, asJSON); err != nil {
				return err
			}
			if !report.OK() {
				return fmt.Errorf("the journal in %s is damaged, see above: restore a backup, or save what can be read with regcast journal export", args[0])
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// A verified is what verify says with --json.
type verified struct {
	OK          bool     `json:"ok"`
	Events      uint64   `json:"events"`
	First       uint64   `json:"first"`   // sequence
	Last        uint64   `json:"last"`    // sequence
	Trimmed     uint64   `json:"trimmed"` // up to this sequence
	DeadLetters uint64   `json:"dead_letters"`
	Chunks      int      `json:"chunks"`
	LastHash    string   `json:"last_hash"` // hexadecimal
	Problems    []string `json:"problems"`
}

func printReport(w io.Writer, r *journal.Report, asJSON bool) error {
	if asJSON {
		return writeJSON(w, verified{
			OK: r.OK(), Events: r.Events, First: r.First, Last: r.Last, Trimmed: r.Trimmed, DeadLetters: r.DeadCount,
			Chunks: r.Chunks, LastHash: hex.EncodeToString(r.Hash), Problems: append([]string{}, r.Problems...),
		})
	}
	t := newTable(w)
	t.row("events", r.Events)
	if r.Events > 0 {
		t.row("sequences", fmt.Sprintf("%d to %d", r.First, r.Last))
	}
	if r.Trimmed > 0 {
		t.row("trimmed", fmt.Sprintf("up to %d", r.Trimmed))
	}
	t.row("dead letters", r.DeadCount)
	t.row("chunks", r.Chunks)
	t.row("last hash", hex.EncodeToString(r.Hash))
	for _, problem := range r.Problems {
		t.row("problem", problem)
	}
	return t.flush()
}

func newJournalExportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export DIR",
		Short: "Write the events of a journal as JSON lines",
		Long: `export writes every event that is stored in the journal in DIR to stdout, oldest first, one
JSON object per line: the event as it is sent to endpoints. The dispatcher may go on
running.`,
		Example: `  regcast journal export /var/lib/regcast > events.jsonl
  regcast journal export /var/lib/regcast | jq 'select(.action == "delete")'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if isTerminal(out) { // the events themselves show how far it is
				return openError(journal.Export(cmd.Context(), args[0], out), args[0])
			}
			bar := newProgress(cmd.ErrOrStderr(), -1, "exporting")
			defer bar.finish()
			return openError(journal.Export(cmd.Context(), args[0], lineCounter{out, bar.add}), args[0])
		},
	}
}

// A lineCounter passes on what is written and says how many lines that was.
type lineCounter struct {
	dst io.Writer
	add func(lines int)
}

func (c lineCounter) Write(p []byte) (int, error) {
	n, err := c.dst.Write(p)
	c.add(bytes.Count(p[:n], []byte("\n")))
	return n, err
}
