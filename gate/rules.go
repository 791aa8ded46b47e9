package gate

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/session"
)

const (
	// maxForms bounds how often one request is matched.
	maxForms = 128
	// maxFormBytes bounds how long all paths and queries are together that are
	// matched for it.
	maxFormBytes = 64 << 10
)

// findRules finds the rule that decides on a request, and those that hold for
// the other targets that its headers name. Whichever of them the app acts on, its
// rule is met.
func (g *Gate) findRules(r *request) error {
	index, err := g.ruleFor(r.Request, r.readings)
	if err != nil {
		return err
	}
	r.rule = &g.Rules[index]
	if len(g.Rules) == 1 {
		return nil
	}
	r.barred = g.barredMethods(r.Request, index)
	named, err := g.otherTargets(r)
	if err != nil {
		return err
	}
	for _, other := range named {
		index, err := g.asIf(r.Request, other, g.ruleOf)
		if err != nil {
			return err
		}
		if rule := &g.Rules[index]; !rule.Open && rule != r.rule && !slices.Contains(r.also, rule) {
			r.also = append(r.also, rule)
		}
		aliases, err := g.aliasesOf(other, nil)
		if err != nil {
			return err
		}
		if err := g.addAliasRules(r, other, aliases); err != nil {
			return err
		}
	}
	if err := g.addAliases(r); err != nil {
		return err
	}
	if r.rule.Open && len(r.also) > 0 {
		r.rule, r.also = r.also[0], r.also[1:]
	}
	if len(named) > 0 || sendsForm(r.Request) {
		// What matchers remember is to be of the request's own target.
		_, err = g.ruleFor(r.Request, r.readings)
	}
	return err
}

// allows is who may go on while a request is under way that passes by a claim.
func (r *request) allows(c *claim) func(session.User) bool {
	isPersonal := c.isPersonal()
	if len(r.also) == 0 && !isPersonal {
		return r.rule.Allows
	}
	rules := append([]*Rule{r.rule}, r.also...)
	return func(u session.User) bool {
		return !slices.ContainsFunc(rules, func(rule *Rule) bool { return !rule.admits(u, isPersonal) })
	}
}

// admits reports whether a user may pass, by an app password or otherwise.
func (rule *Rule) admits(u session.User, byAppPassword bool) bool {
	return rule.Allows(u) && (!byAppPassword || rule.AppPasswords != nil && rule.AppPasswords.Allows(u))
}

// AppPasswords returns the widest limits under which a user's app passwords count
// anywhere on the site; false: they don't count.
func (g *Gate) AppPasswords(u session.User) (widest AppPasswords, ok bool) {
	for i := range g.Rules {
		rule := &g.Rules[i]
		if rule.Open || rule.AppPasswords == nil || !rule.admits(u, true) {
			continue
		}
		widest.Longest, widest.Most = max(widest.Longest, rule.AppPasswords.Longest), max(widest.Most, rule.AppPasswords.Most)
		ok = true
	}
	return widest, ok
}

// Opens reports whether a request would pass for a user who has shown what its
// rule asks. The request is one that nobody sent, such as for the first page.
func (g *Gate) Opens(r *http.Request, u session.User) (bool, error) {
	index, err := g.ruleOf(r)
	if err != nil {
		return false, err
	}
	rule := &g.Rules[index]
	return rule.Open || rule.Allows(u), nil
}

// asIf finds a rule with another target in the place of a request's own: a
// matcher may look at it through placeholders that know this request.
func (g *Gate) asIf(r *http.Request, other target, find func(*http.Request) (int, error)) (index int, err error) {
	own := targetOf(r)
	other.putInto(r)
	if err = g.agree(r, true); err == nil {
		index, err = find(r)
	}
	own.putInto(r)
	return index, cmp.Or(err, g.agree(r, true))
}

// ruleOf is ruleFor where the readings of the path aren't known yet.
func (g *Gate) ruleOf(r *http.Request) (index int, err error) {
	readings, err := canonical.Readings(r.URL)
	if err != nil {
		return 0, err
	}
	return g.ruleFor(r, readings)
}

