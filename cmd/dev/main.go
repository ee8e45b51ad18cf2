// Command dev runs the project's chores, the same way on every machine and in CI:
//
//	go run ./cmd/dev <task> [arguments]
//
// It imports the standard library alone, so that it compiles in seconds on a machine
// that has nothing but Go. Tools that it needs are pinned in tools.go, apart from
// go.mod, because go.mod binds everybody who embeds us; so are the clients that tests
// need, in clients.go, and the newest distribution, in newest.go. Components of the system
// that tests need are in components.go. The rules that no off-the-shelf linter knows are in
// architecture.go (who may import whom), house.go, state.go and sleep.go (how we write).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// modulePath is the import path of the root of the repository.
const modulePath = "github.com/regcast/regcast"

// A task is one word on the command line.
type task struct {
	name  string
	does  string
	usage string // arguments, "" for none
	run   func(ctx context.Context, d *dev, args []string) error
}

func tasks() []task {
	return []task{
		{"test", "everything that CI runs: components, formatting, vet, linters, architecture, all tests with -race", "", runTest},
		{"check", "the fast part of test, for before a commit: no tool to download, tests with -short and without -race", "", runCheck},
		{"fmt", "formats all Go files", "", runFmt},
		{"lint", "formatting, vet, staticcheck, house rules, architecture; no tests", "", runLint},
		{"race", "tests with the race detector, and nothing else", "[packages]", runRace},
		{"fuzz", "every fuzz target, or those whose name contains a word, one after the other", "[-time 1m] [word]", runFuzz},
		{"bench", "the table of ratios in the README: each row with its peer or limit, measured in one run", "[arguments]", runBench},
		{"golden", "rewrites the golden files of the tests that have a flag -update; read the diff before you commit it", "", runGolden},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	var bad usageError
	switch {
	case errors.As(err, &bad):
		fmt.Fprintf(os.Stderr, "dev: %v\n\n", err)
		printHelp(os.Stderr)
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "dev: %v\n", err)
		os.Exit(1)
	}
}

// A usageError is a wrong command line, as opposed to a chore that went wrong.
type usageError string

func (e usageError) Error() string { return string(e) }

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return usageError("which task?")
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		printHelp(out)
		return nil
	}
	for _, t := range tasks() {
		if t.name != args[0] {
			continue
		}
		if len(args) > 1 && t.usage == "" {
			return usageError(fmt.Sprintf("%s takes no arguments", t.name))
		}
		root, err := findRoot(ctx)
		if err != nil {
			return err
		}
		return t.run(ctx, &dev{root: root, out: out, ci: os.Getenv("CI") == "true"}, args[1:])
	}
	return usageError(fmt.Sprintf("no task %q", args[0]))
}

func printHelp(w io.Writer) {
	fmt.Fprint(w, "usage: go run ./cmd/dev <task> [arguments]\n\n")
	for _, t := range tasks() {
		fmt.Fprintf(w, "  %s\n      %s\n", strings.TrimSpace(t.name+" "+t.usage), t.does)
	}
	fmt.Fprint(w, `
What a machine lacks is installed with apt-get where that is possible without asking for a
password, and otherwise said, left out and listed at the end. With CI=true a missing
component is a failure. The exit code is 0 if all is well, 1 if not, 2 for a bad command line.

New code:           go run ./cmd/dev fmt && go run ./cmd/dev check
Before a push:      go run ./cmd/dev test
A parser changed:   go run ./cmd/dev fuzz -time 5m Envelope
`)
}

// findRoot returns the folder of go.mod, so that a task may be started anywhere below.
func findRoot(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("asking go for the module: %w", err)
	}
	path := strings.TrimSpace(string(mod))
	if path == "" || path == os.DevNull {
		return "", errors.New("not inside the repository: there is no go.mod here or above")
	}
	return filepath.Dir(path), nil
}

func runTest(ctx context.Context, d *dev, _ []string) error {
	var race []string
	d.step("components", func() error {
		missing := d.provide(ctx, components())
		if !missing["cc"] {
			race = []string{"-race"}
		}
		if d.ci && len(missing) > 0 {
			return errors.New("with CI=true every component has to be there")
		}
		return nil
	})
	d.step("clients", func() error { return d.provideClients(ctx) })
	d.lint(ctx, race)
	d.step("tests", func() error {
		// vet has run already. One package's tests may take ten minutes at most.
		return d.goTest(ctx, append(race, "-vet=off", "-timeout=10m", "./..."))
	})
	d.step("tests, newest", func() error { return d.testNewest(ctx, race) })
	return d.finish(ctx)
}

func runCheck(ctx context.Context, d *dev, _ []string) error {
	d.ownRules(ctx)
	d.step("go vet", func() error { return d.command(ctx, nil, "go", "vet", "./...") })
	d.step("tests", func() error { return d.goTest(ctx, []string{"-short", "-vet=off", "./..."}) })
	return d.finish(ctx)
}

func runLint(ctx context.Context, d *dev, _ []string) error {
	d.lint(ctx, nil)
	return d.finish(ctx)
}

func runRace(ctx context.Context, d *dev, args []string) error {
	if len(args) == 0 {
		args = []string{"./..."}
	}
	d.step("tests", func() error { return d.goTest(ctx, append([]string{"-race"}, args...)) })
	return d.finish(ctx)
}

func runBench(ctx context.Context, d *dev, args []string) error {
	return d.command(ctx, nil, "go", append([]string{"run", "./cmd/dev/bench"}, args...)...)
}

func runFuzz(ctx context.Context, d *dev, args []string) error {
	flags := flag.NewFlagSet("fuzz", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	length := flags.Duration("time", defaultFuzzTime, "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 1 {
		return usageError("fuzz takes -time and one word")
	}
	return d.fuzz(ctx, *length, flags.Arg(0))
}

func runGolden(ctx context.Context, d *dev, _ []string) error { return d.golden(ctx) }

func runFmt(_ context.Context, d *dev, _ []string) error {
	changed, err := formatFiles(d.root, true)
	for _, path := range changed {
		fmt.Fprintln(d.out, path)
	}
	return err
}

// lint is every step that reads the code without running it.
func (d *dev) lint(ctx context.Context, race []string) {
	d.ownRules(ctx)
	d.step("go vet", func() error {
		return d.command(ctx, nil, "go", append(append([]string{"vet"}, race...), "./...")...)
	})
	for _, t := range tools() {
		d.step(t.name, func() error { return t.run(ctx, d, race) })
	}
}

func (d *dev) ownRules(ctx context.Context) {
	d.step("gofmt", func() error {
		wrong, err := formatFiles(d.root, false)
		return problems(d.out, wrong, "not formatted: go run ./cmd/dev fmt", err)
	})
	d.step("house rules", func() error {
		wrong, warnings, err := checkHouse(d.root)
		for _, w := range warnings {
			fmt.Fprintln(d.out, "warning:", w)
		}
		return problems(d.out, wrong, "see DESIGN, rules of the house", err)
	})
	d.step("architecture", func() error {
		wrong, err := checkArchitecture(ctx, d.root)
		return problems(d.out, wrong, "see cmd/dev/architecture.go for the matrix", err)
	})
}

// problems prints what a check of ours found and turns it into an error.
func problems(out io.Writer, wrong []string, hint string, err error) error {
	for _, w := range wrong {
		fmt.Fprintln(out, w)
	}
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%d found; %s", len(wrong), hint)
	}
	return err
}
