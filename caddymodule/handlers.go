package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(handlers))
}

// handlers are all gates, portals and authenticators of a configuration. Handlers can't ask for
// the mfa app, since it looks at the complete http app, and Caddy provisions
// the two in any order. So they register here, and the mfa app completes them.
// It is an app because Caddy makes one of each for a configuration when it is
// first asked for.
type handlers struct {
	gates   []*Gate
	portals []*Portal
	// authenticators serve the phone's app.
	authenticators []*Authenticator
}

// CaddyModule returns the Caddy module information.
func (*handlers) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mfa_handlers",
		New: func() caddy.Module { return new(handlers) },
	}
}

// configures reports whether the configuration has an app. Caddy can only be asked by
// making it, for which it is too early here. A version of Caddy that keeps its
// configuration elsewhere counts as having mfa: then Start refuses the handlers.
func configures(ctx caddy.Context, app string) bool {
	config := reflect.ValueOf(ctx).FieldByName("cfg")
	if config.Kind() != reflect.Pointer || config.IsNil() {
		return app == "mfa"
	}
	apps := config.Elem().FieldByName("AppsRaw")
	if apps.Kind() != reflect.Map {
		return app == "mfa"
	}
	return apps.MapIndex(reflect.ValueOf(app)).IsValid()
}

// handlersOf returns the handlers of the configuration that ctx belongs to.
func handlersOf(ctx caddy.Context) (*handlers, error) {
	if !configures(ctx, "mfa") {
		return nil, errNoPortal
	}
	loaded, err := ctx.App("mfa_handlers")
	if err != nil {
		return nil, err
	}
	h, ok := loaded.(*handlers)
	if !ok {
		return nil, fmt.Errorf("the app mfa_handlers is a %T", loaded)
	}
	return h, nil
}

var errNoPortal = errors.New("the portal is missing: write in the Caddyfile's global options: mfa { portal https://login.example.com }")

// Start refuses handlers that no mfa app has completed: there is none.
func (h *handlers) Start() error {
	for _, g := range h.gates {
		if g.app == nil {
			return errNoPortal
		}
	}
	for _, p := range h.portals {
		if p.app == nil {
			return errNoPortal
		}
	}
	for _, p := range h.authenticators {
		if p.app == nil {
			return errNoPortal
		}
	}
	return nil
}

// Stop implements caddy.App.
func (*handlers) Stop() error { return nil }

// completeHandlers resolves the settings of all handlers by those of the app,
// once the http app is complete, and checks how the sites are laid out.
func (a *App) completeHandlers() error {
	sites, err := a.httpApp()
	if err != nil {
		return nil // and Caddy refuses the configuration with that error, which is about something else
	}
	h, err := handlersOf(a.ctx)
	if err != nil {
		return err
	}
	for _, p := range h.portals {
		p.app = a
	}
	for _, p := range h.authenticators {
		p.app = a
	}
	for _, g := range h.gates {
		if err := g.resolve(a); err != nil {
			return writtenAt(cmp.Or(g.Source, serverOf(sites, g)), err)
		}
	}
	a.gates = h.gates
	a.layout, err = a.arrange()
	for _, warning := range a.layout.Warnings {
		a.logger.Warn(warning)
	}
	return err
}

// serverOf says to which server a gate belongs.
func serverOf(sites *caddyhttp.App, g *Gate) string {
	for name, server := range sites.Servers {
		if server == g.server {
			return "server " + name
		}
	}
	return ""
}

// writtenAt puts the place in the Caddyfile before an error, where it is known.
func writtenAt(source string, err error) error {
	if err == nil || source == "" {
		return err
	}
	return fmt.Errorf("%s: %w", source, err)
}

// Interface guards
var (
	_ caddy.App = (*handlers)(nil)
)
