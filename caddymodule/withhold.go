package caddymodule

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
)

// Caddy's handlers write the headers of requests into the log, that of an
// assertion included: reverse_proxy at the level WARN when a stream is cut, and
// several at DEBUG. So on its way through the handlers a request has a text in
// place of the assertion, and only the transport of reverse_proxy, which sends a
// copy, puts the assertion in.

// outlet is where requests that passed a gate leave for apps.
type outlet struct {
	gate *Gate
	at   string // where the gate stands, for warnings
	// proxies send them.
	proxies []*reverseproxy.Handler
	// unfit says why assertions can't be put in there alone; empty: they can.
	unfit string
	// verbose is the module name of a transport that logs at DEBUG what it
	// sends; empty: there is none.
	verbose caddy.ModuleID
}

// outletOf finds the outlet of a gate.
func (s *survey) outletOf(known *guard, exposed map[*reverseproxy.Handler]bool) outlet {
	found := outlet{gate: known.gate, at: known.server.at(known.reached[0])}
	for _, host := range known.guarded {
		for _, met := range known.server.ways[host] {
			if met.guarded && met.module != nil && (met.does == serves || met.does == alters) {
				found.add(met.module)
			}
		}
	}
	if found.unfit == "" && slices.ContainsFunc(found.proxies, func(p *reverseproxy.Handler) bool { return exposed[p] }) {
		found.unfit = "reverse_proxy answers requests that don't come by mfa, too"
	}
	return found
}

// exposed returns the proxies to which requests come that passed no gate. They
// may be in use before this app has started.
func (s *survey) exposed() map[*reverseproxy.Handler]bool {
	var found outlet
	for _, server := range s.servers {
		for _, way := range server.ways {
			for _, met := range way {
				if !met.guarded && met.module != nil {
					found.add(met.module)
				}
			}
		}
	}
	exposed := make(map[*reverseproxy.Handler]bool)
	for _, proxy := range found.proxies {
		exposed[proxy] = true
	}
	return exposed
}

// inert are handlers that serve or alter without sending a request on. Of those
// that pass none does.
var inert = append([]caddy.ModuleID{
	"http.handlers.acme_server",
	"http.handlers.copy_response",
	"http.handlers.copy_response_headers",
	"http.handlers.file_server",
	"http.handlers.invoke",
	"http.handlers.metrics",
	"http.handlers.rewrite",
	"http.handlers.static_response",
	"http.handlers.templates",
}, passing...)

// add notes what a handler and those within it do.
func (o *outlet) add(handler caddyhttp.MiddlewareHandler) {
	switch h := handler.(type) {
	case *reverseproxy.Handler:
		o.addProxy(h)
	case *intercept.Intercept:
		o.addResponses(h.HandleResponse)
	case *caddyhttp.Subroute:
		o.addRoutes(h.Routes)
		if h.Errors != nil {
			o.addRoutes(h.Errors.Routes)
		}
	default:
		if id := caddy.ModuleID(caddy.GetModuleID(handler)); !slices.Contains(inert, id) {
			o.unfit = fmt.Sprintf("how %s sends requests on isn't known", nameOf(handler))
		}
	}
}

func (o *outlet) addProxy(proxy *reverseproxy.Handler) {
	if !slices.Contains(o.proxies, proxy) {
		o.proxies = append(o.proxies, proxy)
	}
	if checks := proxy.HealthChecks; checks != nil && checks.Active != nil && checks.Active.IsEnabled() {
		// They read the transport from the time at which it is made.
		o.unfit = "reverse_proxy checks the health of its upstreams"
	}
	if _, quiet := proxy.Transport.(*reverseproxy.HTTPTransport); !quiet {
		o.verbose = caddy.ModuleID(caddy.GetModuleID(proxy.Transport))
	}
	o.addResponses(proxy.HandleResponse)
}

func (o *outlet) addResponses(responses []caddyhttp.ResponseHandler) {
	for _, response := range responses {
		o.addRoutes(response.Routes)
	}
}

func (o *outlet) addRoutes(routes caddyhttp.RouteList) {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			o.add(handler)
		}
	}
}

