package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// go.mod requires the lowest version of distribution that works, for those who embed us.
// newestDistribution is the newest that we have tried; raise it, here and nowhere else,
// when there is a newer one.
const newestDistribution = "v3.1.2"

// testNewest runs the tests that are about distribution with the newest one in place of
// the one that go.mod requires.
func (d *dev) testNewest(ctx context.Context, race []string) error {
	dir, err := os.MkdirTemp("", "regcast-newest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	mod, err := newestMod(ctx, d.root, dir)
	if err != nil {
		return err
	}
	// -mod=mod lets go add to the copies what the newer version needs besides.
	args := append([]string{"-modfile=" + mod, "-mod=mod", "-vet=off", "-timeout=10m"}, race...)
	return d.goTest(ctx, append(args, "./cmd/internal/differential", "./notifications/distribution"))
}

// newestMod copies go.mod and go.sum of root into dir, with the newest distribution
// required, and returns the path of the first.
func newestMod(ctx context.Context, root, dir string) (string, error) {
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return "", err
		}
	}
	mod := filepath.Join(dir, "go.mod")
	edit := exec.CommandContext(ctx, "go", "mod", "edit", "-require=github.com/distribution/distribution/v3@"+newestDistribution, mod)
	if out, err := edit.CombinedOutput(); err != nil {
		return "", fmt.Errorf("requiring distribution %s: %w\n%s", newestDistribution, err, out)
	}
	return mod, nil
}
