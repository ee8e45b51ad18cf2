package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestServe runs the dispatcher as testdata/serve/*.txtar say. Beside the commands of
// testscript, TestScripts and TestTrial they have:
//
//	appears FILE PATTERN             # waits until a file matches
//	capture VARIABLE PATTERN         # what the group in the pattern matches in the last stdout
//	expand FILE...                   # puts the values of variables into files
//	get URL [PATTERN]                # asks until the answer is 200 and matches; it is stdout then
//	! get URL                        # asks once: the answer has to be something else than 200
//	signal SIGNAL SUBCOMMAND [LIMIT] # to the regcast SUBCOMMAND in the background that began last;
//	                                 # with a limit it has to end within that time
//	replace FILE OLD NEW             # changes one occurrence of OLD, the only one, in a binary file
//
// and the condition [free:ADDRESS]: nobody listens there.
func TestServe(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/serve",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Condition: func(cond string) (bool, error) {
			addr, ok := strings.CutPrefix(cond, "free:")
			if !ok {
				return false, errors.New("unknown condition")
			}
			return isFree(addr), nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"address":   address,
			"appears":   appears,
			"capture":   capture,
			"exits":     exits,
			"expand":    expand,
			"get":       get,
			"listening": listening,
			"replace":   replace,
			"signal":    signalTo,
		},
	})
}

func appears(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: appears FILE PATTERN")
	}
	pattern := regexp.MustCompile("(?m)" + args[1])
	var content []byte
	soon(ts, func() bool {
		content, _ = os.ReadFile(ts.MkAbs(args[0])) // it may not be there yet
		return pattern.Match(content)
	}, func() { ts.Fatalf("no match for %s in %s:\n%s", pattern, args[0], content) })
}

func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture VARIABLE PATTERN")
	}
	pattern := regexp.MustCompile("(?m)" + args[1])
	found := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("no match for %s in the last stdout", pattern)
	}
	ts.Setenv(args[0], found[1])
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand FILE...")
	}
	for _, name := range args {
		content := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(content), 0o600))
	}
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 2 || neg && len(args) > 1 {
		ts.Fatalf("usage: get URL [PATTERN], ! get URL")
	}
	pattern := regexp.MustCompile("")
	if len(args) == 2 {
		pattern = regexp.MustCompile("(?m)" + args[1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	if neg {
		resp, err := client.Get(args[0])
		ts.Check(err)
		ts.Check(resp.Body.Close())
		if resp.StatusCode == http.StatusOK {
			ts.Fatalf("%s answered 200", args[0])
		}
		return
	}
	last := "no answer"
	soon(ts, func() bool {
		resp, err := client.Get(args[0])
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		ts.Check(err)
		last = resp.Status + "\n" + string(body)
		if resp.StatusCode != http.StatusOK || !pattern.Match(body) {
			return false
		}
		_, err = ts.Stdout().Write(body)
		ts.Check(err)
		return true
	}, func() { ts.Fatalf("%s did not answer 200 with %s; the last answer: %s", args[0], pattern, last) })
}

// soon tries until try returns true, and calls giveUp if that takes too long.
func soon(ts *testscript.TestScript, try func() bool, giveUp func()) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); !try(); <-tick.C {
		if time.Now().After(limit) {
			giveUp()
		}
	}
}

func signalTo(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}
	if neg || len(args) < 2 || len(args) > 3 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal HUP|TERM SUBCOMMAND [LIMIT]")
	}
	process := background(ts, args[1]).Process
	ts.Check(process.Signal(signals[args[0]]))
	if len(args) < 3 {
		return
	}
	limit, err := time.ParseDuration(args[2])
	ts.Check(err)
	sent := time.Now()
	soon(ts, func() bool { return errors.Is(process.Signal(syscall.Signal(0)), os.ErrProcessDone) },
		func() { ts.Fatalf("regcast %s goes on after SIG%s", args[1], args[0]) })
	if took := time.Since(sent); took > limit {
		ts.Fatalf("regcast %s took %v to end, want %v at most", args[1], took, limit)
	}
}

// background is the process in the background that began last with regcast subcommand.
func background(ts *testscript.TestScript, subcommand string) *exec.Cmd {
	for _, cmd := range slices.Backward(ts.BackgroundCmds()) {
		if len(cmd.Args) > 1 && cmd.Args[1] == subcommand {
			return cmd
		}
	}
	ts.Fatalf("no regcast %s in the background", subcommand)
	return nil
}

func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || len(args[1]) != len(args[2]) {
		ts.Fatalf("usage: replace FILE OLD NEW, of the same length")
	}
	content := ts.ReadFile(args[0])
	if n := strings.Count(content, args[1]); n != 1 {
		ts.Fatalf("%q is %d times in %s, want once", args[1], n, args[0])
	}
	content = strings.Replace(content, args[1], args[2], 1)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(content), 0o600))
}
