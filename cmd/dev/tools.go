package main

import (
	"context"
	"os"
	"strings"
)

// A tool is a linter that is fetched, built and run by go itself.
type tool struct {
	name    string
	pkg     string
	version string
	args    []string
}

// tools pins the linters, here and nowhere else. They stay out of go.mod, which binds
// our embedders; go checks what it downloads against the public checksum database.
func tools() []tool {
	return []tool{
		{"staticcheck", "honnef.co/go/tools/cmd/staticcheck", "v0.8.2", []string{"-checks=all"}},
	}
}

// run builds the tool and lets it loose on all packages. With race, the tool's view of
// our dependencies is the one that the tests are built with: they are compiled once.
func (t tool) run(ctx context.Context, d *dev, race []string) error {
	args := []string{"run"}
	if len(race) > 0 {
		// Not in our own environment: the tool itself must not be built with -race.
		flags := strings.TrimSpace(os.Getenv("GOFLAGS") + " -race")
		args = append(args, "-exec", "env 'GOFLAGS="+flags+"'")
	}
	args = append(args, t.pkg+"@"+t.version)
	args = append(args, t.args...)
	return d.command(ctx, nil, "go", append(args, "./...")...)
}
