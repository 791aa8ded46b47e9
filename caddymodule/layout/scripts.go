package layout

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"
)

// ScriptSplits returns where the sites of a server say that the names of scripts
// end, as php_fastcgi does, in lower case.
func ScriptSplits(server *caddyhttp.Server) (splits []string) {
	eachHandler(routesOf(server), func(handler caddyhttp.MiddlewareHandler) {
		proxy, ok := handler.(*reverseproxy.Handler)
		if !ok {
			return
		}
		if transport, ok := innermost(proxy.Transport).(*fastcgi.Transport); ok {
			splits = append(splits, transport.SplitPath...)
		}
	})
	slices.Sort(splits)
	return slices.Compact(splits)
}

// innermost returns the transport that others only stand before.
func innermost(t http.RoundTripper) http.RoundTripper {
	for {
		outer, ok := t.(interface{ Unwrap() http.RoundTripper })
		if !ok {
			return t
		}
		t = outer.Unwrap()
	}
}
