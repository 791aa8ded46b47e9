package test

import (
	"go/ast"
	"go/token"
	"go/types"
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

// TestL03FailuresOfThePortalEndInOnePlace holds what an error of a handler may lead
// to: one function answers all of them, which no handler calls and which reaches
// no handler; and the only page that it shows is the one that says what happened.
func TestL03FailuresOfThePortalEndInOnePlace(t *testing.T) {
	const mapper, fault, page, problem = "Portal.failed", "Portal.fault", "Portal.page", "Portal.problem"
	for _, p := range shipped(t) {
		if p.name() != "portal" {
			continue
		}
		files := p.parsed(t, token.NewFileSet())
		calls, handlers := callsIn(files), handlersIn(files)
		if len(handlers) < 40 || calls[mapper] == nil {
			t.Fatalf("found %d handlers, and that failures call %v: too little to be all", len(handlers), calls[mapper])
		}
		reached := reachedFrom(calls, mapper)
		for caller, called := range calls {
			switch {
			case slices.Contains(called, mapper):
				t.Errorf("%s answers a failure itself", caller)
			case slices.Contains(called, fault) && !reached[caller] && caller != "Portal.recovered":
				t.Errorf("%s answers a fault itself", caller)
			case slices.Contains(called, page) && reached[caller] && caller != problem:
				t.Errorf("a failure leads to a page of %s", caller)
			case slices.Contains(handlers, caller) && reached[caller]:
				t.Errorf("a failure leads to %s", caller)
			}
		}
	}
}

// handlersIn returns the methods that answer requests, or say why they can't.
func handlersIn(files []*ast.File) []string {
	var handlers []string
	for _, file := range files {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Type.Results.NumFields() != 1 || f.Type.Params.NumFields() != 2 {
				continue
			}
			if types.ExprString(f.Type.Results.List[0].Type) == "error" && types.ExprString(f.Type.Params.List[0].Type) == "http.ResponseWriter" &&
				types.ExprString(f.Type.Params.List[1].Type) == "*http.Request" {
				handlers = append(handlers, qualified(receiverOf(f), f.Name.Name))
			}
		}
	}
	return handlers
}

// reachedFrom returns what a function calls, be it through others, and itself.
func reachedFrom(calls map[string][]string, name string) map[string]bool {
	reached := make(map[string]bool)
	var visit func(string)
	visit = func(name string) {
		if reached[name] {
			return
		}
		reached[name] = true
		for _, next := range calls[name] {
			visit(next)
		}
	}
	visit(name)
	return reached
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
