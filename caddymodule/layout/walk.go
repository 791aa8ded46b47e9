package layout

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
)

// conduct is what a handler may do with a request that comes to it.
type conduct int

const (
	// passes: it hands the request on, or ends it without content (a redirect,
	// an error, a refusal).
	passes conduct = iota
	// adjusts: it changes parts of the request, and alters where the gate looks
	// at one of them.
	adjusts
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
	if changes(handler) != nil {
		return adjusts
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

// step is a handler that a request may meet.
type step struct {
	handler string // its name in the configuration
	module  caddyhttp.MiddlewareHandler
	gate    Gate
	portal  Portal
	phone   Authenticator
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
	// rehosted: a handler may have changed their Host, so any host matcher may
	// match.
	rehosted bool
	// stripped is a prefix that a handler has removed from the path of some of them,
	// or empty; wholly says of all of them.
	stripped string
	wholly   bool
	// ended: none goes further.
	ended bool
}

// walk follows the requests for one host through a server's routes, as
// Caddy's own compiled chains do, and notes what they meet. Matchers other
// than those for hosts may match or not; the walk goes both ways. Any handler
// and any matcher may fail.
type walk struct {
	server   *caddyhttp.Server
	host     string                        // or a wildcard, for the hosts that nothing else names; or matching.AnyOtherHost
	groups   map[string]matching.Certainty // whether an earlier route of the group has matched
	invoking []string                      // named routes that the walk is in
	rehosts  bool                          // some handler of the server can change the Host
	steps    []step

	// again says that the routes may be run a second time, after an error, when
	// any group may have been used up.
	again bool
}

// follow returns what requests for the host meet on the server.
func follow(server *caddyhttp.Server, host string) []step {
	w := &walk{server: server, host: host, groups: make(map[string]matching.Certainty), rehosts: canRehost(server)}
	w.routes(server.Routes, bearing{})
	if server.Errors != nil {
		// They run once, after all else: only groups that were met can be used up.
		w.again = false
		for group := range w.groups {
			w.groups[group] = matching.Maybe
		}
		w.routes(server.Errors.Routes, bearing{failing: true})
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

func (w *walk) route(route caddyhttp.Route, at bearing) bearing {
	requests := matching.Requests{Host: w.host, Rehosted: at.rehosted}
	match := requests.MatchSets(route.MatcherSets)
	match = w.inGroup(route.Group, match, at)
	if match.Certainty == matching.Never {
		return at
	}
	inside := at
	inside.named = inside.named || match.Named
	if inside.under == "" {
		inside.under = match.Under
	}
	inside = w.handlers(route.Handlers, inside)
	at.rehosted = inside.rehosted
	if inside.stripped != at.stripped && !route.Terminal {
		at.stripped, at.wholly = inside.stripped, at.wholly || match.Certainty == matching.Always
	}
	if match.Certainty == matching.Maybe {
		return at // some requests have skipped the route
	}
	at.guarded = inside.guarded
	at.ended = inside.ended || route.Terminal
	return at
}

// inGroup accounts for the route's group, of which only the first route that
// matches runs.
func (w *walk) inGroup(group string, match matching.Match, at bearing) matching.Match {
	if group == "" {
		return match
	}
	used := w.groups[group]
	if w.again {
		used = max(used, matching.Maybe)
	}
	reached := match.Certainty
	if at.under != "" {
		reached = min(reached, matching.Maybe)
	}
	w.groups[group] = max(used, reached)
	switch {
	case used == matching.Always:
		match.Certainty = matching.Never
	case used == matching.Maybe && match.Certainty == matching.Always:
		match.Certainty, match.Under = matching.Maybe, "handle"
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
		after := w.subroute(h, at)
		// Where a subroute changes the path, it mostly serves, too.
		after.stripped, after.wholly = at.stripped, at.wholly
		return after
	case *caddyhttp.Invoke:
		return w.invoke(h.Name, at)
	case Gate:
		w.note(step{handler: "mfa", gate: h, bearing: at})
		at.guarded = true
	case Portal:
		w.note(step{handler: "mfa_portal", portal: h, bearing: at})
		at.ended = true
	case Authenticator:
		w.note(step{handler: "mfa_authenticator", phone: h, bearing: at})
		at.ended = true
	default:
		w.note(step{handler: nameOf(handler), module: handler, does: conductOf(handler), bearing: at})
		at.rehosted = at.rehosted || reaches(w.server, handler, rehosts)
		if r, ok := handler.(*rewrite.Rewrite); ok && r.StripPathPrefix != "" {
			at.stripped, at.wholly = "/"+strings.Trim(r.StripPathPrefix, "/"), true
		}
	}
	return at
}

func (w *walk) note(s step) { w.steps = append(w.steps, s) }

// subroute walks a subroute. Its error routes catch every error of its own
// routes and of all that comes after it, since Caddy runs what comes after it
// inside of it. After them, what comes after the subroute runs, once more.
func (w *walk) subroute(subroute *caddyhttp.Subroute, at bearing) bearing {
	if subroute.Errors == nil {
		return w.routes(subroute.Routes, at)
	}
	before := maps.Clone(w.groups)
	after := w.routes(subroute.Routes, at)
	w.runAgain(before)
	at.failing = true
	at.rehosted = at.rehosted || w.rehosts
	failed := w.routes(subroute.Errors.Routes, at)
	w.runAgain(before)
	after.guarded = after.guarded && failed.guarded
	after.ended = after.ended && failed.ended
	after.rehosted = after.rehosted || failed.rehosted
	return after
}

// runAgain accounts for an error that may have brought requests here from
// anywhere: all that is certain of groups is what was certain before.
func (w *walk) runAgain(before map[string]matching.Certainty) {
	w.again = true
	for group := range w.groups {
		if before[group] != matching.Always {
			w.groups[group] = matching.Maybe
		}
	}
}

// invoke walks a named route.
func (w *walk) invoke(name string, at bearing) bearing {
	route, known := w.server.NamedRoutes[name]
	if !known {
		return at
	}
	if slices.Contains(w.invoking, name) {
		return at // which is refused
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
	case "headers":
		if changes(handler) == nil {
			return "header"
		}
		return "request_header"
	case "":
		return fmt.Sprintf("%T", handler)
	default:
		return name
	}
}
