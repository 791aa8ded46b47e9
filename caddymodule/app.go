package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/boundedlog"
	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
	"github.com/portcullis-mfa/portcullis/factors/fido"
	"github.com/portcullis-mfa/portcullis/notify/email"
	"github.com/portcullis-mfa/portcullis/notify/sms"
	"github.com/portcullis-mfa/portcullis/templates"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App holds what all gates and the portal share.
type App struct {
	// Portal is the address of the site that serves mfa_portal, where people
	// sign in: https://HOST or https://HOST:PORT, as browsers reach it. Plain
	// http:// works for localhost and names under it. Required.
	Portal string `json:"portal,omitempty"`

	// Admins are the administrators. The first administrator, who sets up an account
	// with a link, is added to the groups named here. Default: nobody.
	Admins *People `json:"admins,omitempty"`

	// StoreRaw is where users, credentials and sign-ons are kept. Default:
	// sqlite, in Caddy's data directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=mfa.stores inline_key=module"`

	// Keys is the file that holds the key set. A relative path starts from the
	// working directory. Default: Caddy's own storage, so that nodes which
	// share certificates share the keys.
	Keys string `json:"keys,omitempty"`

	// Name is the brand shown above every page. Default: Portcullis.
	Name string `json:"name,omitempty"`

	// Contact is who people can ask for help: a name, an address or a URL. Default:
	// none, and pages don't mention one.
	Contact string `json:"contact,omitempty"`

	// Logo is an SVG or PNG file, of at most 64 KiB, that is shown above every
	// page in place of the brand. Default: none.
	Logo string `json:"logo,omitempty"`

	// Accent is the colour of buttons and links, as #rrggbb. It is darkened or
	// lightened until it is readable on light and dark pages. Default: a blue.
	Accent string `json:"accent,omitempty"`

	// Templates is a directory whose files replace the built-in pages, texts, styles
	// and scripts with the same relative path; see `caddy mfa templates export`.
	// Default: none.
	Templates string `json:"templates,omitempty"`

	// Session says how long people stay signed in. Default: 12 hours, one hour
	// of which may be idle, and the second factor is asked for each time.
	Session *SessionSettings `json:"session,omitempty"`

	// Password configures how passwords are checked. Default: hashing takes up to
	// 256 MiB of memory.
	Password *Password `json:"password,omitempty"`

	// MaxStaleness is how long a node that is cut off from the store's changes may
	// go on with what it knows. During that time, it may still accept a sign-on that
	// has ended. After that, it answers 503 except on open paths. At least 2s, at
	// most 1h. The store sqlite runs in the same process and is never cut off. Default: 1m.
	MaxStaleness caddy.Duration `json:"max_staleness,omitempty"`

	// BehindTLSProxy says that TLS ends at a proxy in front of this server. Gates and
	// portal may then be served over plain HTTP for names other than localhost, which
	// browsers reach at https://HOST. Each server that does so needs
	// `trusted_proxies`, and answers only requests that one of these proxies says came
	// over HTTPS (X-Forwarded-Proto). Default: false.
	BehindTLSProxy bool `json:"behind_tls_proxy,omitempty"`

	// TOTP configures codes from authenticator apps. Default: SHA-1, 6 digits, 30
	// seconds, which every such app can do.
	TOTP *TOTP `json:"totp,omitempty"`

	// FIDO configures security keys and passkeys. Default: people may use them,
	// unless the portal's host is an IP address or a name without a dot, to which
	// they can't be bound.
	FIDO *FIDO `json:"fido,omitempty"`

	// BackupCodes configures the codes that people keep in case they lose everything
	// else.
	// Default: everybody is given ten.
	BackupCodes *BackupCodes `json:"backup_codes,omitempty"`

	// Email has e-mails sent: codes as a second factor, notices, invitations, and links to
	// choose a new password. Default: none are.
	Email *Email `json:"email,omitempty"`

	// SMS lets people use codes by text message as their second factor. Default: they
	// can't.
	SMS *SMS `json:"sms,omitempty"`

	// Push lets people approve sign-ins on their phone. Default: they can't.
	Push *Push `json:"push,omitempty"`

	// PasswordReset lets people who have forgotten their password have a link e-mailed to
	// them. With the link and a second factor other than a code by e-mail, they choose a
	// new password. It requires email. Default: false.
	PasswordReset *bool `json:"password_reset,omitempty"`

	// Certificate says which CAs vouch for devices. Default: none, and device
	// certificates aren't accepted.
	Certificate *Certificate `json:"certificate,omitempty"`

	// ReplacementHold is how long a credential that replaces a lost one is on
	// probation: until then, it counts as multi at most, even if it is a security
	// key. At most 30d; 0 means no probation. Default: 24h.
	ReplacementHold *caddy.Duration `json:"replacement_hold,omitempty"`

	// Sources are the places where options are written, as FILE:LINE, which messages
	// name. The Caddyfile adapter fills it in. Default: none.
	Sources sources `json:"sources,omitempty"`

	ctx     caddy.Context
	logger  *zap.Logger
	bounded *zap.Logger // for what strangers can cause
	metrics *metrics

	// What Provision resolved. The exported fields are complete after it, too.
	portal *url.URL // scheme and host only
	admins audience
	// fidoWritten says that something is written of security keys, and not all
	// is by default.
	fidoWritten bool
	attestation *fido.Attestation // nil: none is asked for
	mailer      *email.Mailer     // nil: no mail is sent
	gateway     *sms.Gateway      // nil: no text messages are sent
	store       StoreModule
	pages       *templates.Set

	gates  []*Gate // of this configuration, in the order of their Provision
	layout layout.Layout
	// portalAsks says, since Start, that TLS asks for certificates at the portal.
	portalAsks bool

	// serving says that startServing was called and stopServing wasn't yet.
	serving bool
	// order is greater than that of all apps that were started before.
	order uint64

	// ready is closed once gates and portal may serve.
	ready chan struct{}
	// service is everything that gates and portal serve with, while they may.
	service atomic.Pointer[service]
	// holdsStore says that the pool's store is to be given back.
	holdsStore bool
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mfa",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision completes and checks the settings. It creates nothing.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = ctx.Logger()
	a.bounded = boundedlog.New(a.logger)
	a.ready = make(chan struct{})
	var err error
	if a.metrics, err = newMetrics(ctx.GetMetricsRegistry(), a); err != nil {
		return err
	}
	for _, resolve := range []func() error{
		a.resolvePortal, a.resolveAdmins, a.resolveTexts, a.resolvePages, a.resolveKeys, a.resolveSession, a.resolveFactors, a.resolvePush, a.resolveCertificate, a.loadStore, a.boundExit,
	} {
		if err := resolve(); err != nil {
			return a.Sources.locate(err)
		}
	}
	return a.completeHandlers() // whose errors name the place of a handler
}

