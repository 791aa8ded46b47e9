package caddymodule

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// anyOtherHost stands for all hosts that the configuration doesn't name. It
// can't be written in a host matcher that matches anything.
const anyOtherHost = "?"

// conduct is what a handler may do with a request that comes to it.
type conduct int

const (
	// passes: it hands the request on, or ends it without content (a redirect,
	// an error, a refusal).
	passes conduct = iota
	// answers: it writes a fixed answer of the operator's.
	answers
	// alters: it changes what the gate would decide on or write.
	alters
	// serves: it serves content, or might.
	serves
)

// passing are the handlers of Caddy, and a few widespread ones of others, that
// pass. All that aren't known are taken to serve.
var passing = []caddy.ModuleID{
	"http.handlers.authentication",
	"http.handlers.encode",
	"http.handlers.error",
	"http.handlers.headers",
	"http.handlers.log_append",
	"http.handlers.map",
	"http.handlers.push",
	"http.handlers.request_body",
	"http.handlers.timeouts",
	"http.handlers.tracing",
	"http.handlers.vars",

	"http.handlers.appsec",
	"http.handlers.crowdsec",
	"http.handlers.rate_limit",
	"http.handlers.waf",
}

// altering are the handlers that alter.
var altering = []caddy.ModuleID{
	"http.handlers.intercept",
	"http.handlers.rewrite",
	"http.handlers.templates",
}

func conductOf(handler caddyhttp.MiddlewareHandler) conduct {
	switch static := handler.(type) {
	case *caddyhttp.StaticResponse:
		return conductOfStatic(*static)
	case caddyhttp.StaticResponse: // as in Caddy's own redirects to HTTPS
		return conductOfStatic(static)
	}
	id := caddy.ModuleID(caddy.GetModuleID(handler))
	switch {
	case slices.Contains(passing, id):
		return passes
	case slices.Contains(altering, id):
		return alters
	}
	return serves
}

func conductOfStatic(response caddyhttp.StaticResponse) conduct {
	redirects := strings.HasPrefix(string(response.StatusCode), "3") &&
		response.Headers.Get("Location") != "" && response.Body == ""
	if response.Abort || redirects {
		return passes
	}
	return answers
}

// step is a handler that a request may meet and that matters here.
type step struct {
	handler string // its name in the configuration
	gate    *Gate
	portal  *Portal
	does    conduct
	bearing
}

// bearing is how requests come to a point of the configuration.
type bearing struct {
	// guarded: each has passed a gate.
	guarded bool
	// under is what else than the host decides whether they come: the name of
	// a matcher, or empty.
	under string
	// named: a host matcher on the way names the host.
	named bool
	// failing: an error brought them, and error routes run.
	failing bool
	// ended: none goes further.
	ended bool
}

// walk follows the requests for one host through a server's routes, as
// Caddy's own compiled chains do, and notes what they meet. Matchers other
// than those for hosts may match or not; the walk goes both ways.
type walk struct {
	server   *caddyhttp.Server
	host     string               // or a wildcard, for the hosts that nothing else names; or anyOtherHost
	groups   map[string]certainty // whether an earlier route of the group has matched
	invoking []string             // named routes that the walk is in
	steps    []step
}

// follow returns what requests for the host meet on the server.
func follow(server *caddyhttp.Server, host string) []step {
	w := &walk{server: server, host: host, groups: make(map[string]certainty)}
	w.routes(server.Routes, bearing{})
	if server.Errors != nil {
		w.errorRoutes(server.Errors.Routes, bearing{})
	}
	return w.steps
}

func (w *walk) routes(routes caddyhttp.RouteList, at bearing) bearing {
	for _, route := range routes {
		if at.ended {
			break
		}
		at = w.route(route, at)
	}
	return at
}

// errorRoutes walks routes that run when others returned an error. A route's
// group may have been used up by then, but need not.
func (w *walk) errorRoutes(routes caddyhttp.RouteList, at bearing) bearing {
	before := maps.Clone(w.groups)
	for group := range w.groups {
		w.groups[group] = min(w.groups[group], maybe)
	}
	at.failing = true
	at = w.routes(routes, at)
	w.groups = before
	return at
}

