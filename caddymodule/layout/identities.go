package layout

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// checkIdentities refuses, behind a gate, what names another person than the gate,
// and warns of headers that do.
func (s *survey) checkIdentities(server *surveyedServer, host string) error {
	var gate Gate
	for _, met := range server.ways[host] {
		if isGate(met) {
			gate = met.gate
		}
		if gate == nil || !met.guarded || met.module == nil {
			continue
		}
		if reaches(server.server, met.module, isAuthentication) {
			return fmt.Errorf("basic_auth or another authentication handler runs after mfa and replaces the user in {http.auth.user.id}, in PHP's REMOTE_USER and in the access log: remove it, or put it before mfa, in a block: route { basic_auth ... mfa ... }")
		}
		eachReached(server.server, met.module, func(handler caddyhttp.MiddlewareHandler) {
			if name := assumed(handler, gate.Guarding().Identity); name != "" {
				s.warn("%s: %s sets %s after mfa, so the app is told of a different user from the one that mfa has let in: remove it, or use another header", server.at(host), nameOf(handler), name)
			}
		})
	}
	return nil
}

func isAuthentication(handler caddyhttp.MiddlewareHandler) bool {
	_, ok := handler.(*caddyauth.Authentication)
	return ok
}

// assumed returns the identity header to which a handler gives a value that isn't the
// gate's, or "".
func assumed(handler caddyhttp.MiddlewareHandler, identity []string) string {
	var operations *headers.HeaderOps
	switch h := handler.(type) {
	case *headers.Handler:
		operations = h.Request
	case *reverseproxy.Handler:
		if h.Headers != nil {
			operations = h.Headers.Request
		}
	}
	if operations == nil {
		return ""
	}
	for _, values := range []http.Header{operations.Set, operations.Add} {
		for name, value := range values {
			for _, own := range identity {
				if (change{ofHeader, name}).covers(own) && !strings.Contains(strings.Join(value, ""), "{"+UserPlaceholders) {
					return own
				}
			}
		}
	}
	return ""
}