func (a *App) loadStore() error {
	module, err := a.loadStoreModule()
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	var ok bool
	if a.store, ok = module.(StoreModule); !ok {
		return fmt.Errorf("module %T isn't a store", module)
	}
	return nil
}

func (a *App) loadStoreModule() (any, error) {
	if a.StoreRaw == nil {
		return a.ctx.LoadModuleByID(string(SQLiteStore{}.CaddyModule().ID), nil)
	}
	return a.ctx.LoadModule(a, "StoreRaw")
}

// Start starts serving, and then lets gates and portal in. Caddy starts apps in no
// particular order, so requests may come before: the handlers refuse them until they
// are placed.
func (a *App) Start() error {
	a.serving, a.order = true, starts.Add(1)
	if err := a.startServing(); err != nil {
		return err
	}
	a.place()
	a.withhold(a.layout.Outlets)
	for _, g := range a.gates {
		if err := g.bind(a.service.Load()); err != nil {
			return err
		}
	}
	close(a.ready)
	return nil
}

// arrange finds all gates and portals of the configuration and checks them.
func (a *App) arrange() (layout.Layout, error) {
	sites, err := a.httpApp()
	if err != nil {
		return layout.Layout{}, err
	}
	gates := make([]layout.Gate, len(a.gates))
	for i, g := range a.gates {
		gates[i] = g
	}
	found, err := layout.Check(layout.Configuration{
		Sites: sites, Portal: a.portal, PortalSource: a.Sources["portal"], Authenticator: a.Push.authenticator, AuthenticatorSource: a.Sources["push authenticator"],
		BehindProxy: a.BehindTLSProxy, Gates: gates,
	})
	if err != nil {
		return layout.Layout{}, err
	}
	if len(gates) > 0 && configures(a.ctx, "layer4") {
		found.Warnings = append(found.Warnings, "the app layer4 can hand connections straight to what mfa guards, since mfa sees only what comes through Caddy's sites: make sure that it doesn't")
	}
	err = a.settleCertificates(sites, &found)
	return found, err
}

// place lets gates, portals and authenticators serve.
func (a *App) place() {
	for _, g := range a.gates {
		if at, ok := a.layout.Gates[g]; ok {
			g.placed.Store(&at)
		}
	}
	for _, found := range a.layout.Portals {
		if portal, ok := found.(*Portal); ok {
			portal.placed.Store(true)
		}
	}
	for _, found := range a.layout.Authenticators {
		if phones, ok := found.(*Authenticator); ok {
			phones.placed.Store(true)
		}
	}
}

func (a *App) httpApp() (*caddyhttp.App, error) {
	configured, err := a.ctx.AppIfConfigured("http")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return new(caddyhttp.App), nil
	}
	if err != nil {
		return nil, err
	}
	sites, ok := configured.(*caddyhttp.App)
	if !ok {
		return nil, fmt.Errorf("the http app is a %T", configured)
	}
	return sites, nil
}

// Stop does nothing: Caddy stops apps in no particular order, and requests
// that the http app is still finishing need a gate that works. Cleanup comes
// after all apps have stopped.
func (a *App) Stop() error { return nil }

// Cleanup ends what Start began. Caddy calls it after a failed Provision or
// Start and after `caddy validate`, too.
func (a *App) Cleanup() error {
	if !a.serving {
		return nil
	}
	a.serving = false
	return a.stopServing()
}

// loadedApp returns the mfa app of the configuration that ctx belongs to.
func loadedApp(ctx caddy.Context) (*App, error) {
	module, err := ctx.App("mfa")
	if err != nil {
		return nil, err
	}
	app, ok := module.(*App)
	if !ok {
		return nil, fmt.Errorf("the mfa app is a %T", module)
	}
	return app, nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
