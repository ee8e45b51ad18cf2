package main

import (
	"testing"

	"github.com/spf13/cobra"
)

// The help of every command teaches, and those that talk to a dispatcher are alike.
func TestHelp(t *testing.T) {
	root := newRootCommand(new(bool))
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" || cmd.Long == "" {
			t.Errorf("%s has no help", cmd.CommandPath())
		}
		if !cmd.HasSubCommands() && cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		if operates(cmd) {
			for _, flag := range []string{"admin", "token-file", "json"} {
				if cmd.Flags().Lookup(flag) == nil {
					t.Errorf("%s has no flag --%s", cmd.CommandPath(), flag)
				}
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

func operates(cmd *cobra.Command) bool {
	for c := cmd; c != nil; c = c.Parent() {
		if c.GroupID == groupOperate {
			return true
		}
	}
	return false
}
