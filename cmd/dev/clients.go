package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// A client is a command-line program that tests drive a registry with.
type client struct {
	name    string // of the program
	module  string
	version string
	folder  string // of its package, below the module's root
}

// clients pins them, here and nowhere else. Like the linters they stay out of go.mod, and
// each is built as its authors do: with the versions in its own go.mod.
func clients() []client {
	return []client{
		{"crane", "github.com/google/go-containerregistry", "v0.22.1", "./cmd/crane"},
		{"oras", "oras.land/oras", "v1.2.3", "./cmd/oras"},
		{"regctl", "github.com/regclient/regclient", "v0.11.7", "./cmd/regctl"},
	}
}

// provideClients builds the clients that are not in the user's cache, and puts them into
// the PATH of all that we run. The tests of a client that is missing say so.
func (d *dev) provideClients(ctx context.Context) error {
	folder, err := clientFolder(clients())
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range clients() {
		path := filepath.Join(folder, c.name)
		if _, err := os.Stat(path); err != nil {
			fmt.Fprintf(d.out, "%s: building %s %s\n", c.name, c.module, c.version)
			if err := c.build(ctx, path); err != nil {
				fmt.Fprintf(d.out, "%s: %v\n", c.name, err)
				d.skip(fmt.Sprintf("%s does not push and pull through the observer and the proxy", c.name))
				errs = append(errs, err)
				continue
			}
		}
		fmt.Fprintf(d.out, "%s: %s\n", c.name, path)
	}
	if err := os.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return err
	}
	if d.ci {
		return errors.Join(errs...)
	}
	return nil
}

// clientFolder is where clients of these versions, built by this toolchain, are kept.
func clientFolder(clients []client) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a place to keep clients: %w", err)
	}
	sum := sha256.Sum256(fmt.Append(nil, clients, runtime.Version()))
	return filepath.Join(cache, "regcast", "tools", hex.EncodeToString(sum[:8])), nil
}

// build builds the client as path. It is not "go install", which asks the module proxy
// for all versions of a module, too: for oras.land/oras that is refused.
func (c client) build(ctx context.Context, path string) error {
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", c.module+"@"+c.version)
	download.Dir = os.TempDir() // outside of our module
	answer, err := download.Output()
	var module struct{ Dir, Error string }
	if json.Unmarshal(answer, &module) == nil && module.Error != "" {
		err = errors.New(module.Error)
	}
	if err != nil {
		return fmt.Errorf("downloading %s %s: %w", c.module, c.version, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// Beside it first: what is there under its name is whole.
	part := fmt.Sprintf("%s.%d", path, os.Getpid())
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", part, c.folder)
	build.Dir = module.Dir
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s %s: %w\n%s", c.module, c.version, err, out)
	}
	return os.Rename(part, path)
}
