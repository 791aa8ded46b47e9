package layout

import (
	"errors"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
)

// Gate is a handler that guards a site.
type Gate interface {
	caddyhttp.MiddlewareHandler
	// Guarding says how it guards.
	Guarding() *Guarding
}

// Portal is the handler that serves the portal.
type Portal interface {
	caddyhttp.MiddlewareHandler
	// PortalSource returns the place of the handler as FILE:LINE, or "".
	PortalSource() string
}

// Authenticator is the handler that serves the phone's app.
type Authenticator interface {
	caddyhttp.MiddlewareHandler
	// AuthenticatorSource returns the place of the handler as FILE:LINE, or "".
	AuthenticatorSource() string
}

// Guarding is how a gate guards its site, as far as it matters to the layout.
type Guarding struct {
	// Source is where the handler is written, as FILE:LINE, or "".
	Source string
	// Server is the server that the gate belongs to.
	Server *caddyhttp.Server
	// Declared are the hosts that its own settings name.
	Declared []origin.Pattern
	// Open are the matchers of the rules that let everybody pass.
	Open []caddyhttp.MatcherSets
	// Matchers are all matchers of the gate.
	Matchers []caddyhttp.MatcherSets
	// Paths are the paths, in lower case, that are named by rules that don't open them.
	Paths []string
	// OpenPaths are those that are named by rules that open them.
	OpenPaths []string
	// Identity are the headers by which the gate tells an app who is signed in.
	Identity []string
	// Weakest is the lowest level with which somebody passes.
	Weakest assurance.Level
	// Bare says that nothing is set.
	Bare bool
}

// ErrWholeSite says that an open rule applies to every request.
var ErrWholeSite = errors.New("open applies to every request, so the whole site would be open: remove mfa from the site, or name the paths that everybody may see")

// checkOpen returns ErrWholeSite where an open rule matches every request for
// some of the hosts.
func (g *Guarding) checkOpen(hosts []string) error {
	for _, sets := range g.Open {
		if matching.MatchAll(sets, hosts) {
			return ErrWholeSite
		}
	}
	return nil
}
