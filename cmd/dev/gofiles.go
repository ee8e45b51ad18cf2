package main

import (
	"bytes"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// goFiles lists the Go files of the repository by their path below root, as go itself
// sees them: nothing under testdata, nor in folders that begin with a dot or underscore.
func goFiles(root string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") {
			relative, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			files = append(files, filepath.ToSlash(relative))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing Go files: %w", err)
	}
	return files, nil
}

// formatFiles lists the files that gofmt would change and, with write, changes them.
func formatFiles(root string, write bool) ([]string, error) {
	files, err := goFiles(root)
	if err != nil {
		return nil, err
	}
	var changed []string
	for _, name := range files {
		path := filepath.Join(root, name)
		source, err := os.ReadFile(path)
		if err != nil {
			return changed, err
		}
		formatted, err := format.Source(source)
		if err != nil {
			return changed, fmt.Errorf("%s: %w", name, err)
		}
		if bytes.Equal(source, formatted) {
			continue
		}
		changed = append(changed, name)
		if write {
			if err := os.WriteFile(path, formatted, 0o644); err != nil {
				return changed, err
			}
		}
	}
	return changed, nil
}
