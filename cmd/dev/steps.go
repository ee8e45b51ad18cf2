package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// dev carries one task: where it works, what it prints to, what it has seen so far.
type dev struct {
	root string // the folder of go.mod
	out  io.Writer
	ci   bool // a missing component is a failure

	steps   []stepResult
	skipped []string // what was left out, each with its reason
	tests   tally
}

type stepResult struct {
	name string
	took time.Duration
	err  error
}

// A tally counts results. A step other than the tests counts as one.
type tally struct{ passed, failed, skipped int }

// errTests says that a step failed through tests, which are counted one by one.
var errTests = errors.New("tests failed")

// step runs f under a title. A failing step does not keep the next from running: one
// run shows everything that is wrong.
func (d *dev) step(name string, f func() error) {
	fmt.Fprintf(d.out, "\n== %s\n", name)
	start := time.Now()
	err := f()
	took := time.Since(start).Round(10 * time.Millisecond)
	d.steps = append(d.steps, stepResult{name, took, err})
	if err != nil {
		fmt.Fprintf(d.out, "-- %s: %v (%v)\n", name, err, took)
		return
	}
	fmt.Fprintf(d.out, "-- %s: ok (%v)\n", name, took)
}

// skip notes that something was left out and why.
func (d *dev) skip(what string) { d.skipped = append(d.skipped, what) }

// finish prints the summary and returns an error if anything failed.
func (d *dev) finish(ctx context.Context) error {
	total := d.tests
	total.skipped += len(d.skipped) - d.tests.skipped // skipped tests are in both
	var whole time.Duration
	fmt.Fprint(d.out, "\n== summary\n")
	for _, s := range d.steps {
		whole += s.took
		state := "ok"
		if s.err != nil {
			state = "FAILED: " + s.err.Error()
		}
		switch {
		case s.err == nil && !strings.HasPrefix(s.name, "tests"):
			total.passed++
		case s.err != nil && !errors.Is(s.err, errTests):
			total.failed++
		}
		fmt.Fprintf(d.out, "%10v  %-14s %s\n", s.took, s.name, state)
	}
	fmt.Fprintf(d.out, "%10v  total\n", whole)
	for _, s := range d.skipped {
		fmt.Fprintf(d.out, "   skipped  %s\n", s)
	}
	fmt.Fprintf(d.out, "%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	if total.failed > 0 {
		return fmt.Errorf("%d failed", total.failed)
	}
	return nil
}

// command runs a program in the root of the repository, with env added to ours, and
// shows what it prints.
func (d *dev) command(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = d.root
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = d.out, d.out
	// An interrupt lets the program clean up; what does not heed it is killed.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}
