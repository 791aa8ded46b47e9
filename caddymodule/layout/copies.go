package layout

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/logging"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
)

// secretPlaceholders are the placeholders, in lower case, that may hold a cookie of
// ours or an access token.
var secretPlaceholders = []string{
	"{http.request.header.cookie}", "{http.request.cookie.__host-mfa",
	"{http.request.header.authorization}", "{http.request.header.proxy-authorization}",
	"{http.response.header.set-cookie}",
}

// bodyPlaceholders may hold what people type into the portal's forms, and the secrets
// on its pages.
var bodyPlaceholders = []string{"{http.request.body", "{http.response.body"}

var assertionPlaceholder = []string{"{http.request.header.x-mfa-assertion}"}

// copied returns a placeholder that may hold a secret and that a handler copies to
// where others can read it, or "".
func (s *surveyedServer) copied(handler caddyhttp.MiddlewareHandler, placeholders []string) string {
	if m, ok := handler.(*maphandler.Handler); ok && !copiesInput(m) {
		return ""
	}
	text := matching.Written(handler)
	if s.capturesSecrets() {
		placeholders = append(placeholders[:len(placeholders):len(placeholders)], "{http.regexp.")
	}
	for _, placeholder := range placeholders {
		if at := strings.Index(strings.ToLower(text), placeholder); at >= 0 {
			name, _, _ := strings.Cut(text[at:], "}")
			return name + "}"
		}
	}
	return ""
}

// copiesInput reports whether a map's outputs may hold parts of its input.
func copiesInput(m *maphandler.Handler) bool {
	return slices.ContainsFunc(m.Mappings, func(mapping maphandler.Mapping) bool {
		return slices.ContainsFunc(mapping.Outputs, func(output any) bool {
			text, _ := output.(string)
			return strings.Contains(text, "$")
		})
	})
}

// capturesSecrets reports whether a matcher of the server keeps parts of cookies or
// of access tokens.
func (s *surveyedServer) capturesSecrets() bool {
	found := false
	eachRoute(routesOf(s.server), func(route caddyhttp.Route) {
		matching.Each(route.MatcherSets, func(matcher any) {
			found = found || matching.Captures(matcher) && looksAtSecret(matcher)
		})
	})
	return found
}

func looksAtSecret(matcher any) bool {
	names := matching.Headers(matcher)
	return strings.Contains(matching.Written(matcher), "{http.request.cookie.") ||
		slices.ContainsFunc([]string{"Cookie", "Authorization", "Proxy-Authorization"}, func(secret string) bool {
			return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, secret) })
		})
}

// checkCopies refuses what copies a cookie of ours or an access token before the gate
// has removed it, or any secret of a handler that has the host for itself: into a log,
// a response or a header for the app.
func (s *surveyedServer) checkCopies(way []step, resident string) error {
	for _, met := range way {
		if _, logs := met.module.(*logging.LogAppend); logs && s.copied(met.module, assertionPlaceholder) != "" {
			return errors.New("log_append writes X-Mfa-Assertion into the log, and whoever has it could pose as the user: remove it")
		}
		if met.module == nil || met.guarded {
			continue
		}
		if resident != "" {
			if what := s.copied(met.module, slices.Concat(secretPlaceholders, bodyPlaceholders)); what != "" {
				return fmt.Errorf("%s copies %s on the host of %s, which may hold what people sign in with: remove it", met.handler, what, resident)
			}
			continue
		}
		what := s.copied(met.module, secretPlaceholders)
		switch {
		case what == "":
		case met.failing:
			return fmt.Errorf("handle_errors runs %s, which copies %s, and that may hold a session cookie or an access token: begin handle_errors with mfa, or remove it", met.handler, what)
		default:
			return fmt.Errorf("%s runs before mfa and copies %s, which may hold a session cookie or an access token: put it after mfa, which removes them, in a block: route { mfa ... }", met.handler, what)
		}
	}
	return nil
}
