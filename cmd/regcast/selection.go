package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regcast/regcast/cmd/internal/admin"
)

// timeHelp is what the help of commands says of times.
const timeHelp = `A time is RFC 3339, such as 2026-11-21T08:00:00Z, or an age, such as 90m, 2h or 7d, and
means when an event was stored.`

// addSelectionFlags gives a command the flags that select stored events.
func addSelectionFlags(cmd *cobra.Command, s *admin.Selection) {
	flags := cmd.Flags()
	flags.StringVar(&s.Repository, "repository", "", "of repositories that match this `glob`: * within a path segment, ** across")
	flags.StringVar(&s.Tag, "tag", "", "with a tag that matches this `glob`")
	flags.StringVar(&s.Action, "action", "", "with this `action`: push, pull, mount, delete")
	flags.StringVar(&s.Actor, "actor", "", "by this `actor`")
	flags.StringVar(&s.Digest, "digest", "", "of this `digest`")
	addTimeFlag(cmd, &s.Since, "since", "stored at this `time` or later, or at most this age ago")
	addTimeFlag(cmd, &s.Until, "until", "stored before this `time`, or longer ago than this age")
}

// addTimeFlag gives a command a flag with a time or an age.
func addTimeFlag(cmd *cobra.Command, t *time.Time, name, usage string) {
	cmd.Flags().Func(name, usage, func(text string) (err error) {
		*t, err = parseTime(text, time.Now())
		return err
	})
}

// parseTime reads a time, or an age before now.
func parseTime(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC(), nil
	}
	age, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint16
		n, err = parseDays(days)
		age = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || age < 0 {
		return time.Time{}, errors.New("neither a time such as 2026-11-21T08:00:00Z nor an age such as 90m, 2h or 7d")
	}
	return now.Add(-age).UTC(), nil
}

func parseDays(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err
}

// addNumbersFlag gives a command the flag --id for things that have numbers; it may be
// given several times and with several, separated by commas.
func addNumbersFlag(cmd *cobra.Command, ids *[]uint64, usage string) {
	cmd.Flags().Func("id", usage, func(text string) error {
		for part := range strings.SplitSeq(text, ",") {
			id, err := parseNumber(part)
			if err != nil {
				return err
			}
			*ids = append(*ids, id)
		}
		return nil
	})
}

// parseNumber reads the id of something that has a number.
func parseNumber(text string) (uint64, error) {
	id, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil || id == 0 {
		return 0, fmt.Errorf("%.40q is not an id, which is a number", text)
	}
	return id, nil
}

// maxLimit bounds what --limit asks for.
const maxLimit = 100_000

// addLimitFlag gives a listing the flag --limit.
func addLimitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", admin.PageSize, "print at most this many")
}

func checkLimit(limit int) error {
	if limit < 1 || limit > maxLimit {
		return usagef("--limit needs 1 to %d", maxLimit)
	}
	return nil
}

// noteLimit says on stderr that a listing may go on, or that it is empty.
func noteLimit(cmd *cobra.Command, found, limit int, what string) {
	switch {
	case found == 0:
		fmt.Fprintln(cmd.ErrOrStderr(), "no", what)
	case found == limit && limit < maxLimit:
		fmt.Fprintf(cmd.ErrOrStderr(), "only %d %s are shown: there may be more, see --limit\n", found, what)
	}
}
