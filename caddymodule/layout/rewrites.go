package layout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
)

// chosenPlaceholders are what the placeholders begin with that clients choose freely
// beside the path and the method.
var chosenPlaceholders = []string{"http.request.header.", "http.request.cookie.", "http.request.uri.query", "http.request.orig_uri.query", "http.request.body"}

// chosen returns what a rewrite makes the path or the method of a request that the
// client has put elsewhere, or "".
func chosen(r *rewrite.Rewrite) string {
	if r == nil {
		return ""
	}
	path, _, _ := strings.Cut(r.URI, "?")
	texts := []string{r.Method, path, r.StripPathPrefix, r.StripPathSuffix}
	for _, replacement := range r.URISubstring {
		texts = append(texts, replacement.Replace)
	}
	for _, replacement := range r.PathRegexp {
		texts = append(texts, replacement.Replace)
	}
	return chosenIn(texts...)
}

// chosenIn returns the first placeholder in the texts that clients choose freely, or
// "".
func chosenIn(texts ...string) string {
	for _, text := range texts {
		for _, name := range matching.Placeholders(text) {
			if slices.ContainsFunc(chosenPlaceholders, func(prefix string) bool { return strings.HasPrefix(strings.ToLower(name), prefix) }) {
				return "{" + name + "}"
			}
		}
	}
	return ""
}

// checkChoices refuses, on the way through a gate, what lets clients choose the app or
// the folder that serves them: they could choose that of another site, or leave the
// folder.
func (s *surveyedServer) checkChoices(way []step) error {
	for _, met := range way {
		if met.module == nil {
			continue
		}
		var upstream, folder string
		eachReached(s.server, met.module, func(handler caddyhttp.MiddlewareHandler) {
			switch h := handler.(type) {
			case *caddyhttp.VarsMiddleware:
				for _, name := range []string{"root", "fs"} {
					value, _ := (*h)[name].(string)
					folder = max(folder, chosenIn(value))
				}
			case *fileserver.FileServer:
				folder = max(folder, chosenIn(h.Root, h.FileSystem))
			case *reverseproxy.Handler:
				upstream = max(upstream, chosenUpstream(h))
				if transport, ok := innermost(h.Transport).(*fastcgi.Transport); ok {
					folder = max(folder, chosenIn(transport.Root))
				}
			}
		})
		switch {
		case upstream != "":
			return fmt.Errorf("reverse_proxy takes %s for its upstream, so clients could choose the app of another site: name the upstreams, each under a matcher", upstream)
		case folder != "":
			return fmt.Errorf("%s takes %s for the folder of its files, so clients could choose any other folder: name the folders, each under a matcher", met.handler, folder)
		}
	}
	return nil
}

func chosenUpstream(proxy *reverseproxy.Handler) string {
	texts := lookedUp(proxy.DynamicUpstreams)
	for _, upstream := range proxy.Upstreams {
		texts = append(texts, upstream.Dial)
	}
	return chosenIn(texts...)
}

// checkRewrites refuses, behind a gate with rules, what lets clients choose another
// path or method than the one that the rules have seen.
func (s *surveyedServer) checkRewrites(way []step) error {
	first := slices.IndexFunc(way, isGate)
	if first < 0 || !way[first].gate.Guarding().tellsApart() {
		return nil
	}
	for _, met := range way[first:] {
		if met.module == nil {
			continue
		}
		var what string
		eachReached(s.server, met.module, func(handler caddyhttp.MiddlewareHandler) {
			switch h := handler.(type) {
			case *rewrite.Rewrite:
				what = max(what, chosen(h))
			case *reverseproxy.Handler:
				what = max(what, chosen(h.Rewrite))
			}
		})
		if what != "" {
			return fmt.Errorf("%s makes %s the path or the method that the app gets, so clients could choose one that the rules of mfa haven't seen: leave it out", met.handler, what)
		}
	}
	return nil
}

// tellsApart reports whether rules hold for some requests of the site only.
func (g *Guarding) tellsApart() bool {
	return slices.ContainsFunc(g.Matchers, func(sets caddyhttp.MatcherSets) bool { return len(sets) > 0 })
}
