package caddymodule

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
)

// parseGate reads the directive of a site:
//
//	mfa {
//		open MATCHER
//		rule MATCHER {
//			allow     user|group NAME…
//			tokens    service|off
//			tokens    personal {
//				allow   user|group NAME…
//				longest DURATION
//				most    NUMBER
//			}
//			assurance single|multi|phishing_resistant
//			max_age   DURATION
//			certificate accept|require|and password|off
//		}
//		allow     user|group NAME…
//		tokens    service|off
//		tokens    personal { … }
//		assurance single|multi|phishing_resistant
//		max_age   DURATION
//		certificate accept|require|and password|off
//		headers {
//			user|name|email HEADER
//			groups   [HEADER] [only PATTERN…]
//			encoding percent|utf-8
//		}
//		hosts     HOST…
//		idle_ignores     MATCHER
//		cors_preflight   pass
//		cookie_same_site lax|none
//		clear_site_data  user_change|sign_out
//		assertion
//		session_notice on|off
//		basic on|off
//	}
//
// It reads the directive itself rather than as a handler directive, for which
// Caddy would take a matcher.
func parseGate(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // consume the directive's name
	if h.NextArg() {
		return nil, h.Errf("mfa takes no matcher (%s), since requests that don't match would bypass it: write mfa alone, and rule or open inside it for parts of the site", h.Val())
	}
	gate := &Gate{Source: place(h.Dispenser)}
	for h.NextBlock(0) {
		if err := gate.unmarshalOption(h); err != nil {
			return nil, err
		}
	}
	return h.NewRoute(nil, gate), nil
}

func (g *Gate) unmarshalOption(h httpcaddyfile.Helper) error {
	switch h.Val() {
	case "open", "rule":
		rule, err := parseRule(h.WithDispenser(h.NewFromNextSegment()))
		g.Rules = append(g.Rules, rule)
		return err
	case "allow":
		return unmarshalPeople(h.Dispenser, &g.Allow)
	case "tokens":
		return unmarshalTokens(h.Dispenser, &g.Tokens)
	case "assurance":
		return unmarshalWord(h.Dispenser, &g.Assurance, parseAssurance)
	case "max_age":
		return duration(h.Dispenser, &g.MaxAge)
	case "certificate":
		return unmarshalMode(h.Dispenser, &g.Certificate)
	case "headers":
		return g.unmarshalHeaders(h.Dispenser)
	case "hosts":
		return g.unmarshalHosts(h.Dispenser)
	case "idle_ignores":
		matcher, err := parseIdleIgnores(h.WithDispenser(h.NewFromNextSegment()))
		g.IdleIgnoresRaw = append(g.IdleIgnoresRaw, matcher)
		return err
	case "cors_preflight":
		return unmarshalWord(h.Dispenser, &g.CORSPreflight, parsePreflight)
	case "cookie_same_site":
		return unmarshalWord(h.Dispenser, &g.CookieSameSite, parseSameSite)
	case "clear_site_data":
		return unmarshalWord(h.Dispenser, &g.ClearSiteData, parseClearSiteData)
	case "assertion":
		return flag(h.Dispenser, &g.Assertion)
	case "session_notice":
		return onOrOff(h.Dispenser, &g.SessionNotice)
	case "basic":
		return onOrOff(h.Dispenser, &g.Basic)
	}
	return unknownOption(h.Dispenser, "mfa", "the options are open, rule, allow, tokens, assurance, max_age, certificate, headers, hosts, idle_ignores, cors_preflight, cookie_same_site, clear_site_data, assertion, session_notice and basic")
}

// parseRule reads one line or block that begins with open or rule.
func parseRule(h httpcaddyfile.Helper) (*Rule, error) {
	matcher, err := onlyMatcher(h)
	if err != nil {
		return nil, err
	}
	rule := &Rule{MatcherSetsRaw: []caddy.ModuleMap{matcher}, Open: h.Val() == "open"}
	for h.NextBlock(0) {
		if rule.Open {
			return nil, h.Err("open takes no block: it lets everybody pass")
		}
		if err := rule.unmarshalOption(h.Dispenser); err != nil {
			return nil, err
		}
	}
	return rule, nil
}

// parseIdleIgnores reads one line that begins with idle_ignores.
func parseIdleIgnores(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	matcher, err := onlyMatcher(h)
	if err != nil {
		return nil, err
	}
	if h.NextBlock(0) {
		return nil, h.Err("idle_ignores takes no block")
	}
	return matcher, nil
}

// onlyMatcher takes the matcher out of a segment that begins with a word and
// has no other argument, and leaves the dispenser at the word.
func onlyMatcher(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	matcher, err := extractMatcher(h)
	if err != nil {
		return nil, err
	}
	h.Next()
	word := h.Val()
	if h.NextArg() {
		return nil, h.Errf("%s takes one matcher, and %q is a second: write a line for each, or name a matcher that holds both: @both path /one /two", word, h.Val())
	}
	return matcher, nil
}

