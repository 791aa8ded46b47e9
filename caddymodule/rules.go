package caddymodule

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
	"github.com/portcullis-mfa/portcullis/gate"
)

// Rule says what is different for part of a site.
type Rule struct {
	// MatcherSetsRaw says which requests the rule is for. Required.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// Open lets these requests through without a sign-in. It can't be combined with the
	// settings below. Default: false.
	Open bool `json:"open,omitempty"`

	// Allow is who may pass, in place of the gate's list. Default: the gate's.
	Allow *People `json:"allow,omitempty"`

	// Tokens are the credentials of programs that count, as in the gate. Default: the
	// gate's, but none if the rule sets assurance, max_age or certificate require.
	Tokens *Tokens `json:"tokens,omitempty"`

	// Assurance is what people must have proved, as in the gate. Default: the gate's.
	Assurance string `json:"assurance,omitempty"`

	// MaxAge is how old the proof that the assurance depends on may be. Default:
	// the gate's.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// Certificate is what the certificate of a managed device does: accept,
	// require, and_password or off. Default: the gate's.
	Certificate string `json:"certificate,omitempty"`
}

// resolvedRule is a rule with nothing left to inherit.
type resolvedRule struct {
	matchers caddyhttp.MatcherSets // none for what stands outside rules
	patterns []string              // of paths: those without wildcards, and beginnings
	// patternsTell says that nothing else tells paths apart.
	patternsTell bool
	open         bool
	allow        audience
	requirement  assurance.Requirement
	// explicit says that an assurance or a max_age was written.
	explicit bool
	// certificate is the mode that was written; empty: none.
	certificate string
	// serviceTokens lets programs pass with service tokens, and appPasswords with app
	// passwords; nil: they don't.
	serviceTokens bool
	appPasswords  *gate.AppPasswords
}

// takesTokens reports whether some tokens count.
func (r resolvedRule) takesTokens() bool { return r.serviceTokens || r.appPasswords != nil }

// resolveRest resolves the gate's own settings.
func (g *Gate) resolveRest() error {
	everySession := resolvedRule{
		allow:       audience{everybody: true},
		requirement: assurance.Requirement{Level: assurance.Multi},
	}
	var err error
	g.rest, err = g.inherit(everySession, &Rule{Allow: g.Allow, Assurance: g.Assurance, MaxAge: g.MaxAge, Certificate: g.Certificate, Tokens: g.Tokens})
	return err
}

func (g *Gate) resolveRule(rule *Rule) (resolvedRule, error) {
	if rule == nil {
		return resolvedRule{}, errors.New("it is null")
	}
	if looks, names := matching.LooksAtQuery(rule.MatcherSetsRaw); looks {
		g.asksQuery = true
		g.parameters = append(g.parameters, names...)
	}
	g.namesHead = g.namesHead || matching.NamesHead(rule.MatcherSetsRaw)
	patterns := matching.PlainPatterns(rule.MatcherSetsRaw)
	matchers, err := loadMatchers(g.ctx, rule, "MatcherSetsRaw", rule.MatcherSetsRaw)
	if err != nil {
		return resolvedRule{}, err
	}
	if !rule.Open {
		resolved, err := g.inherit(g.rest, rule)
		resolved.matchers, resolved.patterns, resolved.patternsTell = matchers, patterns, matching.PatternsTell(rule.MatcherSetsRaw)
		return resolved, err
	}
	if rule.Allow != nil || rule.Assurance != "" || rule.MaxAge != 0 || rule.Certificate != "" || rule.Tokens != nil {
		return resolvedRule{}, errors.New("open lets everybody pass, so it takes no allow, assurance, max_age, certificate or tokens")
	}
	if matching.MatchAll(matchers, nil) {
		return resolvedRule{}, layout.ErrWholeSite
	}
	return resolvedRule{matchers: matchers, patterns: patterns, open: true}, nil
}

// loadMatchers loads the matchers in a field of a module, which holds raw.
// To Caddy, no matchers means all requests; here, somebody forgot them.
func loadMatchers(ctx caddy.Context, module any, field string, raw caddyhttp.RawMatcherSets) (caddyhttp.MatcherSets, error) {
	if len(raw) == 0 {
		return nil, errors.New("it has no matcher, and would apply to every request")
	}
	for _, set := range raw {
		if len(set) == 0 {
			return nil, errors.New("it has an empty matcher set, and would apply to every request")
		}
	}
	if err := matching.CheckPatterns(raw); err != nil {
		return nil, err
	}
	loaded, err := ctx.LoadModule(module, field)
	if err != nil {
		return nil, fmt.Errorf("loading matchers: %w", err)
	}
	var matchers caddyhttp.MatcherSets
	if err := matchers.FromInterface(loaded); err != nil {
		return nil, err
	}
	return matchers, matching.CheckPlaceholders(matchers)
}

// inherit returns base with what is written in its place.
func (g *Gate) inherit(base resolvedRule, written *Rule) (resolvedRule, error) {
	resolved := base
	var err error
	if written.Allow != nil {
		if resolved.allow, err = written.Allow.resolve(); err != nil {
			return resolvedRule{}, fmt.Errorf("allow: %w", err)
		}
	}
	if written.Assurance != "" {
		if resolved.requirement.Level, err = g.reachable(written.Assurance); err != nil {
			return resolvedRule{}, err
		}
	}
	switch maxAge := written.MaxAge; {
	case maxAge < 0:
		return resolvedRule{}, fmt.Errorf("max_age %s: it must be more than zero", time.Duration(maxAge))
	case maxAge > 0:
		resolved.requirement.MaxAge = time.Duration(maxAge)
	}
	if written.Certificate != "" {
		if resolved.certificate, err = g.app.certificateMode(written.Certificate); err != nil {
			return resolvedRule{}, err
		}
	}
	switch {
	case written.Tokens != nil:
		if resolved.serviceTokens, resolved.appPasswords, err = written.Tokens.resolve(); err != nil {
			return resolvedRule{}, fmt.Errorf("tokens: %w", err)
		}
	case written.Assurance != "" || written.MaxAge != 0 || written.Certificate == "require":
		// A rule that asks more of people isn't meant to let programs bypass it.
		resolved.serviceTokens, resolved.appPasswords = false, nil
	}
	resolved.explicit = base.explicit || written.Assurance != "" || written.MaxAge != 0
	return resolved, nil
}

// reachable reads an assurance and refuses one that nobody could reach.
func (g *Gate) reachable(written string) (assurance.Level, error) {
	level, err := parseAssurance(written)
	if err != nil {
		return assurance.None, err
	}
	if highest := g.app.highest(); level > highest {
		return assurance.None, fmt.Errorf("assurance %s: no configured factor can provide it, so nobody would pass: write %s", level, highest)
	}
	return level, nil
}

// parseAssurance reads an assurance that a person can be asked for.
func parseAssurance(written string) (assurance.Level, error) {
	level, err := assurance.ParseLevel(written)
	if err != nil {
		return assurance.None, err
	}
	if level < assurance.Single {
		return assurance.None, fmt.Errorf("assurance %s: this level identifies a machine, not a person: write single, multi or phishing_resistant", level)
	}
	return level, nil
}

// weakest returns the lowest level with which somebody passes.
func (g *Gate) weakest() assurance.Level {
	lowest := g.rest.requirement.Level
	for _, rule := range g.resolved {
		if !rule.open {
			lowest = min(lowest, rule.requirement.Level)
		}
	}
	return lowest
}
