package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
)

// mutableState lists the package-level variables of a folder that could change while a
// program runs: two embedders in one process would share them. A variable passes if it
// has a value from the start that is a table, a string, an error, a compiled pattern or
// the like, and nothing in the package assigns to it, to a part of it, or takes its
// address. Tests may keep flags and tables as they like, and nobody imports an example.
func (f folder) mutableState() (wrong []string) {
	if top, _, _ := strings.Cut(f.dir, "/"); top == "examples" {
		return nil
	}
	written := f.writtenNames()
	for _, file := range f.files {
		if file.test {
			continue
		}
		for _, decl := range file.ast.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, s := range gen.Specs {
				spec := s.(*ast.ValueSpec)
				if isEmbedded(gen, spec) {
					continue
				}
				for i, name := range spec.Names {
					if name.Name == "_" {
						continue
					}
					if why := stateProblem(spec, i, written[name.Name]); why != "" {
						wrong = append(wrong, fmt.Sprintf("%s: package variable %s %s", file.at(name), name.Name, why))
					}
				}
			}
		}
	}
	return wrong
}

func stateProblem(spec *ast.ValueSpec, i int, written bool) string {
	if written {
		return "is changed while the program runs; let a constructor own it"
	}
	if len(spec.Values) == 0 {
		return "starts empty, so something must change it later; let a constructor own it"
	}
	value := spec.Values[min(i, len(spec.Values)-1)] // var a, b = f()
	switch v := value.(type) {
	case *ast.UnaryExpr:
		if v.Op == token.AND {
			return "is a pointer to something that can change; let a constructor own it"
		}
	case *ast.CallExpr:
		if fn, ok := v.Fun.(*ast.Ident); ok && (fn.Name == "make" || fn.Name == "new") {
			return "starts empty, so something must change it later; let a constructor own it"
		}
	case *ast.CompositeLit:
		if sel, ok := v.Type.(*ast.SelectorExpr); ok {
			// A pool has no state that its users could observe; all else in sync is state.
			pkg, _ := sel.X.(*ast.Ident)
			if pkg != nil && (pkg.Name == "sync" && sel.Sel.Name != "Pool" || pkg.Name == "atomic") {
				return "is a " + pkg.Name + "." + sel.Sel.Name + ", which exists to change; let a constructor own it"
			}
		}
	}
	return ""
}

func isEmbedded(gen *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{gen.Doc, spec.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// writtenNames collects the names that the code outside of tests assigns to, counts up,
// takes the address of or deletes from, or of which it does so with a part. A function's
// own variable of the same name counts only from outside of that function.
func (f folder) writtenNames() map[string]bool {
	written := make(map[string]bool)
	for _, file := range f.files {
		if file.test {
			continue
		}
		for _, decl := range file.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			local := localNames(fn)
			for _, name := range writes(fn.Body) {
				if !local[name] {
					written[name] = true
				}
			}
		}
	}
	return written
}

// writes lists the variables at the root of what body changes.
func writes(body *ast.BlockStmt) (names []string) {
	add := func(e ast.Expr) {
		if name := rootName(e); name != "" {
			names = append(names, name)
		}
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, left := range n.Lhs {
					add(left)
				}
			}
		case *ast.IncDecStmt:
			add(n.X)
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				add(n.Key)
				add(n.Value)
			}
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				add(n.X)
			}
		case *ast.CallExpr:
			if fn, ok := n.Fun.(*ast.Ident); ok && (fn.Name == "delete" || fn.Name == "clear") && len(n.Args) > 0 {
				add(n.Args[0])
			}
		}
		return true
	})
	return names
}

// rootName is the variable at the root of x, x.f, x[i] and *x.
func rootName(e ast.Expr) string {
	for {
		switch v := e.(type) {
		case *ast.Ident:
			return v.Name
		case *ast.SelectorExpr:
			e = v.X
		case *ast.IndexExpr:
			e = v.X
		case *ast.StarExpr:
			e = v.X
		case *ast.ParenExpr:
			e = v.X
		default:
			return ""
		}
	}
}

// localNames collects what fn declares itself: its receiver, parameters, results and
// variables.
func localNames(fn *ast.FuncDecl) map[string]bool {
	local := make(map[string]bool)
	add := func(e ast.Expr) {
		if name, ok := e.(*ast.Ident); ok {
			local[name.Name] = true
		}
	}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				local[name.Name] = true
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, left := range n.Lhs {
					add(left)
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				add(n.Key)
				add(n.Value)
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				local[name.Name] = true
			}
		}
		return true
	})
	return local
}
