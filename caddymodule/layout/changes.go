package layout

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/requestbody"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
)

// change is something of a request that a handler may set, add to or remove.
type change struct {
	kind  string // such as "the header"
	names string // which may hold stars, each for any characters; or a placeholder, for any name
}

const (
	ofHeader      = "the header"
	ofVariable    = "the variable"
	ofPlaceholder = "the placeholder"
	ofBody        = "the body"
)

// changes returns what a handler may change of a request while it hands it on.
// What handlers do that alter all of it isn't told.
func changes(handler caddyhttp.MiddlewareHandler) []change {
	var found []change
	add := func(kind, names string) { found = append(found, change{kind, names}) }
	switch h := handler.(type) {
	case *headers.Handler:
		return changesOf(h.Request)
	case *caddyhttp.VarsMiddleware:
		for name := range *h {
			add(ofVariable, name)
		}
	case *maphandler.Handler:
		for _, name := range h.Destinations {
			add(ofPlaceholder, strings.Trim(name, "{}"))
		}
	case *requestbody.RequestBody:
		if h.Set != "" {
			add(ofBody, "")
		}
	}
	return found
}

// changesOf returns what operations change of headers.
func changesOf(operations *headers.HeaderOps) (found []change) {
	if operations == nil {
		return nil
	}
	names := slices.Concat(slices.Collect(maps.Keys(operations.Add)), slices.Collect(maps.Keys(operations.Set)),
		slices.Collect(maps.Keys(operations.Replace)), operations.Delete)
	for _, name := range names {
		found = append(found, change{ofHeader, name})
	}
	return found
}

// covers reports whether the change may be one of the named thing.
func (c change) covers(name string) bool {
	pattern := caddy.NewReplacer().ReplaceKnown(c.names, "")
	switch {
	case strings.Contains(pattern, "{"):
		return true // the request says what
	case c.kind != ofHeader:
		return pattern == name
	}
	matched, err := path.Match(strings.ToLower(pattern), strings.ToLower(name))
	return matched || err != nil
}

// rehosts reports whether a handler may change the Host of a request.
func rehosts(handler caddyhttp.MiddlewareHandler) bool {
	return slices.ContainsFunc(changes(handler), func(c change) bool { return c.kind == ofHeader && c.covers("Host") })
}

// decisiveHeaders are those by which gate and portal decide and answer.
var decisiveHeaders = []string{
	"Host", "Cookie", "Authorization", "Origin", "Referer", "Connection", "Upgrade", "Early-Data",
	"Accept", "Content-Length", "Content-Type", "Transfer-Encoding", "X-Requested-With",
	"Access-Control-Request-Headers", "Access-Control-Request-Method",
	"Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Sec-Purpose",
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
	"Destination", "If",
}

// decisiveVariables are those in which Caddy keeps what it knows of a client.
var decisiveVariables = slices.Concat([]string{caddyhttp.ClientIPVarKey, caddyhttp.TrustedProxyVarKey}, identityPlaceholders)

// UserPlaceholders is what Caddy's placeholders for the person who asks begin
// with.
const UserPlaceholders = "http.auth.user."

// identityPlaceholders are those by which the gate says who asks.
var identityPlaceholders = []string{
	UserPlaceholders + "id", UserPlaceholders + "name", UserPlaceholders + "email", UserPlaceholders + "groups",
	UserPlaceholders + "assurance", UserPlaceholders + "device",
}

// altered returns what a handler changes of what the gate decides on, or "".
// A nil gate stands for the portal.
func altered(handler caddyhttp.MiddlewareHandler, gate Gate) string {
	for _, c := range changes(handler) {
		var names []string
		switch c.kind {
		case ofVariable:
			names = decisiveVariables
		case ofPlaceholder:
			names = identityPlaceholders
		case ofHeader:
			names = decisiveHeaders
			if gate != nil {
				names = slices.Concat(names, gate.Guarding().lookedAt())
			}
		}
		for _, name := range names {
			if c.covers(name) {
				return c.kind + " " + name
			}
		}
	}
	return ""
}

// lookedAt returns the headers at which the gate's matchers may look.
// Variables that they look at are held to one form with each request instead.
func (g *Guarding) lookedAt() []string {
	var names []string
	note := func(matcher any) { names = append(names, matching.Headers(matcher)...) }
	for _, sets := range g.Matchers {
		matching.Each(sets, note)
	}
	return names
}

// canRehost reports whether any handler of a server may change the Host.
func canRehost(server *caddyhttp.Server) bool {
	found := false
	eachHandler(routesOf(server), func(handler caddyhttp.MiddlewareHandler) { found = found || rehosts(handler) })
	return found
}