func (w *walk) route(route caddyhttp.Route, at bearing) bearing {
	match := matchSets(route.MatcherSets, w.host)
	match = w.inGroup(route.Group, match, at)
	if match.certainty == never {
		return at
	}
	inside := at
	inside.named = inside.named || match.named
	if inside.under == "" {
		inside.under = match.under
	}
	inside = w.handlers(route.Handlers, inside)
	if match.certainty == maybe {
		return at // some requests have skipped the route
	}
	at.guarded = inside.guarded
	at.ended = inside.ended || route.Terminal
	return at
}

// inGroup accounts for the route's group, of which only the first route that
// matches runs.
func (w *walk) inGroup(group string, match match, at bearing) match {
	if group == "" {
		return match
	}
	used := w.groups[group]
	reached := match.certainty
	if at.under != "" {
		reached = min(reached, maybe)
	}
	w.groups[group] = max(used, reached)
	switch {
	case used == always:
		match.certainty = never
	case used == maybe && match.certainty == always:
		match.certainty, match.under = maybe, "handle"
	}
	return match
}

func (w *walk) handlers(handlers []caddyhttp.MiddlewareHandler, at bearing) bearing {
	for _, handler := range handlers {
		if at.ended {
			break
		}
		at = w.handler(handler, at)
	}
	return at
}

func (w *walk) handler(handler caddyhttp.MiddlewareHandler, at bearing) bearing {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		return w.subroute(h, at)
	case *caddyhttp.Invoke:
		return w.invoke(h.Name, at)
	case *Gate:
		w.note(step{handler: "mfa", gate: h, bearing: at})
		at.guarded = true
	case *Portal:
		w.note(step{handler: "mfa_portal", portal: h, bearing: at})
		at.ended = true
	default:
		if does := conductOf(handler); does != passes {
			w.note(step{handler: nameOf(handler), does: does, bearing: at})
		}
	}
	return at
}

func (w *walk) note(s step) { w.steps = append(w.steps, s) }

// subroute walks a subroute. What follows it also runs after its error routes.
func (w *walk) subroute(subroute *caddyhttp.Subroute, at bearing) bearing {
	after := w.routes(subroute.Routes, at)
	if subroute.Errors == nil {
		return after
	}
	failed := w.errorRoutes(subroute.Errors.Routes, at)
	after.guarded = after.guarded && failed.guarded
	after.ended = after.ended && failed.ended
	return after
}

// invoke walks a named route. One that invokes itself answers nothing new.
func (w *walk) invoke(name string, at bearing) bearing {
	route, known := w.server.NamedRoutes[name]
	if !known || slices.Contains(w.invoking, name) {
		return at
	}
	w.invoking = append(w.invoking, name)
	at = w.route(*route, at)
	w.invoking = w.invoking[:len(w.invoking)-1]
	return at
}

// nameOf returns the handler's name as it stands in the Caddyfile, where that
// differs from the module's.
func nameOf(handler caddyhttp.MiddlewareHandler) string {
	switch name := caddy.GetModuleName(handler); name {
	case "static_response":
		return "respond"
	case "":
		return fmt.Sprintf("%T", handler)
	default:
		return name
	}
}

// certainty is whether something holds for the requests in question.
type certainty int

const (
	never certainty = iota
	maybe
	always
)

// match is whether requests for a host match.
type match struct {
	certainty
	under string // for maybe: the matcher it depends on
	named bool   // a host matcher matched
}

// matchSets matches as caddyhttp.MatcherSets does: one set suffices, and
// without any set everything matches.
func matchSets(sets caddyhttp.MatcherSets, host string) match {
	if len(sets) == 0 {
		return match{certainty: always}
	}
	var best match
	for _, set := range sets {
		if m := matchSet(set, host); m.certainty > best.certainty {
			best = m
		}
	}
	return best
}

// matchSet matches as caddyhttp.MatcherSet does: all matchers must match.
func matchSet(set caddyhttp.MatcherSet, host string) match {
	all := match{certainty: always}
	for _, matcher := range set {
		m := matchOne(matcher, host)
		all.named = all.named || m.named
		if m.certainty < all.certainty {
			all.certainty, all.under = m.certainty, m.under
		}
	}
	return all
}

func matchOne(matcher any, host string) match {
	switch m := matcher.(type) {
	case *caddyhttp.MatchHost:
		return matchHost(*m, host)
	case caddyhttp.MatchHost: // as in Caddy's own redirects to HTTPS
		return matchHost(m, host)
	case *caddyhttp.MatchNot:
		inner := matchSets(m.MatcherSets, host)
		if len(m.MatcherSets) == 0 {
			inner.certainty = never
		}
		return match{certainty: always - inner.certainty, under: inner.under}
	}
	return match{certainty: maybe, under: caddy.GetModuleName(matcher)}
}