// withhold has assertions put in by the transports behind each gate where that
// can be, and warns of what logs may hold all the same. It must be called before
// any gate lets anything through.
func (a *App) withhold(outlets []outlet) {
	standIn := "assertion-" + rand.Text() // which no client can know
	shown := a.logsDebug("http.handlers.reverse_proxy")
	wrapped := make(map[*reverseproxy.Handler]bool)
	for _, out := range outlets {
		if why := a.loggedFrom(out); why != "" {
			a.logger.Warn(fmt.Sprintf("%s: %s, so Caddy's logs may hold the header X-Mfa-Assertion, with which whoever reads it can act as that person for some minutes: write into each log:\n%s", out.at, why, logFilter))
		}
		if out.unfit != "" {
			continue
		}
		out.gate.standIn = standIn
		for _, proxy := range out.proxies {
			if !wrapped[proxy] {
				proxy.Transport, wrapped[proxy] = &revealingTransport{proxy.Transport, standIn, shown}, true
			}
		}
	}
}

// loggedFrom says why logs may hold an assertion; empty: they don't.
func (a *App) loggedFrom(out outlet) string {
	switch {
	case out.unfit != "":
		return out.unfit
	case out.verbose != "" && a.logsDebug(out.verbose):
		return fmt.Sprintf("the transport %s logs what it sends, and a log is at the level DEBUG", out.verbose.Name())
	}
	return ""
}

// logsDebug reports whether a log takes the module's entries at the level DEBUG.
func (a *App) logsDebug(id caddy.ModuleID) bool {
	return a.ctx.Logger(moduleNamed(id)).Core().Enabled(zap.DebugLevel)
}

// moduleNamed is a module of which only the name matters.
type moduleNamed caddy.ModuleID

// CaddyModule implements caddy.Module.
func (m moduleNamed) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: caddy.ModuleID(m)} }

// revealingTransport puts the assertion into a copy of each request that it
// sends. Only requests that a gate has passed come to it.
type revealingTransport struct {
	http.RoundTripper
	standIn string
	// shown says that reverse_proxy logs what it sends.
	shown bool
}

// RoundTrip implements http.RoundTripper. Its request is reverse_proxy's own,
// and when it is logged afterwards, that costs as much as all that the gate does.
// So the headers are copied only where somebody looks at them: in a log at the
// level DEBUG, and where reverse_proxy looks for the upgrade that it asked for.
// Else what the app gets goes with the copy, and what came through the gate is
// logged.
func (t *revealingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	visitor, _ := caddyhttp.GetVar(r.Context(), passedVar).(*passed)
	if visitor == nil || visitor.Assertion == "" {
		return t.RoundTripper.RoundTrip(r)
	}
	sent := *r
	if t.shown || r.Header["Upgrade"] != nil {
		sent.Header = r.Header.Clone()
	} else {
		r.Header = visitor.Header
	}
	t.reveal(sent.Header, visitor.Assertion)
	return t.RoundTripper.RoundTrip(&sent)
}

// reveal puts the assertion wherever an operator may have copied it. A header
// that was sent before it leaves alone, since that may still be read.
func (t *revealingTransport) reveal(header http.Header, assertion string) {
	for _, values := range header {
		for i, value := range values {
			switch {
			case value == t.standIn:
				values[i] = assertion
			case strings.Contains(value, t.standIn):
				values[i] = strings.ReplaceAll(value, t.standIn, assertion)
			}
		}
	}
}

// RequiresContentLength implements reverseproxy.ContentLengthRequiredTransport.
func (t *revealingTransport) RequiresContentLength() bool {
	inner, ok := t.RoundTripper.(reverseproxy.ContentLengthRequiredTransport)
	return ok && inner.RequiresContentLength()
}

// ProxyProtocolEnabled implements reverseproxy.ProxyProtocolTransport.
func (t *revealingTransport) ProxyProtocolEnabled() bool {
	inner, ok := t.RoundTripper.(reverseproxy.ProxyProtocolTransport)
	return ok && inner.ProxyProtocolEnabled()
}

// Interface guards
var (
	_ reverseproxy.ContentLengthRequiredTransport = (*revealingTransport)(nil)
	_ reverseproxy.ProxyProtocolTransport         = (*revealingTransport)(nil)
)
