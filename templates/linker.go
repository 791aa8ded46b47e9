package templates

import (
	"html/template"
	"slices"
	"text/template/parse"
)

// linker puts pages into one set of templates. What all pages share is in it
// once, instead of once for each page: escaping changes templates, so pages
// that are parsed apart share nothing.
//
// All pages define templates of the same names ("title", "main"), so those get
// a name of their own page. A shared template that calls one of them, directly
// or not, is copied for that page; the others are not.
type linker struct {
	common trees
	frame  string // name of the common template that each page begins with
	linked *template.Template
}

// newLinker returns a linker of pages that share the templates of common and
// begin with its template frame.
func newLinker(common *template.Template, frame string, functions template.FuncMap) *linker {
	return &linker{common: treesOf(common), frame: frame, linked: template.New("").Funcs(functions)}
}

// nameOf returns the name under which a page is linked.
func (l *linker) nameOf(page string) string { return ownName(page, l.frame) }

func ownName(page, name string) string { return page + ": " + name }

// add links a page.
func (l *linker) add(page string, parsed *template.Template) error {
	used := l.reach(treesOf(parsed))
	own := used.ownOrCallingOwn(l.common)
	own[l.frame] = true // also where nothing is the page's own
	for name, tree := range used {
		switch {
		case own[name]:
			name, tree = ownName(page, name), tree.Copy()
			for _, call := range callsIn(tree.Root) {
				if own[call.Name] {
					call.Name = ownName(page, call.Name)
				}
			}
		case l.linked.Lookup(name) != nil:
			continue
		}
		if _, err := l.linked.AddParseTree(name, tree); err != nil {
			return err
		}
	}
	return nil
}

// trees are templates by the names under which they call one another.
type trees map[string]*parse.Tree

func treesOf(set *template.Template) trees {
	found := make(trees)
	for _, t := range set.Templates() {
		if t.Tree != nil {
			found[t.Name()] = t.Tree
		}
	}
	return found
}

// reach returns the templates that a page uses, of which it defines own. An
// empty definition replaces nothing, as in package text/template. What is
// missing is left to the page's first execution, which says so.
func (l *linker) reach(own trees) trees {
	used := make(trees)
	waiting := []string{l.frame}
	for len(waiting) > 0 {
		name := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		tree := l.common[name]
		if defined := own[name]; defined != nil && (tree == nil || !parse.IsEmptyTree(defined.Root)) {
			tree = defined
		}
		if tree == nil || used[name] != nil {
			continue
		}
		used[name] = tree
		for _, call := range callsIn(tree.Root) {
			waiting = append(waiting, call.Name)
		}
	}
	return used
}

// ownOrCallingOwn returns the names of those that aren't common, and of those
// that call such a one, directly or not.
func (used trees) ownOrCallingOwn(common trees) map[string]bool {
	own := make(map[string]bool)
	for grown := true; grown; {
		grown = false
		for name, tree := range used {
			isOwn := tree != common[name] || slices.ContainsFunc(callsIn(tree.Root), func(call *parse.TemplateNode) bool { return own[call.Name] })
			if isOwn && !own[name] {
				own[name], grown = true, true
			}
		}
	}
	return own
}

// callsIn collects the calls of templates in a tree.
func callsIn(node parse.Node) []*parse.TemplateNode {
	var calls []*parse.TemplateNode
	for _, child := range children(node) {
		calls = append(calls, callsIn(child)...)
	}
	if call, ok := node.(*parse.TemplateNode); ok {
		calls = append(calls, call)
	}
	return calls
}
