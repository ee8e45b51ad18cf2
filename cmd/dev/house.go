package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// maxFileLines is a prompt to think, not a limit: longer files are warned of.
const maxFileLines = 400

var unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)

// A folder is the parsed Go code of one directory.
type folder struct {
	dir   string // below the root, with slashes
	files []sourceFile
}

type sourceFile struct {
	name  string // below the root
	test  bool
	lines int
	set   *token.FileSet
	ast   *ast.File
}

func (f sourceFile) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.name, f.set.Position(n.Pos()).Line)
}

// checkHouse lists how the code under root breaks our own rules, and what is merely
// worth a thought.
func checkHouse(root string) (wrong, warnings []string, err error) {
	folders, err := readFolders(root)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range folders {
		w, n := f.judge()
		wrong, warnings = append(wrong, w...), append(warnings, n...)
	}
	return wrong, warnings, nil
}

func readFolders(root string) ([]folder, error) {
	names, err := goFiles(root)
	if err != nil {
		return nil, err
	}
	byDir := make(map[string]*folder)
	var dirs []string
	for _, name := range names {
		source, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		file, err := parseSource(name, source)
		if err != nil {
			return nil, err
		}
		dir := path.Dir(name)
		if byDir[dir] == nil {
			byDir[dir] = &folder{dir: dir}
			dirs = append(dirs, dir)
		}
		byDir[dir].files = append(byDir[dir].files, file)
	}
	slices.Sort(dirs)
	folders := make([]folder, len(dirs))
	for i, dir := range dirs {
		folders[i] = *byDir[dir]
	}
	return folders, nil
}

func parseSource(name string, source []byte) (sourceFile, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return sourceFile{}, err
	}
	return sourceFile{name, strings.HasSuffix(name, "_test.go"), bytes.Count(source, []byte("\n")), set, file}, nil
}

func (f folder) judge() (wrong, warnings []string) {
	for _, file := range f.files {
		wrong = append(wrong, file.inits()...)
		wrong = append(wrong, file.unfinished()...)
		if !file.test && file.lines > maxFileLines {
			warnings = append(warnings, fmt.Sprintf("%s has %d lines: does it hold one thing?", file.name, file.lines))
		}
	}
	wrong = append(wrong, f.sleeps()...)
	wrong = append(wrong, f.packageComment()...)
	wrong = append(wrong, f.mutableState()...)
	wrong = append(wrong, f.missingExamples()...)
	return wrong, warnings
}

// inits: what runs at import runs in every program that embeds us, unasked.
func (f sourceFile) inits() (wrong []string) {
	for _, decl := range f.ast.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			wrong = append(wrong, f.at(fn)+": init runs in every program that embeds us; let a constructor do it")
		}
	}
	return wrong
}

func (f sourceFile) unfinished() (wrong []string) {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if unfinished.MatchString(c.Text) {
				wrong = append(wrong, f.at(c)+": unfinished: do it now, or say in words what is not done and why")
			}
		}
	}
	return wrong
}

// packageComment: one file of a package says what it is; two would say two things.
func (f folder) packageComment() []string {
	var with, names []string
	for _, file := range f.files {
		if file.test {
			continue
		}
		names = append(names, file.name)
		if file.ast.Doc != nil {
			with = append(with, file.name)
		}
	}
	switch {
	case len(names) == 0 || len(with) == 1:
		return nil
	case len(with) == 0:
		return []string{f.dir + ": no package comment"}
	}
	return []string{f.dir + ": more than one package comment: " + strings.Join(with, ", ")}
}

// missingExamples: who may import a package learns its constructors from code that is
// compiled, run and checked. Packages under cmd and examples have no importers.
func (f folder) missingExamples() (wrong []string) {
	top, _, _ := strings.Cut(f.dir, "/")
	if top == "cmd" || top == "examples" {
		return nil
	}
	called := f.calledInExamples()
	for _, file := range f.files {
		if file.test {
			continue
		}
		for _, decl := range file.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if ok && fn.Recv == nil && isConstructor(fn.Name.Name) && !called[fn.Name.Name] {
				wrong = append(wrong, fmt.Sprintf("%s: no Example with an Output calls %s", file.at(fn), fn.Name.Name))
			}
		}
	}
	return wrong
}

func isConstructor(name string) bool {
	return strings.HasPrefix(name, "New") || strings.HasPrefix(name, "Open")
}

// calledInExamples collects the names of all functions that runnable examples call.
func (f folder) calledInExamples() map[string]bool {
	called := make(map[string]bool)
	for _, file := range f.files {
		if !file.test {
			continue
		}
		for _, decl := range file.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Example") || !file.hasOutput(fn) {
				continue
			}
			for _, name := range calls(fn) {
				called[name] = true
			}
		}
	}
	return called
}

// hasOutput tells whether go test runs the example instead of only compiling it.
func (f sourceFile) hasOutput(fn *ast.FuncDecl) bool {
	for _, group := range f.ast.Comments {
		if group.Pos() > fn.Pos() && group.End() < fn.End() {
			text := strings.ToLower(group.Text())
			if strings.HasPrefix(text, "output:") || strings.HasPrefix(text, "unordered output:") {
				return true
			}
		}
	}
	return false
}
