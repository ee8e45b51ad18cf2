package main

import (
	"net"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestTrial lets send and receive talk to each other on loopback, as testdata/trial/*.txtar
// say. Beside the commands of testscript they have:
//
//	address VAR     # a free address on loopback, for a server that is started later, or again
//	listening ADDR  # waits until a server takes connections there
func TestTrial(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/trial",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"address":   address,
			"listening": listening,
		},
	})
}

func address(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: address VAR")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	// While it has a connection, nobody is given the port who does not ask for it.
	near, err := net.Dial("tcp", l.Addr().String())
	ts.Check(err)
	ts.Defer(func() { near.Close() })
	far, err := l.Accept()
	ts.Check(err)
	ts.Defer(func() { far.Close() })
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

func listening(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listening ADDR")
	}
	soon(ts, func() bool { return !isFree(args[0]) }, func() { ts.Fatalf("nobody listens on %s", args[0]) })
}

// isFree tells whether nobody takes connections at addr.
func isFree(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return true
	}
	_ = conn.Close() // nothing was sent
	return false
}
