package caddymodule

import (
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"
)

// splitsOf returns where the sites of a server say that the names of scripts
// end, as php_fastcgi does, in lower case.
func splitsOf(server *caddyhttp.Server) []string {
	var s splitCollector
	s.routes(server.Routes)
	if server.Errors != nil {
		s.routes(server.Errors.Routes)
	}
	for _, route := range server.NamedRoutes {
		s.routes(caddyhttp.RouteList{*route})
	}
	slices.Sort(s)
	return slices.Compact(s)
}

// splitCollector gathers where routes split paths.
type splitCollector []string

func (s *splitCollector) routes(routes caddyhttp.RouteList) {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			s.handler(handler)
		}
	}
}

func (s *splitCollector) handler(handler caddyhttp.MiddlewareHandler) {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		s.routes(h.Routes)
		if h.Errors != nil {
			s.routes(h.Errors.Routes)
		}
	case *reverseproxy.Handler:
		if transport, ok := h.Transport.(*fastcgi.Transport); ok {
			*s = append(*s, transport.SplitPath...)
		}
		s.responses(h.HandleResponse)
	case *intercept.Intercept:
		s.responses(h.HandleResponse)
	}
}

func (s *splitCollector) responses(responses []caddyhttp.ResponseHandler) {
	for _, response := range responses {
		s.routes(response.Routes)
	}
}