// extractMatcher takes the matcher out of a segment that begins with open, rule
// or idle_ignores. Caddy takes a missing one, and *, for every request.
func extractMatcher(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	h.Next()
	directive := h.Val()
	if !h.NextArg() {
		return nil, h.Errf("%s needs a matcher: write a path (%s /healthz) or the name of a matcher (%s @name)", directive, directive, directive)
	}
	written := h.Val()
	switch {
	case written == "*":
		return nil, h.Errf("%s * would apply to every request: %s", directive, insteadOfAll(directive))
	case !strings.HasPrefix(written, "/") && !strings.HasPrefix(written, "@"):
		return nil, h.Errf("%q isn't a matcher: %s takes a path (/healthz) or the name of a matcher (@name)", written, directive)
	}
	h.Reset()
	h.Next() // to the directive; the matcher is looked for after it
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, h.WrapErr(err)
	}
	if len(matcher) == 0 {
		h.Next() // for the line number
		return nil, h.Errf("matcher %s is empty and would apply to every request", written)
	}
	if err := matching.CheckPatterns([]caddy.ModuleMap{matcher}); err != nil {
		h.Next() // for the line number
		return nil, h.WrapErr(err)
	}
	return matcher, nil
}

func insteadOfAll(directive string) string {
	switch directive {
	case "open":
		return "remove mfa from the site, or name the paths that everybody may see"
	case "idle_ignores":
		return "name the paths that pages ask for on their own"
	}
	return "write allow, assurance and max_age directly inside mfa"
}

func (r *Rule) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "allow":
		return unmarshalPeople(d, &r.Allow)
	case "tokens":
		return unmarshalTokens(d, &r.Tokens)
	case "assurance":
		return unmarshalWord(d, &r.Assurance, parseAssurance)
	case "max_age":
		return duration(d, &r.MaxAge)
	case "certificate":
		return unmarshalMode(d, &r.Certificate)
	}
	return unknownOption(d, "rule", "the options are allow, tokens, assurance, max_age and certificate")
}

// unmarshalMode reads what certificates do, of which one mode has two words.
func unmarshalMode(d *caddyfile.Dispenser, mode *string) error {
	if *mode != "" {
		return givenTwice(d, "certificate")
	}
	words := d.RemainingArgs()
	written := strings.Join(words, "_")
	if _, err := parseCertificateMode(written); err != nil || len(words) == 1 && written == "and_password" {
		return d.Errf("%s: write accept, require, and password, or off", strings.Join(append([]string{"certificate"}, words...), " "))
	}
	*mode = written
	return nil
}

func (g *Gate) unmarshalHeaders(d *caddyfile.Dispenser) error {
	if g.Headers != nil {
		return givenTwice(d, "headers")
	}
	g.Headers = new(Headers)
	return readBlock(d, "headers { user X-User }", func() error { return g.Headers.unmarshalOption(d) }, func() error {
		_, err := g.Headers.checked()
		return err
	})
}

func (h *Headers) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "user":
		return oneArgument(d, &h.User)
	case "name":
		return oneArgument(d, &h.Name)
	case "email":
		return oneArgument(d, &h.Email)
	case "groups":
		return h.unmarshalGroups(d)
	case "encoding":
		return unmarshalWord(d, &h.Encoding, parseHeaderEncoding)
	}
	return unknownOption(d, "headers", "the options are user, name, email, groups and encoding")
}

// unmarshalGroups reads the name of the header, the word only with patterns, or
// both.
func (h *Headers) unmarshalGroups(d *caddyfile.Dispenser) error {
	if h.Groups != "" || h.GroupsOnly != nil {
		return givenTwice(d, "groups")
	}
	words := d.RemainingArgs()
	if len(words) > 0 && words[0] != "only" {
		h.Groups, words = words[0], words[1:]
	}
	switch {
	case h.Groups == "" && len(words) == 0:
		return d.Err("groups takes a value: write groups HEADER, groups only PATTERN, or groups HEADER only PATTERN")
	case len(words) == 0:
		return nil
	case words[0] != "only":
		return d.Errf("groups takes one header, and %q is a second: write only before the groups that the app is told about", words[0])
	case len(words) == 1:
		return d.Err("groups only names no group: write the names of groups, with a * for any text")
	}
	h.GroupsOnly = words[1:]
	return nil
}

func (g *Gate) unmarshalHosts(d *caddyfile.Dispenser) error {
	hosts := d.RemainingArgs()
	if len(hosts) == 0 {
		return d.Err("hosts names no host: write hosts app.example.com")
	}
	for _, host := range hosts {
		if isPlain(host) {
			if _, err := origin.ParsePattern(host); err != nil {
				return d.WrapErr(err)
			}
		}
	}
	g.Hosts = append(g.Hosts, hosts...)
	return nil
}

// parsePortalDirective reads mfa_portal, which takes nothing.
func parsePortalDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	source, err := bareDirective(h, "the portal")
	if err != nil {
		return nil, err
	}
	return h.NewRoute(nil, &Portal{Source: source}), nil
}

// parseAuthenticatorDirective reads mfa_authenticator, which takes nothing.
func parseAuthenticatorDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	source, err := bareDirective(h, "the authenticator")
	if err != nil {
		return nil, err
	}
	return h.NewRoute(nil, &Authenticator{Source: source}), nil
}

// bareDirective reads a directive that takes no matcher and no block, and returns
// where it is written.
func bareDirective(h httpcaddyfile.Helper, called string) (source string, err error) {
	h.Next() // consume the directive's name
	name, source := h.Val(), place(h.Dispenser)
	if h.NextArg() {
		return "", h.Errf("%s takes no matcher (%s), since %s needs all paths of its host: write %s alone", name, h.Val(), called, name)
	}
	if h.NextBlock(0) {
		return "", h.Errf("%s takes no block (%s): its settings belong in the global option mfa", name, h.Val())
	}
	return source, nil
}
