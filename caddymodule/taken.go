package caddymodule

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
)

// takenVar holds, among Caddy's variables of a request, what was taken from it
// before it came to the gate.
const takenVar = "mfa.taken"

type takenValues []string

// taking is what a handler before the gate takes from requests, such as `vars`
// and `root`: it is kept in the form in which the client sent it, where rules
// and apps may look at it.
type taking struct {
	under  []caddyhttp.MatcherSets // under which the handler runs
	values []string                // with placeholders
}

// of returns what is taken from a request in the form that it has now.
func (t taking) of(r *http.Request, replacer *caddy.Replacer) string {
	for _, matchers := range t.under {
		if matches, err := matchers.AnyMatchWithError(r); err != nil || !matches {
			return "nothing"
		}
	}
	taken := "something"
	for _, value := range t.values {
		taken += "\n" + replacer.ReplaceAll(value, "")
	}
	return taken
}

// noteTaken notes what was taken from a request that has just come.
func (g *Gate) noteTaken(r *http.Request) {
	if len(g.taken) > 0 {
		caddyhttp.SetVar(r.Context(), takenVar, g.takenFrom(r))
	}
}

func (g *Gate) takenFrom(r *http.Request) takenValues {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	values := make(takenValues, len(g.taken))
	for i, t := range g.taken {
		values[i] = t.of(r, replacer)
	}
	return values
}

var errTaken = errors.New("a handler before mfa has taken a value from the request, which would be another one in the form that is decided on")

// checkTaken returns errTaken where something else would be taken from this form
// of a request than was taken from it when it came.
func (g *Gate) checkTaken(r *http.Request) error {
	if len(g.taken) == 0 {
		return nil
	}
	came, ok := caddyhttp.GetVar(r.Context(), takenVar).(takenValues)
	if ok && !slices.Equal(came, g.takenFrom(r)) {
		return errTaken
	}
	return nil
}

// takenBefore returns what is taken from requests on their way to a gate.
func takenBefore(g *Gate) []taking {
	if g.server == nil {
		return nil
	}
	c := &takingCollector{server: g.server, gate: g, hosts: g.placed.Load().site.hosts}
	c.routes(g.server.Routes, nil)
	return slices.DeleteFunc(c.found, func(t taking) bool { return len(t.values) == 0 && len(t.under) == 0 })
}

type takingCollector struct {
	server   *caddyhttp.Server
	gate     *Gate
	hosts    []hostPattern
	invoking []string // named routes
	found    []taking
}

// routes reports whether the gate was reached.
func (c *takingCollector) routes(routes caddyhttp.RouteList, under []caddyhttp.MatcherSets) bool {
	return slices.ContainsFunc(routes, func(route caddyhttp.Route) bool { return c.route(route, under) })
}

// route takes note of what a route takes. Matchers of a route that the gate is
// in don't count: requests that they don't match never come to it.
func (c *takingCollector) route(route caddyhttp.Route, under []caddyhttp.MatcherSets) bool {
	concerns := func(host hostPattern) bool {
		return requests{host: host.name}.matchSets(route.MatcherSets).certainty != never
	}
	if !slices.ContainsFunc(c.hosts, concerns) {
		return false // another site's
	}
	inside, before := under, len(c.found)
	if len(route.MatcherSets) > 0 {
		inside = append(slices.Clip(under), route.MatcherSets)
	}
	reached := slices.ContainsFunc(route.Handlers, func(h caddyhttp.MiddlewareHandler) bool { return c.handler(h, inside) })
	if reached && len(inside) > len(under) {
		for i := range c.found[before:] {
			t := &c.found[before+i]
			t.under = slices.Delete(slices.Clone(t.under), len(under), len(inside))
		}
	}
	return reached
}

func (c *takingCollector) handler(handler caddyhttp.MiddlewareHandler, under []caddyhttp.MatcherSets) bool {
	t := taking{under: under}
	switch h := handler.(type) {
	case *Gate:
		return h == c.gate
	case *caddyhttp.Subroute:
		return c.routes(h.Routes, under)
	case *caddyhttp.Invoke:
		route, known := c.server.NamedRoutes[h.Name]
		if !known || slices.Contains(c.invoking, h.Name) {
			return false
		}
		c.invoking = append(c.invoking, h.Name)
		defer func() { c.invoking = c.invoking[:len(c.invoking)-1] }()
		return c.route(*route, under)
	case *caddyhttp.VarsMiddleware:
		for name, value := range *h {
			text, _ := value.(string)
			t.values = appendTaking(t.values, name, text)
		}
	case *headers.Handler:
		if h.Request == nil {
			return false
		}
		for _, values := range []http.Header{h.Request.Add, h.Request.Set} {
			for name, value := range values {
				t.values = appendTaking(append(t.values, name), value...)
			}
		}
	default:
		if caddy.GetModuleID(handler) != "http.handlers.map" {
			return false
		}
	}
	c.found = append(c.found, t)
	return false
}

// appendTaking adds those of the values that depend on the request.
func appendTaking(to []string, values ...string) []string {
	for _, value := range values {
		if dependsOnRequest(value) {
			to = append(to, value)
		}
	}
	return to
}

// lasting are what placeholders begin with that the gate changes nothing of, or
// that have another value each time.
var lasting = []string{
	"env.", "file.", "system.", "time.", "http.request.body", "http.request.duration", "http.request.local",
	"http.request.proto", "http.request.remote", "http.request.scheme", "http.request.tls", "http.request.uuid",
}

// dependsOnRequest reports whether a text has a placeholder of which the gate
// may change the value.
func dependsOnRequest(text string) bool {
	for {
		_, rest, found := strings.Cut(text, "{")
		if !found {
			return false
		}
		if !slices.ContainsFunc(lasting, func(prefix string) bool { return strings.HasPrefix(rest, prefix) }) {
			return true
		}
		text = rest
	}
}
