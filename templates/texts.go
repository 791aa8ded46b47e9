package templates

import (
	"fmt"
	"html/template"
	"maps"
	"slices"
	"text/template/parse"
)

// checkTexts wants every text that the templates name in the catalogue, with
// the values that it needs, in branches too that no empty view takes.
func checkTexts(parsed *template.Template, texts *catalogue) error {
	for _, t := range parsed.Templates() {
		if err := checkTree(t.Tree, texts); err != nil {
			return err
		}
	}
	return nil
}

// checkTree is checkTexts for one tree; nil: there is nothing to check.
func checkTree(tree *parse.Tree, texts *catalogue) error {
	if tree == nil {
		return nil
	}
	for _, used := range textsOf(tree.Root) {
		if err := used.check(texts); err != nil {
			place, _ := tree.ErrorContext(used.node)
			return fmt.Errorf("%s: %w", place, err)
		}
	}
	return nil
}

// usedText is a call of t, rich or plural with a key written out.
type usedText struct {
	node  parse.Node
	key   string
	names []string // of the values given to it
}

func (u usedText) check(texts *catalogue) error {
	found, there := texts.messages[u.key]
	if !there {
		return fmt.Errorf("there is no text %q; the nearest is %q", u.key, nearest(u.key, slices.Collect(maps.Keys(texts.messages))))
	}
	for _, name := range found.placeholders {
		if !slices.Contains(u.names, name) {
			return fmt.Errorf("the text %q needs the value %q", u.key, name)
		}
	}
	return nil
}

// textsOf collects the calls in a tree.
func textsOf(node parse.Node) []usedText {
	var used []usedText
	for _, child := range children(node) {
		used = append(used, textsOf(child)...)
	}
	if command, ok := node.(*parse.CommandNode); ok {
		if call, ok := textOf(command); ok {
			used = append(used, call)
		}
	}
	return used
}

// children returns what a node consists of, as far as calls can be in it.
func children(node parse.Node) []parse.Node {
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		return n.Nodes
	case *parse.ActionNode:
		return []parse.Node{n.Pipe}
	case *parse.TemplateNode:
		return []parse.Node{n.Pipe}
	case *parse.IfNode:
		return []parse.Node{n.Pipe, n.List, n.ElseList}
	case *parse.WithNode:
		return []parse.Node{n.Pipe, n.List, n.ElseList}
	case *parse.RangeNode:
		return []parse.Node{n.Pipe, n.List, n.ElseList}
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		commands := make([]parse.Node, len(n.Cmds))
		for i, command := range n.Cmds {
			commands[i] = command
		}
		return commands
	case *parse.CommandNode:
		return n.Args
	}
	return nil
}

func textOf(command *parse.CommandNode) (usedText, bool) {
	function, ok := command.Args[0].(*parse.IdentifierNode)
	if !ok || len(command.Args) < 2 {
		return usedText{}, false
	}
	key, ok := command.Args[1].(*parse.StringNode)
	if !ok {
		return usedText{}, false
	}
	used := usedText{node: command, key: key.Text}
	values := command.Args[2:]
	switch function.Ident {
	case "t", "rich":
	case "plural":
		used.names = []string{"Count"}
		values = values[min(1, len(values)):]
	default:
		return usedText{}, false
	}
	for i := 0; i < len(values); i += 2 {
		if name, ok := values[i].(*parse.StringNode); ok {
			used.names = append(used.names, name.Text)
		}
	}
	return used, true
}
