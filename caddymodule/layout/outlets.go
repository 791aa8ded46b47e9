package layout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Outlet is where requests that have passed a gate are sent to apps.
type Outlet struct {
	Gate Gate
	At   string // where the gate stands, for warnings
	// Proxies send them.
	Proxies []*reverseproxy.Handler
	// Fit are the proxies whose transport can be replaced.
	Fit []*reverseproxy.Handler
	// Unfit says why assertions can't be inserted only there; empty: they can.
	Unfit string
	// Verbose is the module name of a transport that logs what it sends at DEBUG;
	// empty: there is none.
	Verbose caddy.ModuleID
}

// outletOf finds the Outlet of a gate.
func (s *survey) outletOf(known *guard, exposed map[*reverseproxy.Handler]bool) Outlet {
	found := Outlet{Gate: known.gate, At: known.server.at(known.reached[0])}
	for _, host := range known.guarded {
		for _, met := range known.server.ways[host] {
			if met.guarded && met.module != nil && (met.does == serves || met.does == alters) {
				found.add(met.module)
			}
		}
	}
	for _, proxy := range found.Proxies {
		switch {
		case checksHealth(proxy):
			// The checks read the transport from the time at which the proxy is made.
			found.Unfit = cmp.Or(found.Unfit, "reverse_proxy checks the health of its upstreams")
		case exposed[proxy]:
			found.Unfit = cmp.Or(found.Unfit, "reverse_proxy answers requests that don't come by mfa, too")
		default:
			found.Fit = append(found.Fit, proxy)
		}
	}
	return found
}

func checksHealth(proxy *reverseproxy.Handler) bool {
	checks := proxy.HealthChecks
	return checks != nil && checks.Active != nil && checks.Active.IsEnabled()
}

// exposed returns the proxies to which requests come that passed no gate. They
// may be in use before this app has started.
func (s *survey) exposed() map[*reverseproxy.Handler]bool {
	var found Outlet
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
	for _, proxy := range found.Proxies {
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
func (o *Outlet) add(handler caddyhttp.MiddlewareHandler) {
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
			o.Unfit = fmt.Sprintf("how %s sends requests on isn't known", nameOf(handler))
		}
	}
}

func (o *Outlet) addProxy(proxy *reverseproxy.Handler) {
	if !slices.Contains(o.Proxies, proxy) {
		o.Proxies = append(o.Proxies, proxy)
	}
	if _, quiet := proxy.Transport.(*reverseproxy.HTTPTransport); !quiet {
		o.Verbose = caddy.ModuleID(caddy.GetModuleID(proxy.Transport))
	}
	o.addResponses(proxy.HandleResponse)
}

func (o *Outlet) addResponses(responses []caddyhttp.ResponseHandler) {
	for _, response := range responses {
		o.addRoutes(response.Routes)
	}
}

func (o *Outlet) addRoutes(routes caddyhttp.RouteList) {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			o.add(handler)
		}
	}
}
