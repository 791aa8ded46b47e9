package test

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
)

// faces are the packages that answer requests with pages.
var faces = []string{"portal", "gate"}

// TestL03NoHandlerLeadsToItself holds that nothing which answers requests calls
// itself, be it through others: the answer to a failure can't be what failed, so
// no sequence of failures is endless.
func TestL03NoHandlerLeadsToItself(t *testing.T) {
	for _, p := range shipped(t) {
		if !slices.Contains(faces, p.name()) {
			continue
		}
		calls := callsIn(p.parsed(t, token.NewFileSet()))
		if len(calls) < 20 {
			t.Fatalf("package %s has %d functions: too few to be all", p.name(), len(calls))
		}
		// It has itself called again later, by a timer, and not from within.
		delete(calls, "responseGuard.breakOff")
		if way := cycle(calls); way != nil {
			t.Errorf("package %s calls itself: %s", p.name(), strings.Join(way, " → "))
		}
	}
}

func TestCyclesAreFound(t *testing.T) {
	for _, c := range []struct {
		calls map[string][]string
		want  int
	}{
		{map[string][]string{"show": {"page"}, "page": {"fault"}, "fault": nil}, 0},
		{map[string][]string{"show": {"page", "fault"}, "page": {"fault"}, "fault": nil}, 0},
		{map[string][]string{"show": {"page"}, "page": {"failed"}, "failed": {"show"}}, 4},
		{map[string][]string{"a": {"b"}, "b": {"b"}}, 2},
	} {
		if way := cycle(c.calls); len(way) != c.want {
			t.Errorf("%v: found %v", c.calls, way)
		}
	}
}

// callsIn returns which functions and methods of a package each of them names: a
// method as Type.Method where its own receiver, or one of the same type, bears
// it. What is handed on to be called later counts as called.
func callsIn(files []*ast.File) map[string][]string {
	declared := make(map[string]*ast.FuncDecl)
	for _, file := range files {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				declared[qualified(receiverOf(f), f.Name.Name)] = f
			}
		}
	}
	calls := make(map[string][]string, len(declared))
	for name, f := range declared {
		calls[name] = nil
		if f.Body == nil {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			called := ""
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == receiverName(f) {
					called = qualified(receiverOf(f), n.Sel.Name)
				}
			case *ast.CallExpr:
				if x, ok := n.Fun.(*ast.Ident); ok {
					called = x.Name
				}
			}
			if _, ours := declared[called]; ours {
				calls[name] = append(calls[name], called)
			}
			return true
		})
	}
	return calls
}

func qualified(receiver, name string) string {
	if receiver == "" {
		return name
	}
	return receiver + "." + name
}

// receiverOf returns the type that a method belongs to; empty: it is a function.
func receiverOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if name, ok := of.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

func receiverName(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List[0].Names) == 0 {
		return ""
	}
	return f.Recv.List[0].Names[0].Name
}

// cycle returns a way that leads from a function back to it; nil: there is none.
func cycle(calls map[string][]string) []string {
	finished := make(map[string]bool)
	var way []string
	var visit func(string) []string
	visit = func(name string) []string {
		if i := slices.Index(way, name); i >= 0 {
			return append(slices.Clone(way[i:]), name)
		}
		if finished[name] {
			return nil
		}
		way = append(way, name)
		for _, next := range calls[name] {
			if found := visit(next); found != nil {
				return found
			}
		}
		way = way[:len(way)-1]
		finished[name] = true
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		if found := visit(name); found != nil {
			return found
		}
	}
	return nil
}
