package approach

import (
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
)

// capturePrefixes are what the placeholders begin with in which Caddy's matchers
// keep what they have matched.
var capturePrefixes = []string{"http.regexp.", "http.url_pattern.", "http.matchers."}

// takesBefore reports whether anything on the way to a gate may keep something
// of a request that depends on the form in which the client sent it.
func takesBefore(gate layout.Gate, server *caddyhttp.Server, hosts []origin.Pattern) bool {
	if server == nil {
		return false
	}
	t := &takings{gate: gate, server: server, hosts: hosts}
	t.routes(server.Routes, false)
	return t.found
}

// takings are looked for among the routes that lead to a gate.
type takings struct {
	gate     layout.Gate
	server   *caddyhttp.Server
	hosts    []origin.Pattern
	invoking []string // named routes
	found    bool
}

// routes reports whether the gate was reached. Under says that it depends on the
// request whether it comes to the routes.
func (t *takings) routes(routes caddyhttp.RouteList, under bool) bool {
	return slices.ContainsFunc(routes, func(route caddyhttp.Route) bool { return t.route(route, under) })
}

func (t *takings) route(route caddyhttp.Route, under bool) bool {
	matching.Each(route.MatcherSets, func(matcher any) { t.found = t.found || matching.Captures(matcher) })
	certainty := matching.Never
	for i, host := range t.hosts {
		match := matching.Requests{Host: host.Name}.MatchSets(route.MatcherSets)
		switch {
		case i == 0:
			certainty = match.Certainty
		case certainty != match.Certainty:
			certainty = matching.Maybe
		}
	}
	if certainty == matching.Never {
		return false // another site's
	}
	inside := under || certainty == matching.Maybe
	t.found = t.found || inside && route.Group != ""
	return slices.ContainsFunc(route.Handlers, func(h caddyhttp.MiddlewareHandler) bool { return t.handler(h, inside) })
}

func (t *takings) handler(handler caddyhttp.MiddlewareHandler, under bool) bool {
	switch h := handler.(type) {
	case layout.Gate:
		return h == t.gate
	case *caddyhttp.Subroute:
		return t.routes(h.Routes, under) || h.Errors != nil && t.routes(h.Errors.Routes, true)
	case *caddyhttp.Invoke:
		route, known := t.server.NamedRoutes[h.Name]
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
