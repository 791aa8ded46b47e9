package layout

import (
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// routesWithin returns the lists of routes that a handler of Caddy's holds,
// those for errors and responses included.
func routesWithin(handler caddyhttp.MiddlewareHandler) (lists []caddyhttp.RouteList) {
	var responses []caddyhttp.ResponseHandler
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		lists = append(lists, h.Routes)
		if h.Errors != nil {
			lists = append(lists, h.Errors.Routes)
		}
	case *reverseproxy.Handler:
		responses = h.HandleResponse
	case *intercept.Intercept:
		responses = h.HandleResponse
	}
	for _, response := range responses {
		lists = append(lists, response.Routes)
	}
	return lists
}

// routesOf returns the lists of routes that a server holds, each of its named
// routes in a list of its own.
func routesOf(server *caddyhttp.Server) []caddyhttp.RouteList {
	lists := []caddyhttp.RouteList{server.Routes}
	if server.Errors != nil {
		lists = append(lists, server.Errors.Routes)
	}
	for _, name := range slices.Sorted(maps.Keys(server.NamedRoutes)) {
		lists = append(lists, caddyhttp.RouteList{*server.NamedRoutes[name]})
	}
	return lists
}

// eachHandler calls do with each handler in the routes, and with those that
// these hold. What they invoke doesn't count.
func eachHandler(lists []caddyhttp.RouteList, do func(caddyhttp.MiddlewareHandler)) {
	eachRoute(lists, func(route caddyhttp.Route) {
		for _, handler := range route.Handlers {
			do(handler)
		}
	})
}

// eachRoute calls do with each route, and with those within its handlers.
func eachRoute(lists []caddyhttp.RouteList, do func(caddyhttp.Route)) {
	for _, routes := range lists {
		for _, route := range routes {
			do(route)
			for _, handler := range route.Handlers {
				eachRoute(routesWithin(handler), do)
			}
		}
	}
}

// reaches reports whether a handler, or one that it holds or invokes, has a
// property.
func reaches(server *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, has func(caddyhttp.MiddlewareHandler) bool) bool {
	found := false
	eachReached(server, handler, func(handler caddyhttp.MiddlewareHandler) { found = found || has(handler) })
	return found
}

// eachReached calls do with a handler and with all that it holds or invokes.
func eachReached(server *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, do func(caddyhttp.MiddlewareHandler)) {
	invoked := make(map[string]bool)
	var reach func(handler caddyhttp.MiddlewareHandler)
	reach = func(handler caddyhttp.MiddlewareHandler) {
		do(handler)
		lists := routesWithin(handler)
		if invoke, ok := handler.(*caddyhttp.Invoke); ok && !invoked[invoke.Name] {
			invoked[invoke.Name] = true
			lists = invokedBy(server, invoke)
		}
		for _, routes := range lists {
			for _, route := range routes {
				for _, handler := range route.Handlers {
					reach(handler)
				}
			}
		}
	}
	reach(handler)
}

func invokedBy(server *caddyhttp.Server, invoke *caddyhttp.Invoke) []caddyhttp.RouteList {
	if route, known := server.NamedRoutes[invoke.Name]; known {
		return []caddyhttp.RouteList{{*route}}
	}
	return nil
}

// endlessInvoke returns the name of a named route that leads to itself and that
// requests may come to, or "". Caddy follows it until the stack overflows, which
// ends the process.
func endlessInvoke(server *caddyhttp.Server) string {
	var invoking []string
	done := make(map[string]bool)
	var follow func(lists []caddyhttp.RouteList) string
	follow = func(lists []caddyhttp.RouteList) (endless string) {
		eachHandler(lists, func(handler caddyhttp.MiddlewareHandler) {
			invoke, ok := handler.(*caddyhttp.Invoke)
			switch {
			case !ok || endless != "":
			case slices.Contains(invoking, invoke.Name):
				endless = invoke.Name
			case !done[invoke.Name]:
				invoking = append(invoking, invoke.Name)
				endless = follow(invokedBy(server, invoke))
				invoking = invoking[:len(invoking)-1]
				done[invoke.Name] = true
			}
		})
		return endless
	}
	lists := []caddyhttp.RouteList{server.Routes}
	if server.Errors != nil {
		lists = append(lists, server.Errors.Routes)
	}
	return follow(lists)
}
