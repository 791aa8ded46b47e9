package layout

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/templates"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
)

// checkFiles warns of what rules can't hold for where a site serves files: one file
// for many paths, and requests that templates make themselves.
func (s *survey) checkFiles() error {
	for _, known := range s.sortedGuards() {
		if known.failing {
			continue
		}
		at, guarding := known.server.at(known.reached[0]), known.gate.Guarding()
		for _, file := range fallbacks(known.server.server) {
			if slices.Contains(guarding.Paths, strings.ToLower(file)) {
				s.warn("%s: a rule of mfa is about %s, but try_files or php_fastcgi serves that file for other paths, too, where the rule doesn't hold: write the rule for those paths", at, file)
			}
		}
		if guarding.looksAtAddress() && slices.ContainsFunc(known.server.ways[known.reached[0]], s.includes(known.server)) {
			s.warn("%s: a rule of mfa looks at the client's address, but requests by httpInclude in templates come from 127.0.0.1: leave httpInclude out, or write the rule for paths", at)
		}
	}
	return nil
}

// includes returns whether templates run in a step.
func (s *survey) includes(server *surveyedServer) func(step) bool {
	return func(met step) bool {
		return met.module != nil && reaches(server.server, met.module, func(handler caddyhttp.MiddlewareHandler) bool {
			_, ok := handler.(*templates.Templates)
			return ok
		})
	}
}

// looksAtAddress reports whether a matcher of the gate looks at the address of the
// client or of its connection.
func (g *Guarding) looksAtAddress() bool {
	found := g.looksAtPeer()
	for _, sets := range g.Matchers {
		matching.Each(sets, func(matcher any) { found = found || matching.LooksAtClient(matcher) })
	}
	return found
}
