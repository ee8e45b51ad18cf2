package main

import "go/ast"

// sleeps lists where the tests of a folder sleep on the real clock: such a test is slow
// when it passes and fails on a busy machine. Inside synctest.Test time costs nothing, and
// so it does in the functions that are called from there, as far as their names tell.
func (f folder) sleeps() (wrong []string) {
	inBubble := f.calledInBubbles()
	for _, file := range f.files {
		if !file.test {
			continue
		}
		for _, decl := range file.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && inBubble[fn.Name.Name] {
				continue
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if isCall(call, "time", "Sleep") {
					wrong = append(wrong, file.at(call)+": time.Sleep on the real clock; wait for what is expected, or use testing/synctest")
				}
				return !isCall(call, "synctest", "Test")
			})
		}
	}
	return wrong
}

// calledInBubbles collects the names of the functions and methods that the tests call
// inside synctest.Test, and of those that these call.
func (f folder) calledInBubbles() map[string]bool {
	bodies := make(map[string][]*ast.FuncDecl)
	var names []string
	for _, file := range f.files {
		for _, decl := range file.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				bodies[fn.Name.Name] = append(bodies[fn.Name.Name], fn)
			}
		}
		ast.Inspect(file.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && isCall(call, "synctest", "Test") {
				names = append(names, calls(call)...)
			}
			return true
		})
	}
	called := make(map[string]bool)
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		if called[name] {
			continue
		}
		called[name] = true
		for _, fn := range bodies[name] {
			names = append(names, calls(fn)...)
		}
	}
	return called
}

// calls lists the names of the functions and methods that are called somewhere in n.
func calls(n ast.Node) (names []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			switch fun := call.Fun.(type) {
			case *ast.Ident:
				names = append(names, fun.Name)
			case *ast.SelectorExpr:
				names = append(names, fun.Sel.Name)
			}
		}
		return true
	})
	return names
}
