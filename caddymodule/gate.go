package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/boundedlog"
	"github.com/portcullis-mfa/portcullis/caddymodule/approach"
	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/gate"
)

func init() {
	caddy.RegisterModule(new(Gate))
}

// Gate lets a request through only if its sender has proved who they are. Write it
// once, at the top of a site; it takes no matcher. Within `handle_errors`, it takes
// no settings, and passes on only requests that have passed the site's gate.
type Gate struct {
	// Rules say what is different for parts of the site. The first rule that matches
	// decides. If none matches, the gate's own settings decide. Default: none.
	Rules []*Rule `json:"rules,omitempty"`

	// Allow is who may pass. Default: everybody who has signed in.
	Allow *People `json:"allow,omitempty"`

	// Tokens are the credentials of programs that count: service tokens, app passwords
	// of people, or both. The assurance that the gate asks for applies to people only.
	// Default: none.
	Tokens *Tokens `json:"tokens,omitempty"`

	// Assurance is what people must have proved: single (the password alone),
	// multi (two factors) or phishing_resistant (a security key or passkey).
	// Default: multi.
	Assurance string `json:"assurance,omitempty"`

	// MaxAge is how old the proof that the assurance depends on may be: the newest
	// second factor, or the password with single. If the proof is older, people are
	// asked for it again. Default: as long as the session lasts.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// Certificate is what the certificate of a managed device does: accept (it
	// identifies the sender, and satisfies the default assurance), require (nobody
	// passes without one), and_password (with one, people are asked for their
	// password alone) or off. Default: accept if the site's TLS asks for
	// certificates and the app's certificate names a CA, otherwise off.
	Certificate string `json:"certificate,omitempty"`

	// Headers are the request headers that tell the app who is signed in. Anything
	// that a client sends under these names is removed.
	Headers *Headers `json:"headers,omitempty"`

	// Hosts are the hosts to guard if the site's address names none: HOST or
	// HOST:PORT, where HOST may be a wildcard for one label (*.example.com). On other
	// sites, they add ports at which browsers reach the site's hosts. Default: the
	// hosts of the site.
	Hosts []string `json:"hosts,omitempty"`

	// IdleIgnoresRaw says which requests pages send on their own, such as polling.
	// They don't keep a sign-on from going idle. Default: none.
	IdleIgnoresRaw caddyhttp.RawMatcherSets `json:"idle_ignores,omitempty" caddy:"namespace=http.matchers"`

	// CORSPreflight is pass if the app itself answers CORS preflights, which browsers
	// send without cookies. They are then let through, without cookies and without an
	// identity. Default: they get 401, like every request without a sign-on.
	CORSPreflight string `json:"cors_preflight,omitempty"`

	// CookieSameSite is lax or none. With none, browsers also send the session cookie
	// with requests from pages of other sites, so that those can embed the app.
	// Requests from there that change something are refused. Default: lax.
	CookieSameSite string `json:"cookie_same_site,omitempty"`

	// ClearSiteData is when browsers are told to forget what the app keeps in them
	// (caches, and storage including unsaved work): user_change (when somebody else
	// signs in) or sign_out (then, and whenever somebody signs out at the app). At a
	// shared computer, signing out at the app always clears. Default: user_change.
	ClearSiteData string `json:"clear_site_data,omitempty"`

	// Assertion sends the app a signed statement of who is signed in, a JWT in the
	// header X-Mfa-Assertion. The app can check it with the keys at
	// PORTAL/.well-known/jwks.json. Default: false.
	Assertion bool `json:"assertion,omitempty"`

	// SessionNotice adds a small script to the app's pages. The script tells people
	// when the session of an open page has ended, and lets them sign in again in a
	// new tab, so that nothing on the page is lost. Default: false.
	SessionNotice *bool `json:"session_notice,omitempty"`

	// Basic asks programs that send no credential for HTTP Basic authentication, where
	// tokens count. Git and others send a stored token only once they are asked. Browsers
	// are never asked. Default: false.
	Basic *bool `json:"basic,omitempty"`

	// Source is where the handler is written, as FILE:LINE, for messages. The
	// Caddyfile adapter fills it in. Default: none.
	Source string `json:"source,omitempty"`

	ctx    caddy.Context
	app    *App
	logger *zap.Logger
	server *caddyhttp.Server

	// What resolve resolved.
	resolved    []resolvedRule   // in the order written
	rest        resolvedRule     // what stands outside rules
	headers     Headers          // checked; what is empty has its default
	declared    []origin.Pattern // from Hosts
	idleIgnores caddyhttp.MatcherSets
	guarding    *layout.Guarding
	asksQuery   bool     // some rule looks at the query
	namesHead   bool     // some rule names the method HEAD
	parameters  []string // of a query, which rules name
	preflights  bool
	sameSite    http.SameSite
	// clearAtSignOut says that signing out clears the app's data in a browser.
	clearAtSignOut bool
	// asks says, since the app's start, that TLS asks for certificates at one of
	// the site's hosts at least.
	asks bool

	// approach is the way by which requests reach the gate. It is set at the app's
	// start.
	approach *approach.Approach
	// standIn replaces the assertion in requests until they are sent to the app;
	// empty: they carry the assertion itself. It is set at the app's start.
	standIn string

	// placed is the gate's place. It is nil until the app has started;
	// until then requests get 503.
	placed atomic.Pointer[layout.Placement]
	// serving decides on requests, once the gate is placed.
	serving atomic.Pointer[gate.Gate]
}

