package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestClientFolderIsOfItsVersions(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	folder := func(clients []client) string {
		t.Helper()
		f, err := clientFolder(clients)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	now := folder(clients())
	if again := folder(clients()); now != again {
		t.Errorf("%s, and then %s", now, again)
	}
	other := slices.Clone(clients())
	other[0].version = "v0.0.1"
	if now == folder(other) {
		t.Error("another version has the same folder")
	}
}

func TestClientThatDoesNotBuild(t *testing.T) {
	c := client{"none", "not a module", "v1.0.0", "."}
	path := filepath.Join(t.TempDir(), "none")
	if err := c.build(t.Context(), path); err == nil || !strings.Contains(err.Error(), "not a module") {
		t.Errorf("build: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it is there")
	}
}

func TestNewestMod(t *testing.T) {
	root, dir := "../..", t.TempDir()
	path, err := newestMod(t.Context(), root, dir)
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		t.Helper()
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	require := "github.com/distribution/distribution/v3 "
	ours, newest := read(filepath.Join(root, "go.mod")), read(path)
	if !strings.Contains(newest, require+newestDistribution+"\n") {
		t.Errorf("%s does not require %s", path, newestDistribution)
	}
	if strings.Contains(ours, require+newestDistribution+"\n") {
		t.Errorf("go.mod requires the newest distribution; the step that tries it is of no use")
	}
	if read(filepath.Join(dir, "go.sum")) != read(filepath.Join(root, "go.sum")) {
		t.Error("go.sum is another")
	}
}