func matchHost(patterns caddyhttp.MatchHost, host string) match {
	var best match
	for _, written := range patterns {
		pattern, known := expandHostMatcher(written)
		switch {
		case !known && best.certainty == never:
			best = match{certainty: maybe, under: "host " + written, named: true}
		case known && hostMatches(pattern, host):
			return match{certainty: always, named: true}
		}
	}
	return best
}

// expandHostMatcher returns a host matcher's pattern in lower case, and false
// for one that depends on the request.
func expandHostMatcher(written string) (string, bool) {
	pattern := strings.ToLower(written)
	if strings.Contains(written, "{") {
		pattern = strings.ToLower(caddy.NewReplacer().ReplaceKnown(written, ""))
	}
	return pattern, !strings.Contains(pattern, "{")
}

// hostMatches matches as caddyhttp.MatchHost does: a star stands for one label.
// The host may be a wildcard itself, standing for labels that no pattern names.
func hostMatches(pattern, host string) bool {
	if pattern == host {
		return true
	}
	if host == anyOtherHost || !strings.Contains(pattern, "*") {
		return false
	}
	wanted, labels := strings.Split(pattern, "."), strings.Split(host, ".")
	return slices.EqualFunc(wanted, labels, func(want, label string) bool { return want == "*" || want == label })
}

// hostsOf returns the hosts that a walk must be made for so that nothing is
// missed: all that host matchers, gates and the portal name, all overlaps of
// wildcards, and anyOtherHost.
func hostsOf(sites *caddyhttp.App, portal string) []string {
	c := &hostCollector{hosts: map[string]bool{portal: true, anyOtherHost: true}}
	for _, server := range sites.Servers {
		c.routes(server.Routes)
		if server.Errors != nil {
			c.routes(server.Errors.Routes)
		}
		for _, route := range server.NamedRoutes {
			c.route(*route)
		}
	}
	c.addOverlaps()
	return slices.Sorted(maps.Keys(c.hosts))
}

// hostCollector gathers hosts from routes.
type hostCollector struct {
	hosts map[string]bool
}

func (c *hostCollector) routes(routes caddyhttp.RouteList) {
	for _, route := range routes {
		c.route(route)
	}
}

func (c *hostCollector) route(route caddyhttp.Route) {
	c.matchers(route.MatcherSets)
	for _, handler := range route.Handlers {
		switch h := handler.(type) {
		case *caddyhttp.Subroute:
			c.routes(h.Routes)
			if h.Errors != nil {
				c.routes(h.Errors.Routes)
			}
		case *Gate:
			for _, declared := range h.declared {
				c.hosts[declared.name] = true
			}
		}
	}
}

func (c *hostCollector) matchers(sets []caddyhttp.MatcherSet) {
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost:
				c.matchHost(*m)
			case caddyhttp.MatchHost:
				c.matchHost(m)
			case *caddyhttp.MatchNot:
				c.matchers(m.MatcherSets)
			}
		}
	}
}

func (c *hostCollector) matchHost(patterns caddyhttp.MatchHost) {
	for _, written := range patterns {
		if pattern, known := expandHostMatcher(written); known {
			c.hosts[pattern] = true
		}
	}
}

// addOverlaps adds what two wildcards have in common (*.b.c and a.*.c meet in
// a.b.c), until nothing new comes of it.
func (c *hostCollector) addOverlaps() {
	var wildcards []string
	for host := range c.hosts {
		if strings.Contains(host, "*") {
			wildcards = append(wildcards, host)
		}
	}
	for i := 0; i < len(wildcards); i++ {
		for _, other := range wildcards[:i] {
			overlap, meet := overlapOf(wildcards[i], other)
			if meet && !c.hosts[overlap] {
				c.hosts[overlap] = true
				wildcards = append(wildcards, overlap)
			}
		}
	}
}

func overlapOf(a, b string) (string, bool) {
	left, right := strings.Split(a, "."), strings.Split(b, ".")
	if len(left) != len(right) {
		return "", false
	}
	for i, label := range right {
		switch {
		case left[i] == "*":
			left[i] = label
		case label != "*" && label != left[i]:
			return "", false
		}
	}
	return strings.Join(left, "."), true
}
