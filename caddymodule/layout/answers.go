package layout

import (
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
)

// ownHeaders are those of responses on which signing in depends.
var ownHeaders = []string{"Set-Cookie", "Location"}

// cacheHeaders say what caches may keep. Operators may overrule the gate for some
// requests, but not for those whose answers set a session cookie.
var cacheHeaders = []string{"Cache-Control", "CDN-Cache-Control", "Surrogate-Control"}

// protectiveHeaders keep other sites from framing or scripting the portal's pages.
var protectiveHeaders = []string{"Content-Security-Policy", "X-Frame-Options"}

// overwritten returns the header, one of those named, that a handler changes in
// responses once they are written, or "". What it sets before that is replaced by
// whoever answers.
func overwritten(handler caddyhttp.MiddlewareHandler, names []string) string {
	h, ok := handler.(*headers.Handler)
	if !ok || h.Response == nil || !h.Response.Deferred && h.Response.Require == nil {
		return ""
	}
	for _, c := range changesOf(h.Response.HeaderOps) {
		for _, name := range names {
			if c.covers(name) {
				return name
			}
		}
	}
	return ""
}

// checkAnswers refuses what changes the answers of a gate, or of the handler that has
// the host for itself, on their way to the client.
func checkAnswers(way []step, resident string) error {
	for _, met := range way {
		if met.guarded || met.failing || met.module == nil {
			continue
		}
		names := ownHeaders
		switch {
		case resident != "":
			names = slices.Concat(ownHeaders, cacheHeaders, protectiveHeaders)
		case met.under == "":
			names = slices.Concat(ownHeaders, cacheHeaders)
		}
		name := overwritten(met.module, names)
		switch {
		case name == "":
		case resident != "":
			return fmt.Errorf("header changes %s in what %s answers: leave it out on that host", name, resident)
		default:
			return fmt.Errorf("header runs around mfa and changes %s in what mfa answers itself, session cookies included: put it after mfa, in a block: route { mfa ... }", name)
		}
	}
	return nil
}
