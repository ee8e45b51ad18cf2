package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module writes files into a new module and returns its folder.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files["go.mod"] = "module example.org/m\n\ngo 1.26\n"
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestGoTestReport(t *testing.T) {
	var out bytes.Buffer
	d := &dev{out: &out, root: module(t, map[string]string{
		"good/good_test.go": `package good
import "testing"
func TestA(t *testing.T) { t.Log("quiet") }
func TestSub(t *testing.T) { t.Run("x", func(t *testing.T) {}) }
func TestSkip(t *testing.T) { t.Skip("no moon tonight") }
`,
		"bad/bad_test.go": `package bad
import "testing"
func TestB(t *testing.T) { t.Error("the reason") }
`,
		"panics/panics_test.go": `package panics
import "testing"
func TestP(t *testing.T) { panic("out of cheese") }
`,
		"broken/broken_test.go": `package broken
func TestC(t *testing.T) {}
`,
		"none/none.go": `package none
`,
	})}
	d.step("tests", func() error { return d.goTest(t.Context(), []string{"./..."}) })
	if want := (tally{passed: 3, failed: 3, skipped: 1}); d.tests != want {
		t.Errorf("counted %+v, want %+v", d.tests, want)
	}
	if !errors.Is(d.steps[0].err, errTests) {
		t.Errorf("the step ended with %v", d.steps[0].err)
	}
	if err := d.finish(t.Context()); err == nil {
		t.Error("a failed run ended without an error")
	}
	text := out.String()
	for _, want := range []string{"ok  \texample.org/m/good", "=== FAIL example.org/m/bad TestB\n    bad_test.go:3: the reason", "FAIL\texample.org/m/bad", "out of cheese", "undefined: testing", "no test files", "skipped  example.org/m/good TestSkip: good_test.go:5: no moon tonight", "\n3 passed, 3 failed, 1 skipped\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if strings.Contains(text, "quiet") {
		t.Error("the output has the log of a test that passed")
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestFinishCounts(t *testing.T) {
	var out bytes.Buffer
	d := &dev{out: &out}
	d.step("one", func() error { return nil })
	d.step("two", func() error { return errors.New("broke") })
	d.step("tests", func() error { d.tests = tally{passed: 5}; return nil })
	d.skip("the moon: it is cloudy")
	if err := d.finish(t.Context()); err == nil || err.Error() != "1 failed" {
		t.Errorf("got error %v, want 1 failed", err)
	}
	if !strings.HasSuffix(out.String(), "   skipped  the moon: it is cloudy\n6 passed, 1 failed, 1 skipped\n") {
		t.Errorf("the summary ends wrong:\n%s", out.String())
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.finish(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted run ended with %v", err)
	}
}

func TestTargets(t *testing.T) {
	root := module(t, map[string]string{
		"a/a_test.go":          "package a\nfunc FuzzOne(f *testing.F) {}\nfunc FuzzTwo(f *testing.F) {}\nfunc TestFuzz(t *testing.T) {}\n",
		"b/b_test.go":          "package b\nvar update = flag.Bool(\"update\", false, \"\")\n",
		"b/testdata/x_test.go": "package x\nfunc FuzzNot(f *testing.F) {}\n",
	})
	got, err := testPackages(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].dir != "a" || strings.Join(got[0].fuzz, " ") != "FuzzOne FuzzTwo" || got[0].update || !got[1].update || len(got[1].fuzz) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestComponents(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // neither the program nor a way to install it
	var out bytes.Buffer
	d := &dev{out: &out}
	missing := d.provide(t.Context(), []component{{"moon", []string{"", "moonlight -v"}, []string{"moon-server"}, "tests by moonlight"}})
	if !missing["moon"] || len(d.skipped) != 1 || d.skipped[0] != "tests by moonlight (moon)" {
		t.Errorf("missing %v, skipped %q", missing, d.skipped)
	}
	if !strings.Contains(out.String(), "install it by hand: moon-server") {
		t.Errorf("no advice in %q", out.String())
	}
}

func TestFormat(t *testing.T) {
	root := module(t, map[string]string{"good.go": "package m\n", "bad.go": "package  m\n"})
	for _, write := range []bool{false, true} {
		changed, err := formatFiles(root, write)
		if err != nil || len(changed) != 1 || changed[0] != "bad.go" {
			t.Fatalf("with write %v: changed %q, error %v", write, changed, err)
		}
	}
	if changed, err := formatFiles(root, false); err != nil || len(changed) != 0 {
		t.Errorf("after writing: changed %q, error %v", changed, err)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"polish"}, {"fmt", "extra"}, {"fuzz", "-tim", "1m"}} {
		err := run(t.Context(), args, new(bytes.Buffer))
		if bad := usageError(""); !errors.As(err, &bad) {
			t.Errorf("%q: got %v, want a usage error", args, err)
		}
	}
	var help bytes.Buffer
	if err := run(t.Context(), []string{"help"}, &help); err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks() {
		if !strings.Contains(help.String(), task.does) {
			t.Errorf("help says nothing of %s", task.name)
		}
	}
}