// isErrorRoute reports whether the gate is within handle_errors.
func (g *Gate) isErrorRoute() bool {
	at := g.placed.Load()
	return at != nil && at.ErrorRoute
}

// CaddyModule returns the Caddy module information.
func (*Gate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.mfa",
		New: func() caddy.Module { return new(Gate) },
	}
}

// Provision registers the handler, which the app completes. It creates nothing.
func (g *Gate) Provision(ctx caddy.Context) error {
	g.ctx, g.logger = ctx, boundedlog.New(ctx.Logger())
	g.server, _ = ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	registered, err := handlersOf(ctx)
	if err != nil {
		return writtenAt(g.Source, err)
	}
	registered.gates = append(registered.gates, g)
	return nil
}

// resolve resolves the settings into complete rules. It creates nothing.
func (g *Gate) resolve(app *App) (err error) {
	g.app = app
	if err := g.resolveRest(); err != nil {
		return err
	}
	for i, rule := range g.Rules {
		resolved, err := g.resolveRule(rule)
		if err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
		g.resolved = append(g.resolved, resolved)
	}
	if isOn(g.Basic) && !slices.ContainsFunc(append(g.resolved[:len(g.resolved):len(g.resolved)], g.rest), resolvedRule.takesTokens) {
		return errors.New("basic on: no token counts at this gate, so programs that are asked have nothing to send: add tokens service or tokens personal")
	}
	if g.headers, err = g.Headers.checked(); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	if err := g.resolveHosts(); err != nil {
		return err
	}
	if err := g.resolveBrowsing(); err != nil {
		return err
	}
	g.guarding = g.describe()
	return nil
}

// describe says what the layout turns on.
func (g *Gate) describe() *layout.Guarding {
	guarding := &layout.Guarding{
		Source: g.Source, Server: g.server, Declared: g.declared, Weakest: g.weakest(), Bare: g.isBare(),
		Matchers: []caddyhttp.MatcherSets{g.idleIgnores}, Identity: g.headers.names(),
	}
	for _, rule := range g.resolved {
		guarding.Matchers = append(guarding.Matchers, rule.matchers)
		if rule.open {
			guarding.Open = append(guarding.Open, rule.matchers)
			guarding.OpenPaths = append(guarding.OpenPaths, rule.patterns...)
		} else {
			guarding.Paths = append(guarding.Paths, rule.patterns...)
		}
	}
	return guarding
}

// Guarding implements layout.Gate.
func (g *Gate) Guarding() *layout.Guarding { return g.guarding }

func (g *Gate) resolveHosts() error {
	for _, written := range g.Hosts {
		host, err := expand("hosts", written)
		if err != nil {
			return err
		}
		pattern, err := origin.ParsePattern(host)
		if err != nil {
			return fmt.Errorf("hosts: %w", err)
		}
		g.declared = append(g.declared, pattern)
	}
	return nil
}

// resolveBrowsing resolves what concerns the ways of browsers and pages.
func (g *Gate) resolveBrowsing() (err error) {
	if g.IdleIgnoresRaw != nil {
		if g.idleIgnores, err = loadMatchers(g.ctx, g, "IdleIgnoresRaw", g.IdleIgnoresRaw); err != nil {
			return fmt.Errorf("idle_ignores: %w", err)
		}
	}
	if g.preflights, err = parsePreflight(g.CORSPreflight); err != nil {
		return err
	}
	if g.sameSite, err = parseSameSite(g.CookieSameSite); err != nil {
		return err
	}
	g.clearAtSignOut, err = parseClearSiteData(g.ClearSiteData)
	return err
}

// parsePreflight reports whether CORS preflights pass.
func parsePreflight(written string) (bool, error) {
	switch written {
	case "":
		return false, nil
	case "pass":
		return true, nil
	}
	return false, fmt.Errorf("cors_preflight %q: write pass, or leave it out", written)
}

func parseSameSite(written string) (http.SameSite, error) {
	switch written {
	case "", "lax":
		return http.SameSiteLaxMode, nil
	case "none":
		return http.SameSiteNoneMode, nil
	}
	return 0, fmt.Errorf("cookie_same_site %q: write lax or none", written)
}

// parseClearSiteData reports whether signing out clears what an app keeps in a
// browser.
func parseClearSiteData(written string) (atSignOut bool, err error) {
	switch written {
	case "", "user_change":
		return false, nil
	case "sign_out":
		return true, nil
	}
	return false, fmt.Errorf("clear_site_data %q: write user_change or sign_out", written)
}

// isBare reports whether nothing is set.
func (g *Gate) isBare() bool {
	return len(g.Rules) == 0 && g.Allow == nil && g.Assurance == "" && g.MaxAge == 0 && g.Certificate == "" && g.Headers == nil &&
		len(g.Hosts) == 0 && len(g.idleIgnores) == 0 && g.CORSPreflight == "" && g.CookieSameSite == "" && g.ClearSiteData == "" && !g.Assertion && g.SessionNotice == nil && g.Tokens == nil && g.Basic == nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Gate)(nil)
	_ caddyhttp.MiddlewareHandler = (*Gate)(nil)
	_ layout.Gate                 = (*Gate)(nil)
)
