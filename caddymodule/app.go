package caddymodule

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/boundedlog"
	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/factors/fido"
	"github.com/portcullis-mfa/portcullis/factors/totp"
	"github.com/portcullis-mfa/portcullis/templates"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App holds what all gates and the portal share.
type App struct {
	// Portal is the address of the site that serves mfa_portal, where people
	// sign in: https://HOST or https://HOST:PORT, as browsers reach it. Plain
	// http:// is taken for localhost and names under it. Required.
	Portal string `json:"portal,omitempty"`

	// Admins are the administrators. The first one, who sets up by a link, is
	// put into the groups named here. Default: nobody.
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

	// Contact is whom people are told to ask for help: a name, an address or a
	// URL. Default: none, and pages say nothing of it.
	Contact string `json:"contact,omitempty"`

	// Logo is an SVG or PNG file, of at most 64 KiB, that is shown above every
	// page in place of the brand. Default: none.
	Logo string `json:"logo,omitempty"`

	// Accent is the colour of buttons and links, as #rrggbb. It is darkened or
	// lightened as far as it takes to be readable, in light and dark. Default:
	// a blue.
	Accent string `json:"accent,omitempty"`

	// Templates is a directory whose files take the place of the built-in
	// pages, texts, styles and scripts of the same relative path; see `caddy mfa
	// templates export`. Default: none.
	Templates string `json:"templates,omitempty"`

	// Session says how long people stay signed in. Default: 12 hours, one hour
	// of which may be idle, and the second factor is asked for each time.
	Session *SessionSettings `json:"session,omitempty"`

	// Password sets up how passwords are checked. Default: hashing takes up to
	// 256 MiB of memory.
	Password *Password `json:"password,omitempty"`

	// MaxStaleness is how long a node that is cut off from the store's changes
	// goes on serving what it knows; a sign-on that is ended meanwhile may live
	// on there for so long. Then it answers 503 to all but open paths. At least
	// 2s, at most 1h. SQLite is in the same process, and never cut off.
	// Default: 1m.
	MaxStaleness caddy.Duration `json:"max_staleness,omitempty"`

	// BehindTLSProxy says that TLS ends at a proxy in front of this server, so
	// that gates and portal may be served over plain HTTP for other names than
	// localhost, too. Browsers reach those at https://HOST. Each server that
	// does so needs `trusted_proxies`, and answers only what one of these
	// proxies says has come over HTTPS (X-Forwarded-Proto). Default: false.
	BehindTLSProxy bool `json:"behind_tls_proxy,omitempty"`

	// TOTP sets up codes from authenticator apps. Default: SHA-1, 6 digits, 30
	// seconds, which every such app can do.
	TOTP *TOTP `json:"totp,omitempty"`

	// FIDO sets up security keys and passkeys. Default: people may use them,
	// unless the portal's host is an IP address or a name without a dot, to which
	// they can't be bound.
	FIDO *FIDO `json:"fido,omitempty"`

	// BackupCodes sets up the codes that people keep for when all else is lost.
	// Default: everybody is given ten.
	BackupCodes *BackupCodes `json:"backup_codes,omitempty"`

	// Certificate says which CAs vouch for devices. Default: none, and no device
	// counts.
	Certificate *Certificate `json:"certificate,omitempty"`

	// ReplacementHold is for how long a credential that was set up in place of
	// a lost one counts for no more than multi, even if it is a security key;
	// at most 30d, and 0 for not at all. Default: 24h.
	ReplacementHold *caddy.Duration `json:"replacement_hold,omitempty"`

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
	store       StoreModule
	pages       *templates.Set

	gates  []*Gate       // of this configuration, in the order of their Provision
	layout layout.Layout // since Start
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

// TOTP sets up codes from authenticator apps. Changing it leaves credentials
// that are enrolled already as they are.
type TOTP struct {
	// Algorithm is sha1, sha256 or sha512. Many authenticator apps silently
	// compute wrong codes for all but sha1. Default: sha1.
	Algorithm string `json:"algorithm,omitempty"`
	// Digits is how long a code is: 6 or 8. Default: 6.
	Digits int `json:"digits,omitempty"`
	// Period is how long a code is shown: whole seconds, 15s to 2m. Default:
	// 30s.
	Period caddy.Duration `json:"period,omitempty"`
	// Issuer is the name under which apps list the account. It takes no colon,
	// which separates issuer and account. Default: the app's name.
	Issuer string `json:"issuer,omitempty"`

	Platforms
}

// FIDO sets up security keys and passkeys.
type FIDO struct {
	// Off says that nobody can add any, and none counts. Default: false.
	Off bool `json:"off,omitempty"`
	// Passwordless says that a passkey whose device has checked who holds it
	// (PIN, fingerprint, face) signs people in by itself, without name and
	// password. Default: true.
	Passwordless *bool `json:"passwordless,omitempty"`
	// SignCount says what comes of a key whose signature counter didn't rise
	// since it was used last, which may mean that there is a copy of it: strict
	// refuses it, lenient accepts it. Either way it is an audit event. Keys that
	// don't count, as most passkeys, are always accepted. Default: strict.
	SignCount string `json:"sign_count,omitempty"`
	// RPID is the host that keys are bound to (RP ID): the portal's host, or a
	// parent domain of it. It may also be another host, such as the portal's
	// former one, if that names the portal as a related origin. Default: the
	// portal's host.
	RPID string `json:"rp_id,omitempty"`
	// Origins are addresses (https://HOST or https://HOST:PORT) outside the RP
	// ID at which the same keys may be used. The portal tells browsers so at
	// /.well-known/webauthn; where rp_id isn't the portal's host, that host has
	// to serve the same there. Browsers take five registrable names. Default:
	// none.
	Origins []string `json:"origins,omitempty"`
	// Abandon names RP IDs of before. Keys that are bound to them work no more;
	// without this, a configuration under which they wouldn't isn't loaded.
	// Default: none.
	Abandon []string `json:"abandon,omitempty"`
	// Attestation has keys prove what they are when they are enrolled. Default:
	// none is asked for, and all keys may be enrolled.
	Attestation *Attestation `json:"attestation,omitempty"`
	// UpgradeOffer says whether somebody who has no security key or passkey that
	// is bound to the RP ID, and signs in by something weaker where the device can
	// keep one, is offered one afterwards: once a day at most, and not for 30 days
	// after "not now". Default: true.
	UpgradeOffer *bool `json:"upgrade_offer,omitempty"`

	Platforms
}

// BackupCodes sets up the codes that people keep for when all else is lost.
type BackupCodes struct {
	// Off says that nobody is given backup codes, and none counts. Default:
	// false.
	Off bool `json:"off,omitempty"`

	Platforms
}

// Platforms says where a second factor is asked for. Browsers can claim any
// platform, so this is for convenience and protects nothing.
type Platforms struct {
	// OnlyOn names the platforms where the factor is asked for: windows, macos,
	// linux, android, ios. Default: all, and browsers that don't say.
	OnlyOn []string `json:"only_on,omitempty"`
	// NotOn names platforms where the factor isn't asked for. Default: none.
	NotOn []string `json:"not_on,omitempty"`
}

// platforms are the names that may stand in Platforms.
var platforms = []string{"windows", "macos", "linux", "android", "ios"}

func (p Platforms) check() error {
	if len(p.OnlyOn) > 0 && len(p.NotOn) > 0 {
		return errors.New("only_on and not_on can't be combined: write one of them")
	}
	for _, name := range slices.Concat(p.OnlyOn, p.NotOn) {
		if !slices.Contains(platforms, name) {
			return fmt.Errorf("unknown platform %q: there are %s", name, strings.Join(platforms, ", "))
		}
	}
	return nil
}

// include reports whether the factor is asked for on a platform.
func (p Platforms) include(platform string) bool {
	if len(p.OnlyOn) > 0 {
		return slices.Contains(p.OnlyOn, platform)
	}
	return !slices.Contains(p.NotOn, platform)
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
	if a.metrics, err = newMetrics(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	for _, resolve := range []func() error{
		a.resolvePortal, a.resolveAdmins, a.resolveTexts, a.resolvePages, a.resolveKeys, a.resolveSession, a.resolveFactors, a.resolveCertificate, a.loadStore, a.boundExit,
	} {
		if err := resolve(); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) resolvePortal() error {
	written, err := expand("portal", a.Portal)
	if err != nil {
		return err
	}
	if written == "" {
		return errors.New("the portal is missing: write in the Caddyfile's global options: mfa { portal https://login.example.com }")
	}
	if a.portal, err = parsePortal(written); err != nil {
		return fmt.Errorf("portal %s: %w", written, err)
	}
	a.Portal = a.portal.String()
	return nil
}

// parsePortal reads the portal's address and brings it to the form in which
// browsers send it as an origin.
func parsePortal(written string) (*url.URL, error) {
	u, err := url.Parse(written)
	if err != nil || u.Host == "" {
		return nil, errors.New("this isn't an address: write https://login.example.com")
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Opaque != "" {
		return nil, errors.New("write the scheme, the host and, if needed, the port, and nothing else")
	}
	host, err := origin.ParsePattern(u.Host)
	if err != nil {
		return nil, err
	}
	if host.IsWildcard() {
		return nil, errors.New("the portal has one host, not a wildcard")
	}
	switch {
	case u.Scheme == "http" && !origin.IsLocalhost(host.Name):
		return nil, errors.New("plain http:// works only for localhost and names under it: write https://")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the address must begin with https://")
	}
	return &url.URL{Scheme: u.Scheme, Host: origin.Authority(u.Scheme, host.Name, host.Port)}, nil
}

func (a *App) resolveAdmins() (err error) {
	if a.Admins == nil {
		return nil
	}
	if a.admins, err = a.Admins.resolve(); err != nil {
		return fmt.Errorf("admins: %w", err)
	}
	return nil
}

// resolveTexts completes what people are shown.
func (a *App) resolveTexts() (err error) {
	if a.Name, err = expandText("name", a.Name); err != nil {
		return err
	}
	if a.Name == "" {
		a.Name = "Portcullis"
	}
	a.Contact, err = expandText("contact", a.Contact)
	return err
}

// resolvePages reads what the operator has instead of our pages, so that
// `caddy validate` says what is wrong with it.
func (a *App) resolvePages() (err error) {
	var options templates.Options
	if options.Overrides, err = expand("templates", a.Templates); err != nil {
		return err
	}
	if options.Accent, err = expand("accent", a.Accent); err != nil {
		return err
	}
	logo, err := expand("logo", a.Logo)
	if err != nil {
		return err
	}
	if logo != "" {
		if options.Logo, err = readLogo(logo); err != nil {
			return fmt.Errorf("logo: %w", err)
		}
	}
	a.pages, err = pages.Set(options)
	return err
}

// pages are shared by the configurations of this process.
var pages templates.Shared

func readLogo(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// One byte more than may be tells that there is more.
	return io.ReadAll(io.LimitReader(file, templates.MaxLogo+1))
}

func (a *App) resolveKeys() error {
	path, err := expand("keys", a.Keys)
	if err != nil || path == "" {
		return err
	}
	if a.Keys, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("keys %s: %w", path, err)
	}
	return nil
}

func (a *App) resolveSession() error {
	if a.Session == nil {
		a.Session = new(SessionSettings)
	}
	if err := a.Session.complete(); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	if a.Password == nil {
		a.Password = new(Password)
	}
	if err := a.Password.complete(); err != nil {
		return fmt.Errorf("password: %w", err)
	}
	if a.MaxStaleness == 0 {
		a.MaxStaleness = caddy.Duration(time.Minute)
	}
	if staleness := time.Duration(a.MaxStaleness); staleness < 2*time.Second || staleness > time.Hour {
		return fmt.Errorf("max_staleness %s: write a time from 2s, which changes may take to arrive, to 1h", staleness)
	}
	return nil
}

func (a *App) resolveFactors() error {
	if a.TOTP == nil {
		a.TOTP = new(TOTP)
	}
	if err := a.TOTP.complete(a.Name); err != nil {
		return fmt.Errorf("totp: %w", err)
	}
	if err := a.TOTP.Platforms.check(); err != nil {
		return fmt.Errorf("totp: %w", err)
	}
	if err := a.resolveFIDO(); err != nil {
		return fmt.Errorf("fido: %w", err)
	}
	if a.BackupCodes == nil {
		a.BackupCodes = new(BackupCodes)
	}
	if err := a.BackupCodes.check(); err != nil {
		return fmt.Errorf("backup_codes: %w", err)
	}
	if a.ReplacementHold == nil {
		day := caddy.Duration(24 * time.Hour)
		a.ReplacementHold = &day
	}
	if hold := time.Duration(*a.ReplacementHold); hold < 0 || hold > 30*24*time.Hour {
		return fmt.Errorf("replacement_hold %s: write a time of up to 30d, or off", hold)
	}
	return nil
}

// resolveFIDO completes and checks what is said of security keys. What the
// factor itself would refuse at the start is refused here.
func (a *App) resolveFIDO() error {
	a.fidoWritten = a.FIDO != nil
	if !a.fidoWritten {
		a.FIDO = new(FIDO)
	}
	if a.FIDO.SignCount == "" {
		a.FIDO.SignCount = signCountStrict
	}
	if err := checkSignCount(a.FIDO.SignCount); err != nil {
		return err
	}
	if a.FIDO.Passwordless == nil {
		on := true
		a.FIDO.Passwordless = &on
	}
	if err := a.FIDO.Platforms.check(); err != nil {
		return err
	}
	if err := a.FIDO.resolvePlaces(a.portal.Hostname()); err != nil {
		return err
	}
	if a.FIDO.UpgradeOffer == nil {
		offered := true
		a.FIDO.UpgradeOffer = &offered
	}
	if a.FIDO.Off {
		return nil
	}
	if a.FIDO.Attestation != nil {
		var err error
		if a.attestation, err = a.FIDO.Attestation.resolve(a.logger); err != nil {
			return fmt.Errorf("attestation: %w", err)
		}
	}
	_, err := fido.New(a.fidoConfig(), time.Now, rand.Reader)
	if err != nil && !a.fidoWritten {
		a.FIDO.Off, err = true, nil
	}
	return err
}

// What sign_count can be.
const (
	signCountStrict  = "strict"
	signCountLenient = "lenient"
)

func checkSignCount(written string) error {
	if written != signCountStrict && written != signCountLenient {
		return fmt.Errorf("sign_count %q: write strict or lenient", written)
	}
	return nil
}

// fidoConfig is what the factor is made of.
func (a *App) fidoConfig() fido.Config {
	return fido.Config{
		RPID: a.FIDO.RPID, Origins: []string{a.portal.String()}, Related: a.FIDO.Origins, Brand: a.Name,
		Lenient: a.FIDO.SignCount == signCountLenient, Attestation: a.attestation,
		Explain: func(doing string, why error) { a.logger.Debug(doing, zap.Error(why)) },
	}
}

// complete fills in defaults and refuses what no authenticator app could do.
func (t *TOTP) complete(brand string) (err error) {
	if t.Issuer, err = expandText("issuer", t.Issuer); err != nil {
		return err
	}
	if t.Issuer == "" {
		t.Issuer = brand
	}
	if strings.Contains(t.Issuer, ":") {
		return fmt.Errorf("issuer %q: it can't contain a colon: write issuer NAME", t.Issuer)
	}
	if t.Algorithm == "" {
		t.Algorithm = "sha1"
	}
	if t.Digits == 0 {
		t.Digits = 6
	}
	if t.Period == 0 {
		t.Period = caddy.Duration(30 * time.Second)
	}
	return t.check()
}

func (t *TOTP) check() error {
	switch t.Algorithm {
	case "sha1", "sha256", "sha512":
	default:
		return fmt.Errorf("algorithm %q: write sha1, sha256 or sha512", t.Algorithm)
	}
	if t.Digits != 6 && t.Digits != 8 {
		return fmt.Errorf("digits %d: write 6 or 8", t.Digits)
	}
	period := time.Duration(t.Period)
	if period < totp.MinPeriod || period > totp.MaxPeriod || period%time.Second != 0 {
		return fmt.Errorf("period %s: write whole seconds from 15s to 2m", period)
	}
	// What the factor itself would refuse at the start is refused here, so that
	// `caddy validate` says so.
	_, err := totp.New(t.config(), time.Now, rand.Reader)
	return err
}

// config is what the factor is made of.
func (t *TOTP) config() totp.Config {
	return totp.Config{
		Algorithm: strings.ToUpper(t.Algorithm), Digits: t.Digits,
		Period: time.Duration(t.Period), Issuer: t.Issuer,
	}
}

func (a *App) loadStore() error {
	module, err := a.loadStoreModule()
	if err != nil {
		return fmt.Errorf("loading the store module: %w", err)
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

// offered reports whether a second factor is asked for on a platform.
func (a *App) offered(kind assurance.Factor, platform string) bool {
	switch kind {
	case assurance.TOTP:
		return a.TOTP.include(platform)
	case assurance.FIDO:
		return a.FIDO.include(platform)
	case assurance.BackupCode:
		return a.BackupCodes.include(platform)
	}
	return true
}

// highest returns the highest level that the enabled factors can reach.
func (a *App) highest() assurance.Level {
	if a.FIDO.Off {
		return assurance.Multi
	}
	return assurance.PhishingResistant
}

// Start checks how the sites are laid out, starts serving, and then lets
// gates and portal in. Caddy starts apps in no particular order, so requests
// may come before: the handlers refuse them until they are placed.
func (a *App) Start() error {
	found, err := a.arrange()
	if err != nil {
		return err
	}
	a.layout = found
	for _, warning := range found.Warnings {
		a.logger.Warn(warning)
	}
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
	found, err := layout.Check(layout.Configuration{Sites: sites, Portal: a.portal, BehindProxy: a.BehindTLSProxy, Gates: gates})
	if err != nil {
		return layout.Layout{}, err
	}
	return found, a.settleCertificates(sites, found)
}

// place lets gates and portals serve.
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

// expand replaces the global placeholders ({env.*}, {file.*}, …) of a
// setting. One that is unknown or empty is an error.
func expand(setting, written string) (string, error) {
	if written == "" {
		return "", nil
	}
	value, err := caddy.NewReplacer().ReplaceOrErr(written, true, true)
	if err != nil {
		return "", fmt.Errorf("%s %q: %w", setting, written, err)
	}
	return value, nil
}

// expandText is expand for what people are shown on one line.
func expandText(setting, written string) (string, error) {
	text, err := expand(setting, written)
	if err != nil {
		return "", err
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return "", fmt.Errorf("%s %q: it can't contain control characters", setting, text)
	}
	return strings.TrimSpace(text), nil
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
