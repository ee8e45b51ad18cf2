package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const defaultFuzzTime = time.Minute

// fuzz runs every fuzz target whose name contains word, each for that long: go test
// takes one target at a time.
func (d *dev) fuzz(ctx context.Context, length time.Duration, word string) error {
	packages, err := testPackages(d.root)
	if err != nil {
		return err
	}
	found := false
	for _, p := range packages {
		for _, target := range p.fuzz {
			if !strings.Contains(target, word) || ctx.Err() != nil {
				continue
			}
			found = true
			d.step(p.dir+" "+target, func() error {
				// Unbounded, making one interesting input smaller takes up to a minute in which
				// nothing is tried.
				return d.command(ctx, nil, "go", "test", "-run=^$", "-fuzz=^"+target+"$",
					"-fuzztime="+length.String(), "-fuzzminimizetime=10x", "./"+p.dir)
			})
		}
	}
	if !found {
		return fmt.Errorf("no fuzz target whose name contains %q", word)
	}
	return d.finish(ctx)
}

// golden runs the tests of every package that has a flag -update, with it set.
func (d *dev) golden(ctx context.Context) error {
	packages, err := testPackages(d.root)
	if err != nil {
		return err
	}
	args := []string{"test", "-count=1"}
	for _, p := range packages {
		if p.update {
			args = append(args, "./"+p.dir)
		}
	}
	if len(args) == 2 {
		return errors.New("no package has golden files: none of the tests defines a flag -update")
	}
	return d.command(ctx, nil, "go", append(args, "-args", "-update")...)
}

// testPackage is what the test files of one folder offer.
type testPackage struct {
	dir    string   // below the root
	fuzz   []string // names of fuzz targets
	update bool     // a flag -update rewrites golden files
}

// testPackages reads every test file, sorted by folder.
func testPackages(root string) ([]testPackage, error) {
	files, err := goFiles(root)
	if err != nil {
		return nil, err
	}
	byDir := make(map[string]*testPackage)
	for _, name := range files {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		dir := path.Dir(name)
		p := byDir[dir]
		if p == nil {
			p = &testPackage{dir: dir}
			byDir[dir] = p
		}
		p.read(file)
	}
	packages := make([]testPackage, 0, len(byDir))
	for _, p := range byDir {
		packages = append(packages, *p)
	}
	slices.SortFunc(packages, func(a, b testPackage) int { return strings.Compare(a.dir, b.dir) })
	return packages, nil
}

func (p *testPackage) read(file *ast.File) {
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Fuzz") && f.Name.Name != "Fuzz" {
			p.fuzz = append(p.fuzz, f.Name.Name)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if ok && isCall(call, "flag", "Bool") && len(call.Args) > 0 {
			if name, ok := call.Args[0].(*ast.BasicLit); ok && name.Value == strconv.Quote("update") {
				p.update = true
			}
		}
		return true
	})
}

// isCall tells whether call is pkg.name(…).
func isCall(call *ast.CallExpr, pkg, name string) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg
}
