package caddymodule

import (
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
)

func init() {
	caddy.RegisterModule(new(Portal))
}

// Portal serves the pages where people sign in and look after their factors.
// It stands on the host that the app's `portal` names, alone, and answers
// every request.
type Portal struct {
	// Source is where the handler is written, as FILE:LINE, for messages. The
	// Caddyfile adapter fills it in. Default: none.
	Source string `json:"source,omitempty"`

	app *App
	// placed is set when the app has started; until then requests get 503.
	placed atomic.Bool
}

// CaddyModule returns the Caddy module information.
func (*Portal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.mfa_portal",
		New: func() caddy.Module { return new(Portal) },
	}
}

// Provision registers the handler, which the app completes.
func (p *Portal) Provision(ctx caddy.Context) error {
	registered, err := handlersOf(ctx)
	if err != nil {
		return writtenAt(p.Source, err)
	}
	registered.portals = append(registered.portals, p)
	return nil
}

// PortalSource implements layout.Portal.
func (p *Portal) PortalSource() string { return p.Source }

// Interface guards
var (
	_ caddy.Provisioner           = (*Portal)(nil)
	_ caddyhttp.MiddlewareHandler = (*Portal)(nil)
	_ layout.Portal               = (*Portal)(nil)
)
