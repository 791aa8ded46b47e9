package gate

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
)

// addAliases adds the rules that are about another path under which the site may
// serve the same, but not about the path that was asked for: a rule for /admin/* holds
// for /admin too, and one for /x/index.html for /x/. Where a rule is about both, an
// earlier one was written to decide here. What a rule opens, it opens under its own
// path alone.
func (g *Gate) addAliases(r *request) error {
	if r.Method != http.MethodConnect {
		return g.addRulesOfAliases(r)
	}
	undo := asUpgrade(r.Request)
	err := g.agree(r.Request, true)
	if err == nil {
		err = g.addRulesOfAliases(r)
	}
	undo()
	return cmp.Or(err, g.agree(r.Request, true))
}

func (g *Gate) addRulesOfAliases(r *request) error {
	own := targetOf(r.Request)
	aliases, err := g.aliasesOf(own, r.readings)
	if err != nil || len(aliases) == 0 {
		return err
	}
	methods, err := overrides(r.Request)
	if err != nil {
		return err
	}
	methods = append(append(methods, r.Method), g.impliedMethods(r.Method)...)
	if len(aliases)*len(methods) > maxForms {
		return errAmbiguous
	}
	for _, method := range methods {
		if err := g.addAliasRules(r, own.as(method), aliases); err != nil {
			return err
		}
	}
	if sendsForm(r.Request) {
		for _, method := range formMethods {
			if rules, err := g.aliasRules(r, own.as(method), aliases); err != nil || len(rules) > 0 {
				r.barred = append(r.barred, method)
			}
		}
	}
	// What matchers remember is to be of the request's own target.
	_, err = g.firstMatch(r.Request)
	return err
}

// alias is another path under which the site may serve what it serves under a path.
type alias struct{ of, path string }

// aliasesOf returns the aliases of a target's path and its readings, or an error where
// asking about them costs too much.
func (g *Gate) aliasesOf(named target, readings []string) (all []alias, err error) {
	length := 0
	for i := -1; i < len(readings); i++ {
		path := named.path
		if i >= 0 {
			path = readings[i]
		}
		if !g.aliases.matter(g.Aliases, path) {
			continue
		}
		for _, other := range g.Aliases.Paths(path) {
			all = append(all, alias{path, other})
			length += len(other) + len(named.query)
		}
	}
	if len(all) > maxForms || length > maxFormBytes {
		return nil, errAmbiguous
	}
	return all, nil
}

// aliasUse says what the rules that aren't open could make of aliases.
type aliasUse struct {
	// patterns are all that tells paths apart, unless anything may.
	patterns []string
	anything bool
}

func aliasUseOf(rules []Rule) (use aliasUse) {
	for _, rule := range rules {
		if !rule.Open && rule.Match != nil {
			use.patterns = append(use.patterns, rule.Patterns...)
			use.anything = use.anything || !rule.PatternsTell
		}
	}
	return use
}

// matter reports whether a rule could tell an alias of a path from the path.
func (use aliasUse) matter(aliases canonical.Aliases, path string) bool {
	return use.anything || aliases.MayMatter(path, use.patterns)
}

// addAliasRules adds the rules that aliasRules returns.
func (g *Gate) addAliasRules(r *request, named target, aliases []alias) error {
	rules, err := g.aliasRules(r, named, aliases)
	r.also = append(r.also, rules...)
	return err
}

// aliasRules returns the rules that are about aliases of a target and not about its
// path, except those that hold already.
func (g *Gate) aliasRules(r *request, named target, aliases []alias) (rules []*Rule, err error) {
	for _, other := range aliases {
		rule, err := g.ruleOfAlias(r.Request, named.read(other.of), named.read(other.path))
		if err != nil {
			return nil, err
		}
		if rule != nil && rule != r.rule && !slices.Contains(r.also, rule) && !slices.Contains(rules, rule) {
			rules = append(rules, rule)
		}
	}
	return rules, nil
}

// ruleOfAlias returns the rule that decides on an alias of a path; nil: it opens the
// alias, or is about the path, too.
func (g *Gate) ruleOfAlias(r *http.Request, path, alias target) (*Rule, error) {
	index, err := g.likewise(r, alias, g.firstMatch)
	if err != nil {
		return nil, err
	}
	rule := &g.Rules[index]
	if rule.Open || rule.Match == nil {
		return nil, nil
	}
	_, err = g.likewise(r, path, func(r *http.Request) (int, error) {
		about, err := g.matches(rule, r)
		if about {
			rule = nil
		}
		return 0, err
	})
	return rule, err
}

// likewise is asIf for a target that nobody has asked for: whatever handlers before
// the gate would have taken from such a request says nothing about this one.
func (g *Gate) likewise(r *http.Request, other target, find func(*http.Request) (int, error)) (int, error) {
	own := targetOf(r)
	other.putInto(r)
	_ = g.agree(r, true)
	index, err := find(r)
	own.putInto(r)
	return index, cmp.Or(err, g.agree(r, true))
}
