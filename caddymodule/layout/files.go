package layout

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
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
		if guarded := firstRooted(guarding.Paths); guarded != "" && slices.ContainsFunc(known.server.ways[known.reached[0]], lists) {
			s.warn("%s: file_server browse shows everybody who may see the folder the names of files that a rule of mfa guards, such as %s: leave browse out, or write the rule for the folder", at, guarded)
		}
		if guarding.looksAtAddress() && slices.ContainsFunc(known.server.ways[known.reached[0]], s.includes(known.server)) {
			s.warn("%s: a rule of mfa looks at the client's address, but requests by httpInclude in templates come from 127.0.0.1: leave httpInclude out, or write the rule for paths", at)
		}
	}
	return nil
}

// firstRooted returns the first pattern that begins at the root and doesn't match it.
func firstRooted(patterns []string) string {
	i := slices.IndexFunc(patterns, func(p string) bool { return strings.HasPrefix(p, "/") && strings.Trim(p, "/*") != "" })
	if i < 0 {
		return ""
	}
	return patterns[i]
}

// lists reports whether a step lists folders of a whole site.
func lists(met step) bool {
	files, ok := met.module.(*fileserver.FileServer)
	return ok && met.guarded && files.Browse != nil && (met.under == "" || met.under == "handle")
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