// ruleFor returns the index of the rule that decides on a request, whose path
// has these other readings, in the form in which it reaches the app.
func (g *Gate) ruleFor(r *http.Request, readings []string) (index int, err error) {
	switch {
	case len(g.Rules) == 1:
		return 0, nil
	case r.Method != http.MethodConnect:
		return g.ruleForAll(r, readings)
	}
	undo := asUpgrade(r)
	if err = g.agree(r, true); err == nil {
		index, err = g.ruleForAll(r, readings)
	}
	undo()
	return index, cmp.Or(err, g.agree(r, true))
}

// ruleForAll returns the rule that decides for every way in which an app could
// read a request, or errAmbiguous.
func (g *Gate) ruleForAll(r *http.Request, readings []string) (int, error) {
	first, err := g.firstMatch(r)
	if err != nil {
		return 0, err
	}
	others, err := g.otherReadings(r, g.withScripts(r.URL.Path, readings, g.Rules[first].Patterns))
	if err != nil || len(others) == 0 {
		return first, err
	}
	for _, other := range others {
		also, err := g.asIf(r, other, g.firstMatch)
		if err != nil {
			return 0, err
		}
		if also != first {
			return 0, errAmbiguous
		}
	}
	// What matchers remember of a request, such as the groups of a regular
	// expression, is to be of the one that was sent.
	return g.firstMatch(r)
}

// otherReadings returns the ways, other than as it is, in which an app could
// read a request: by its path, its query, its method and the port of its host,
// and by all of these together.
func (g *Gate) otherReadings(r *http.Request, paths []string) ([]target, error) {
	queries, err := g.Query.ReadingsBehind(r.URL.Path, paths, r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	methods, err := overrides(r)
	if err != nil {
		return nil, err
	}
	host := g.usualHost(r.Host)
	if len(paths) == 0 && len(queries) == 0 && len(methods) == 0 && host == r.Host {
		return nil, nil
	}
	if (1+len(paths))*(1+len(queries)) > maxForms {
		return nil, canonical.ErrTargetAmbiguous
	}
	all := []target{targetOf(r)}
	for _, path := range paths {
		all = append(all, all[0].read(path))
	}
	for _, one := range all {
		for _, query := range queries {
			all = append(all, one.asking(query))
		}
	}
	for _, one := range all {
		for _, method := range methods {
			all = append(all, one.as(method))
		}
	}
	if host != r.Host {
		for _, one := range all {
			one.host = host
			all = append(all, one)
		}
	}
	return all[1:], checkWork(all)
}

// checkWork refuses a request that can be read in so many ways that asking about
// all of them costs too much.
func checkWork(forms []target) error {
	length := 0
	for _, one := range forms {
		length += len(one.path) + len(one.query)
	}
	if len(forms) > maxForms || len(forms) > 1 && length > maxFormBytes {
		return errAmbiguous
	}
	return nil
}

// withScripts returns the readings of a path and the scripts in all of them.
func (g *Gate) withScripts(path string, readings, patterns []string) []string {
	all := append(readings[:len(readings):len(readings)], g.Scripts.Paths(path, patterns)...)
	for _, reading := range readings {
		for _, script := range g.Scripts.Paths(reading, patterns) {
			if !slices.Contains(all, script) {
				all = append(all, script)
			}
		}
	}
	return all
}

// usualHost returns the host as browsers send it: with the port at which they
// reach the site. Which of its ports a Host header names is for the client to
// say.
func (g *Gate) usualHost(host string) string {
	if g.UsualHost == nil {
		return host
	}
	return g.UsualHost(host)
}

func (g *Gate) firstMatch(r *http.Request) (first int, err error) {
	for i := range g.Rules {
		matches, err := g.matches(&g.Rules[i], r)
		if err != nil {
			return 0, err
		}
		if matches {
			return i, nil
		}
	}
	return 0, errors.New("no rule applies to the request")
}

// matches reports whether a rule is about a request.
func (*Gate) matches(rule *Rule, r *http.Request) (matches bool, err error) {
	if rule.Match == nil {
		return true, nil
	}
	// Matchers are the operator's choice of anybody's code: one that panics
	// decides nothing, and brings nobody through.
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic in a matcher: %v", cause)
		}
	}()
	return rule.Match(r)
}
