package caddymodule

import (
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
)

func init() {
	caddy.RegisterModule(new(Authenticator))
}

// Authenticator serves the authenticator: the app with which people approve
// sign-ins on their phone. It is on a host of its own, which the option push of
// the app names, and answers every request there.
type Authenticator struct {
	// Source is where the handler is written, as FILE:LINE, for messages. The
	// Caddyfile adapter fills it in. Default: none.
	Source string `json:"source,omitempty"`

	app *App
	// placed is set when the app has started; until then requests get 503.
	placed atomic.Bool
}

// CaddyModule returns the Caddy module information.
func (*Authenticator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.mfa_authenticator",
		New: func() caddy.Module { return new(Authenticator) },
	}
}

// Provision registers the handler, which the app completes.
func (p *Authenticator) Provision(ctx caddy.Context) error {
	registered, err := handlersOf(ctx)
	if err != nil {
		return writtenAt(p.Source, err)
	}
	registered.authenticators = append(registered.authenticators, p)
	return nil
}

// AuthenticatorSource implements layout.Authenticator.
func (p *Authenticator) AuthenticatorSource() string { return p.Source }

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (p *Authenticator) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if p.app == nil {
		return unready(w, r)
	}
	s := p.app.await(r)
	if s == nil || !p.placed.Load() {
		return unready(w, r)
	}
	if p.app.refuseInsecure(w, r) {
		return nil
	}
	s.authenticator.ServeHTTP(w, r)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Authenticator)(nil)
	_ caddyhttp.MiddlewareHandler = (*Authenticator)(nil)
	_ layout.Authenticator        = (*Authenticator)(nil)
)
