package caddymodule

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
)

// capturePrefixes are what the placeholders begin with in which Caddy's matchers
// keep what they have matched.
var capturePrefixes = []string{"http.regexp.", "http.url_pattern.", "http.matchers."}

// takesBefore reports whether anything on the way to a gate may keep something
// of a request that depends on the form in which the client sent it.
func takesBefore(g *Gate) bool {
	if g.server == nil {
		return false
	}
	t := &takings{gate: g, hosts: g.placed.Load().site.hosts}
	t.routes(g.server.Routes, false)
	return t.found
}

// takings are looked for among the routes that lead to a gate.
type takings struct {
	gate     *Gate
	hosts    []hostPattern
	invoking []string // named routes
	found    bool
}

// routes reports whether the gate was reached. Under says that it depends on the
// request whether it comes to the routes.
func (t *takings) routes(routes caddyhttp.RouteList, under bool) bool {
	return slices.ContainsFunc(routes, func(route caddyhttp.Route) bool { return t.route(route, under) })
}

func (t *takings) route(route caddyhttp.Route, under bool) bool {
	eachLoaded(route.MatcherSets, func(matcher any) { t.found = t.found || doesCapture(matcher) })
	certainty := never
	for i, host := range t.hosts {
		match := requests{host: host.name}.matchSets(route.MatcherSets)
		switch {
		case i == 0:
			certainty = match.certainty
		case certainty != match.certainty:
			certainty = maybe
		}
	}
	if certainty == never {
		return false // another site's
	}
	inside := under || certainty == maybe
	t.found = t.found || inside && route.Group != ""
	return slices.ContainsFunc(route.Handlers, func(h caddyhttp.MiddlewareHandler) bool { return t.handler(h, inside) })
}

func (t *takings) handler(handler caddyhttp.MiddlewareHandler, under bool) bool {
	switch h := handler.(type) {
	case *Gate:
		return h == t.gate
	case *caddyhttp.Subroute:
		return t.routes(h.Routes, under) || h.Errors != nil && t.routes(h.Errors.Routes, true)
	case *caddyhttp.Invoke:
		route, known := t.gate.server.NamedRoutes[h.Name]
		if !known || slices.Contains(t.invoking, h.Name) {
			return false
		}
		t.invoking = append(t.invoking, h.Name)
		defer func() { t.invoking = t.invoking[:len(t.invoking)-1] }()
		return t.route(*route, under)
	case *caddyhttp.StaticError, *caddyhttp.StaticResponse, caddyhttp.StaticResponse:
		t.found = t.found || under
		return false
	}
	texts, takes := takenBy(handler)
	t.found = t.found || len(texts) > 0 || takes && under
	return false
}

// doesCapture reports whether a matcher of Caddy's keeps what it has matched.
func doesCapture(matcher any) bool {
	switch m := matcher.(type) {
	case *caddyhttp.MatchPathRE, *caddyhttp.MatchHeaderRE, *caddyhttp.MatchVarsRE, *caddyhttp.MatchURLPattern, *fileserver.MatchFile:
		return true
	case *caddyhttp.MatchExpression:
		return slices.ContainsFunc([]string{"_regexp", "url_pattern", "file"}, func(function string) bool { return strings.Contains(m.Expr, function) })
	}
	return false
}
