package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A testEvent is a line of go test -json: see "go doc test2json".
type testEvent struct {
	Action     string
	Package    string
	ImportPath string // of a build's output
	Test       string
	Output     string
}

// goTest runs go test with args, prints what go test prints without -v, and adds the
// results to d.
func (d *dev) goTest(ctx context.Context, args []string) error {
	fmt.Fprintf(d.out, "go test %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir = d.root
	var complaints bytes.Buffer // of go itself; the packages' go into the events
	cmd.Stderr = &complaints
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	events, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("running go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("running go test: %w", err)
	}
	r := newTestReport(d.out)
	readErr := r.read(events)
	runErr := cmd.Wait()
	d.out.Write(complaints.Bytes())
	d.tests.passed += r.passed
	d.tests.failed += r.failed
	d.tests.skipped += r.skipped
	d.skipped = append(d.skipped, r.skips...)
	switch {
	case readErr != nil:
		return fmt.Errorf("reading the output of go test: %w", readErr)
	case r.failed > 0:
		return fmt.Errorf("%w: %d", errTests, r.failed)
	case runErr != nil:
		return fmt.Errorf("running go test: %w", runErr)
	}
	return nil
}

// A testReport turns the events of go test -json into what a person wants to read: a
// line per package and the whole output of what failed; and counts.
type testReport struct {
	out io.Writer
	tally
	skips  []string
	output map[[2]string][]string // of tests that have not ended, by package and test
	broken map[string]bool        // packages with a failed test
}

func newTestReport(out io.Writer) *testReport {
	return &testReport{out: out, output: make(map[[2]string][]string), broken: make(map[string]bool)}
}

func (r *testReport) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *testReport) line(line []byte) {
	var e testEvent
	if json.Unmarshal(line, &e) != nil {
		r.out.Write(line) // something that go itself had to say
		return
	}
	switch {
	case e.Action == "build-output":
		io.WriteString(r.out, e.Output)
	case e.Test != "":
		r.test(e)
	case e.Action == "output":
		r.packageOutput(e)
	case e.Action == "fail" && !r.broken[e.Package]:
		r.failed++ // it did not build, or ended before its tests did
	}
}

func (r *testReport) test(e testEvent) {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "output":
		r.output[key] = append(r.output[key], e.Output)
		return
	case "pass":
		r.passed++
	case "skip":
		r.skipped++
		r.skips = append(r.skips, fmt.Sprintf("%s %s: %s", shortPackage(e.Package), e.Test, skipReason(r.output[key])))
	case "fail":
		r.failed++
		r.broken[e.Package] = true
		// Packages run side by side: say whose lines these are.
		fmt.Fprintf(r.out, "=== FAIL %s %s\n", shortPackage(e.Package), e.Test)
		for _, line := range r.output[key] {
			if !strings.HasPrefix(line, "=== ") {
				io.WriteString(r.out, line)
			}
		}
	default: // run, pause, cont
		return
	}
	delete(r.output, key)
}

// packageOutput passes on the lines that go test prints without -v: "ok", "FAIL",
// "?   " and whatever a package wrote outside of its tests, a panic included.
func (r *testReport) packageOutput(e testEvent) {
	if e.Output == "PASS\n" || e.Output == "FAIL\n" || e.Output == "testing: warning: no tests to run\n" {
		return
	}
	if strings.HasPrefix(e.Output, "FAIL\t") || strings.HasPrefix(e.Output, "panic: ") {
		r.unfinished(e.Package)
	}
	io.WriteString(r.out, e.Output)
}

// unfinished prints what the tests wrote in which a package ended.
func (r *testReport) unfinished(pkg string) {
	for key, lines := range r.output {
		if key[0] == pkg {
			io.WriteString(r.out, strings.Join(lines, ""))
			delete(r.output, key)
		}
	}
}

// skipReason finds what a test said when it skipped: the line before the last, as in
//
//	    file_test.go:12: needs root
//	--- SKIP: TestX (0.00s)
func skipReason(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(lines[i])
		if line != "" && !strings.HasPrefix(line, "--- ") && !strings.HasPrefix(line, "=== ") {
			return line
		}
	}
	return "no reason given"
}

func shortPackage(path string) string {
	if path == modulePath {
		return "."
	}
	return strings.TrimPrefix(path, modulePath+"/")
}
