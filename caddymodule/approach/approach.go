package approach

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/requestbody"

	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
)

// takenVar holds, among Caddy's variables of a request, what was taken from it
// before it came to the gate.
const takenVar = "mfa.taken"

type takenValues []string

// Approach is the way that requests take to a gate.
type Approach struct {
	gate   layout.Gate
	server *caddyhttp.Server
	takes  bool
}

// To returns the approach to a gate that guards the hosts.
func To(gate layout.Gate, hosts []origin.Pattern) *Approach {
	server := gate.Guarding().Server
	return &Approach{gate: gate, server: server, takes: takesBefore(gate, server, hosts)}
}

// Takes reports whether anything on the way may keep a part of a request that
// depends on the form in which the client sent it.
func (a *Approach) Takes() bool { return a.takes }

// Note records what was taken from a request that has just arrived.
func (a *Approach) Note(r *http.Request) {
	if a.takes {
		caddyhttp.SetVar(r.Context(), takenVar, a.takenFrom(r))
	}
	forgetError(r)
}

var errTaken = errors.New("a handler before mfa took a value from the request that would differ in the form that mfa decides on")

// Check refuses a request if its present form would yield something else than was
// taken from it when it arrived.
func (a *Approach) Check(r *http.Request) error {
	if !a.takes {
		return nil
	}
	came, ok := caddyhttp.GetVar(r.Context(), takenVar).(takenValues)
	if ok && !slices.Equal(came, a.takenFrom(r)) {
		return errTaken
	}
	return nil
}

// takenFrom returns what is taken from a request in the form that it has now.
// Placeholders hold afterwards what matchers capture of that form.
func (a *Approach) takenFrom(r *http.Request) takenValues {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	for _, prefix := range capturePrefixes {
		replacer.DeleteByPrefix(prefix)
	}
	p := &passage{Approach: a, request: r, replacer: replacer, groups: make(map[string]bool)}
	_ = p.routes(a.server.Routes, func() error { return nil })
	return p.taken
}

// errorPlaceholders are what Caddy tells of an error, the text of which may hold
// parts of the request.
var errorPlaceholders = []string{
	"http.error", "http.error.id", "http.error.message", "http.error.status_code", "http.error.status_text", "http.error.trace",
}

// forgetError clears what is left of an error that was caught before the gate.
func forgetError(r *http.Request) {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if _, failed := r.Context().Value(caddyhttp.ErrorCtxKey).(error); !ok || !failed {
		return
	}
	for _, placeholder := range errorPlaceholders {
		replacer.Delete(placeholder)
	}
}

// passage is one request's way to the gate through Caddy's compiled routes.
// Their handlers don't run.
type passage struct {
	*Approach
	request  *http.Request
	replacer *caddy.Replacer
	groups   map[string]bool // that some route has used up
	taken    takenValues
}

// routes follows a list of routes, and next what comes after them.
func (p *passage) routes(routes caddyhttp.RouteList, next func() error) error {
	if len(routes) == 0 {
		return next()
	}
	return p.route(routes[0], func() error { return p.routes(routes[1:], next) })
}

func (p *passage) route(route caddyhttp.Route, next func() error) error {
	if p.groups[route.Group] {
		return next()
	}
	matches, err := route.MatcherSets.AnyMatchWithError(p.request)
	if err != nil {
		return err
	}
	if !matches {
		return next()
	}
	if route.Group != "" {
		p.groups[route.Group] = true
		p.take("group", route.Group)
	}
	if route.Terminal {
		next = func() error { return nil }
	}
	return p.handlers(route.Handlers, next)
}

func (p *passage) handlers(handlers []caddyhttp.MiddlewareHandler, next func() error) error {
	if len(handlers) == 0 {
		return next()
	}
	return p.handler(handlers[0], func() error { return p.handlers(handlers[1:], next) })
}

var errOnTheWay = errors.New("a handler before mfa fails")

func (p *passage) handler(handler caddyhttp.MiddlewareHandler, next func() error) error {
	switch h := handler.(type) {
	case layout.Gate:
		if h == p.gate {
			p.take("mfa")
		}
		return nil
	case *caddyhttp.Subroute:
		err := p.routes(h.Routes, next)
		if err != nil && h.Errors != nil {
			return p.routes(h.Errors.Routes, next)
		}
		return err
	case *caddyhttp.Invoke:
		if route, known := p.server.NamedRoutes[h.Name]; known {
			return p.route(*route, next)
		}
		return errOnTheWay
	case *caddyhttp.StaticError:
		return errOnTheWay
	case *caddyhttp.StaticResponse, caddyhttp.StaticResponse:
		return nil
	}
	if texts, takes := takenBy(handler); takes {
		p.take(texts...)
	}
	return next()
}

// take notes that something was taken: texts with placeholders, or none.
func (p *passage) take(texts ...string) {
	taken := "taken"
	for _, text := range texts {
		taken += "\n" + p.replacer.ReplaceAll(text, "")
	}
	p.taken = append(p.taken, taken)
}

// takenBy returns those texts of a handler that depend on the request from which
// it takes them, and whether it keeps anything at all.
func takenBy(handler caddyhttp.MiddlewareHandler) (texts []string, takes bool) {
	switch h := handler.(type) {
	case *caddyhttp.VarsMiddleware:
		for name, value := range *h {
			text, _ := value.(string)
			texts = append(texts, name, text)
		}
	case *headers.Handler:
		if h.Request == nil {
			return nil, false
		}
		texts = writtenInto(h.Request)
	case *requestbody.RequestBody:
		if h.Set == "" {
			return nil, false
		}
		texts = []string{h.Set}
	default:
		return nil, caddy.GetModuleID(handler) == "http.handlers.map" // which expands texts when it is asked for them
	}
	slices.Sort(texts)
	return slices.DeleteFunc(texts, func(text string) bool { return !dependsOnRequest(text) }), true
}

// writtenInto returns all texts in which operations on headers expand
// placeholders.
func writtenInto(operations *headers.HeaderOps) []string {
	texts := slices.Clone(operations.Delete)
	for _, values := range []http.Header{operations.Add, operations.Set} {
		for name, value := range values {
			texts = append(append(texts, name), value...)
		}
	}
	for name, replacements := range operations.Replace {
		texts = append(texts, name)
		for _, replacement := range replacements {
			texts = append(texts, replacement.Search, replacement.SearchRegexp, replacement.Replace)
		}
	}
	return texts
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
