package caddymodule

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/factors/fido"
	"github.com/portcullis-mfa/portcullis/identity"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("mfa", parseApp)

	// The gate decides on the URL that the client asked for, so it comes ahead
	// of all that redirects or rewrites.
	httpcaddyfile.RegisterDirective("mfa", parseGate)
	httpcaddyfile.RegisterDirectiveOrder("mfa", httpcaddyfile.Before, "redir")

	httpcaddyfile.RegisterDirective("mfa_portal", parsePortalDirective)
	httpcaddyfile.RegisterDirectiveOrder("mfa_portal", httpcaddyfile.Before, "respond")
}

// parseApp reads the global option:
//
//	mfa {
//		portal       URL
//		admins       user|group NAME…
//		store        MODULE …
//		keys         FILE
//		name         TEXT
//		contact      TEXT
//		logo         FILE
//		accent       COLOUR
//		templates    DIRECTORY
//		session {
//			lifetime DURATION
//			idle     DURATION
//			remember DURATION
//		}
//		password {
//			hashing_memory SIZE
//		}
//		max_staleness DURATION
//		behind_tls_proxy
//		totp {
//			algorithm sha1|sha256|sha512
//			digits    6|8
//			period    DURATION
//			issuer    TEXT
//			only_on|not_on PLATFORM…
//		}
//		fido on|off
//		fido {
//			passwordless  on|off
//			upgrade_offer on|off
//			sign_count    strict|lenient
//			rp_id         HOST
//			origins       URL…
//			abandon       HOST…
//			attestation   none
//			attestation   required {
//				metadata      FILE
//				metadata_root FILE
//				allow|deny    AAGUID…
//				certified     LEVEL
//			}
//			only_on|not_on PLATFORM…
//		}
//		backup_codes on|off
//		backup_codes {
//			only_on|not_on PLATFORM…
//		}
//		certificate {
//			ca         NAME
//			lifetime   DURATION
//			trust_pool SOURCE …
//			map        email|upn|subject CN|subject UID|subject serialNumber
//			crl        FILE
//		}
//		replacement_hold DURATION|off
//	}
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // consume the option's name
	if existing != nil {
		return nil, d.Err("mfa is written twice: write one block")
	}
	if d.NextArg() {
		return nil, d.Errf("mfa takes a block, not %q: write mfa { portal https://login.example.com }", d.Val())
	}
	app := new(App)
	for d.NextBlock(0) {
		if err := app.unmarshalOption(d); err != nil {
			return nil, err
		}
	}
	return httpcaddyfile.App{Name: "mfa", Value: caddyconfig.JSON(app, nil)}, nil
}

func (a *App) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "portal":
		return oneArgument(d, &a.Portal)
	case "admins":
		return unmarshalPeople(d, &a.Admins)
	case "store":
		return a.unmarshalStore(d)
	case "keys":
		return oneArgument(d, &a.Keys)
	case "name":
		return oneArgument(d, &a.Name)
	case "contact":
		return oneArgument(d, &a.Contact)
	case "logo":
		return oneArgument(d, &a.Logo)
	case "accent":
		return a.unmarshalAccent(d)
	case "templates":
		return oneArgument(d, &a.Templates)
	case "session":
		return a.unmarshalSession(d)
	case "password":
		return a.unmarshalPassword(d)
	case "max_staleness":
		return duration(d, &a.MaxStaleness)
	case "behind_tls_proxy":
		return flag(d, &a.BehindTLSProxy)
	case "totp":
		return a.unmarshalTOTP(d)
	case "fido":
		return a.unmarshalFIDO(d)
	case "backup_codes":
		return a.unmarshalBackupCodes(d)
	case "certificate":
		return a.unmarshalCertificate(d)
	case "replacement_hold":
		return a.unmarshalReplacementHold(d)
	}
	return d.Errf("unknown option %q of mfa: there are portal, admins, store, keys, name, contact, logo, accent, templates, session, password, max_staleness, behind_tls_proxy, totp, fido, backup_codes, certificate and replacement_hold", d.Val())
}

func (a *App) unmarshalStore(d *caddyfile.Dispenser) error {
	if a.StoreRaw != nil {
		return d.Err("store is given twice")
	}
	if !d.NextArg() {
		return d.Err("store needs a name: write store sqlite")
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "mfa.stores."+name)
	if err != nil {
		return err
	}
	a.StoreRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
	return nil
}

func (a *App) unmarshalSession(d *caddyfile.Dispenser) error {
	if a.Session != nil {
		return d.Err("session is given twice")
	}
	if d.NextArg() {
		return d.Errf("session takes a block, not %q: write session { lifetime 12h }", d.Val())
	}
	a.Session = new(SessionSettings)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := a.Session.unmarshalOption(d); err != nil {
			return err
		}
	}
	return nil
}

func (s *SessionSettings) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "lifetime":
		return duration(d, &s.Lifetime)
	case "idle":
		return duration(d, &s.Idle)
	case "remember":
		return duration(d, &s.Remember)
	}
	return d.Errf("unknown option %q of session: there are lifetime, idle and remember", d.Val())
}

func (a *App) unmarshalTOTP(d *caddyfile.Dispenser) error {
	if a.TOTP != nil {
		return d.Err("totp is given twice")
	}
	if d.NextArg() {
		return d.Errf("totp takes a block, not %q: write totp { algorithm sha256 }", d.Val())
	}
	a.TOTP = new(TOTP)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := a.TOTP.unmarshalOption(d); err != nil {
			return err
		}
	}
	return nil
}

func (t *TOTP) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "algorithm":
		return oneArgument(d, &t.Algorithm)
	case "digits":
		var digits string
		if err := oneArgument(d, &digits); err != nil {
			return err
		}
		var err error
		if t.Digits, err = strconv.Atoi(digits); err != nil {
			return d.Errf("digits %q: write 6 or 8", digits)
		}
		return nil
	case "period":
		return duration(d, &t.Period)
	case "issuer":
		return oneArgument(d, &t.Issuer)
	case "only_on", "not_on":
		return t.unmarshalPlatforms(d)
	}
	return d.Errf("unknown option %q of totp: there are algorithm, digits, period, issuer, only_on and not_on", d.Val())
}

// unmarshalPlatforms reads only_on or not_on.
func (p *Platforms) unmarshalPlatforms(d *caddyfile.Dispenser) error {
	option, names := d.Val(), &p.OnlyOn
	if option == "not_on" {
		names = &p.NotOn
	}
	if *names != nil {
		return d.Errf("%s is given twice", option)
	}
	if *names = d.RemainingArgs(); len(*names) == 0 {
		return d.Errf("%s names no platform: there are %s", option, strings.Join(platforms, ", "))
	}
	if err := p.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (a *App) unmarshalFIDO(d *caddyfile.Dispenser) error {
	if a.FIDO != nil {
		return d.Err("fido is given twice")
	}
	a.FIDO = new(FIDO)
	return switchOrBlock(d, &a.FIDO.Off, func() error {
		switch d.Val() {
		case "passwordless":
			return onOrOff(d, &a.FIDO.Passwordless)
		case "sign_count":
			if err := oneArgument(d, &a.FIDO.SignCount); err != nil {
				return err
			}
			if err := checkSignCount(a.FIDO.SignCount); err != nil {
				return d.WrapErr(err)
			}
			return nil
		case "rp_id":
			return unmarshalHost(d, &a.FIDO.RPID)
		case "origins":
			return several(d, &a.FIDO.Origins, func(written string) error {
				_, err := parseOrigin(written)
				return err
			})
		case "abandon":
			return several(d, &a.FIDO.Abandon, func(written string) error {
				_, err := parseFormer(written)
				return err
			})
		case "upgrade_offer":
			return onOrOff(d, &a.FIDO.UpgradeOffer)
		case "attestation":
			return a.FIDO.unmarshalAttestation(d)
		case "only_on", "not_on":
			return a.FIDO.unmarshalPlatforms(d)
		}
		return d.Errf("unknown option %q of fido: there are passwordless, upgrade_offer, sign_count, rp_id, origins, abandon, attestation, only_on and not_on", d.Val())
	})
}

// unmarshalHost reads a host to which keys can be bound.
func unmarshalHost(d *caddyfile.Dispenser, host *string) error {
	if err := oneArgument(d, host); err != nil || !isPlain(*host) {
		return err
	}
	if _, err := checkRPID(*host); err != nil {
		return d.Errf("rp_id %w", err)
	}
	return nil
}

// unmarshalAttestation reads none, or required with a block.
func (f *FIDO) unmarshalAttestation(d *caddyfile.Dispenser) error {
	if f.Attestation != nil {
		return d.Err("attestation is given twice")
	}
	written := strings.Join(d.RemainingArgs(), " ")
	if written != "none" && written != "required" {
		return d.Errf("attestation %q: write none or required", written)
	}
	made := new(Attestation)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if written == "none" {
			return d.Errf("attestation none takes no block: what keys say about themselves (%s) counts only with attestation required", d.Val())
		}
		if err := made.unmarshalOption(d); err != nil {
			return err
		}
	}
	if written == "none" {
		return nil
	}
	if err := made.check(); err != nil {
		return d.Errf("attestation: %w", err)
	}
	f.Attestation = made
	return nil
}

func (a *Attestation) unmarshalOption(d *caddyfile.Dispenser) error {
	isAAGUID := func(written string) error {
		_, err := fido.ParseAAGUID(written)
		return err
	}
	switch d.Val() {
	case "metadata":
		return oneArgument(d, &a.Metadata)
	case "metadata_root":
		return oneArgument(d, &a.MetadataRoot)
	case "allow":
		return several(d, &a.Allow, isAAGUID)
	case "deny":
		return several(d, &a.Deny, isAAGUID)
	case "certified":
		return unmarshalWord(d, &a.Certified, fido.ParseLevel)
	}
	return d.Errf("unknown option %q of attestation: there are metadata, metadata_root, allow, deny and certified", d.Val())
}

// several reads the arguments of an option that may be given several times,
// each of which check must have nothing against.
func several(d *caddyfile.Dispenser, values *[]string, check func(string) error) error {
	option, added := d.Val(), d.RemainingArgs()
	if len(added) == 0 {
		return d.Errf("%s needs a value", option)
	}
	for _, written := range added {
		if !isPlain(written) {
			continue
		}
		if err := check(written); err != nil {
			return d.WrapErr(err)
		}
	}
	*values = append(*values, added...)
	return nil
}

func (a *App) unmarshalBackupCodes(d *caddyfile.Dispenser) error {
	if a.BackupCodes != nil {
		return d.Err("backup_codes is given twice")
	}
	a.BackupCodes = new(BackupCodes)
	return switchOrBlock(d, &a.BackupCodes.Off, func() error {
		switch d.Val() {
		case "only_on", "not_on":
			return a.BackupCodes.unmarshalPlatforms(d)
		}
		return d.Errf("unknown option %q of backup_codes: there are only_on and not_on", d.Val())
	})
}

// switchOrBlock reads on or off, or a block of options in place of them.
func switchOrBlock(d *caddyfile.Dispenser, off *bool, option func() error) error {
	name, written, block := d.Val(), d.RemainingArgs(), false
	for nesting := d.Nesting(); d.NextBlock(nesting); block = true {
		if err := option(); err != nil {
			return err
		}
	}
	switch {
	case block && len(written) > 0:
		return d.Errf("%s takes a value or a block, but %q comes before a block", name, written[0])
	case block:
	case len(written) != 1 || written[0] != "on" && written[0] != "off":
		return d.Errf("%s %s: write on or off", name, strings.Join(written, " "))
	case written[0] == "off":
		*off = true
	}
	return nil
}

// unmarshalAccent reads a colour. A # at the beginning of a word begins a
// comment in a Caddyfile, so it may be left out.
func (a *App) unmarshalAccent(d *caddyfile.Dispenser) error {
	if a.Accent != "" {
		return d.Err("accent is given twice")
	}
	if !d.NextArg() {
		return d.Err("accent needs a colour: write accent 1c5dbf, since a # starts a comment")
	}
	a.Accent = d.Val()
	if isPlain(a.Accent) && !strings.HasPrefix(a.Accent, "#") {
		a.Accent = "#" + a.Accent
	}
	if d.NextArg() {
		return d.Err("accent takes one value")
	}
	return nil
}

// unmarshalReplacementHold reads a duration, or off for none.
func (a *App) unmarshalReplacementHold(d *caddyfile.Dispenser) error {
	if a.ReplacementHold != nil {
		return d.Err("replacement_hold is given twice")
	}
	a.ReplacementHold = new(caddy.Duration)
	if d.CountRemainingArgs() == 1 && d.NextArg() {
		if d.Val() == "off" {
			return nil
		}
		d.Prev()
	}
	return duration(d, a.ReplacementHold)
}

// parseGate reads the directive of a site:
//
//	mfa {
//		open MATCHER
//		rule MATCHER {
//			allow     user|group NAME…
//			assurance single|multi|phishing_resistant
//			max_age   DURATION
//			certificate accept|require|and password|off
//		}
//		allow     user|group NAME…
//		assurance single|multi|phishing_resistant
//		max_age   DURATION
//		certificate accept|require|and password|off
//		headers {
//			user|name|email HEADER
//			groups   [HEADER] [only PATTERN…]
//			encoding percent|utf-8
//		}
//		hosts     HOST…
//		idle_ignores     MATCHER
//		cors_preflight   pass
//		cookie_same_site lax|none
//		clear_site_data  user_change|sign_out
//		assertion
//	}
//
// It reads the directive itself rather than as a handler directive, for which
// Caddy would take a matcher.
func parseGate(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // consume the directive's name
	if h.NextArg() {
		return nil, h.Errf("mfa takes no matcher (%s), since requests that don't match would pass by it: write mfa alone, and rule or open inside it for parts of the site", h.Val())
	}
	gate := new(Gate)
	for h.NextBlock(0) {
		if err := gate.unmarshalOption(h); err != nil {
			return nil, err
		}
	}
	return h.NewRoute(nil, gate), nil
}

func (g *Gate) unmarshalOption(h httpcaddyfile.Helper) error {
	switch h.Val() {
	case "open", "rule":
		rule, err := parseRule(h.WithDispenser(h.NewFromNextSegment()))
		g.Rules = append(g.Rules, rule)
		return err
	case "allow":
		return unmarshalPeople(h.Dispenser, &g.Allow)
	case "assurance":
		return unmarshalWord(h.Dispenser, &g.Assurance, parseAssurance)
	case "max_age":
		return duration(h.Dispenser, &g.MaxAge)
	case "certificate":
		return unmarshalMode(h.Dispenser, &g.Certificate)
	case "headers":
		return g.unmarshalHeaders(h.Dispenser)
	case "hosts":
		return g.unmarshalHosts(h.Dispenser)
	case "idle_ignores":
		matcher, err := parseIdleIgnores(h.WithDispenser(h.NewFromNextSegment()))
		g.IdleIgnoresRaw = append(g.IdleIgnoresRaw, matcher)
		return err
	case "cors_preflight":
		return unmarshalWord(h.Dispenser, &g.CORSPreflight, parsePreflight)
	case "cookie_same_site":
		return unmarshalWord(h.Dispenser, &g.CookieSameSite, parseSameSite)
	case "clear_site_data":
		return unmarshalWord(h.Dispenser, &g.ClearSiteData, parseClearSiteData)
	case "assertion":
		return flag(h.Dispenser, &g.Assertion)
	}
	return h.Errf("unknown option %q of mfa: there are open, rule, allow, assurance, max_age, certificate, headers, hosts, idle_ignores, cors_preflight, cookie_same_site, clear_site_data and assertion", h.Val())
}

// parseRule reads one line or block that begins with open or rule.
func parseRule(h httpcaddyfile.Helper) (*Rule, error) {
	matcher, err := onlyMatcher(h)
	if err != nil {
		return nil, err
	}
	rule := &Rule{MatcherSetsRaw: []caddy.ModuleMap{matcher}, Open: h.Val() == "open"}
	for h.NextBlock(0) {
		if rule.Open {
			return nil, h.Err("open takes no block: it lets everybody pass")
		}
		if err := rule.unmarshalOption(h.Dispenser); err != nil {
			return nil, err
		}
	}
	return rule, nil
}

// parseIdleIgnores reads one line that begins with idle_ignores.
func parseIdleIgnores(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	matcher, err := onlyMatcher(h)
	if err != nil {
		return nil, err
	}
	if h.NextBlock(0) {
		return nil, h.Err("idle_ignores takes no block")
	}
	return matcher, nil
}

// onlyMatcher takes the matcher out of a segment that begins with a word and
// has no other argument, and leaves the dispenser at the word.
func onlyMatcher(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	matcher, err := extractMatcher(h)
	if err != nil {
		return nil, err
	}
	h.Next()
	word := h.Val()
	if h.NextArg() {
		return nil, h.Errf("%s takes one matcher, and %q is a second: write a line for each, or name a matcher that holds both: @both path /one /two", word, h.Val())
	}
	return matcher, nil
}

// extractMatcher takes the matcher out of a segment that begins with open, rule
// or idle_ignores. Caddy takes a missing one, and *, for every request.
func extractMatcher(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	h.Next()
	directive := h.Val()
	if !h.NextArg() {
		return nil, h.Errf("%s needs a matcher: write a path (%s /healthz) or the name of a matcher (%s @name)", directive, directive, directive)
	}
	written := h.Val()
	switch {
	case written == "*":
		return nil, h.Errf("%s * would apply to every request: %s", directive, insteadOfAll(directive))
	case !strings.HasPrefix(written, "/") && !strings.HasPrefix(written, "@"):
		return nil, h.Errf("%q is no matcher: %s takes a path (/healthz) or the name of a matcher (@name)", written, directive)
	}
	h.Reset()
	h.Next() // to the directive; the matcher is looked for after it
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, h.WrapErr(err)
	}
	if len(matcher) == 0 {
		h.Next() // for the line number
		return nil, h.Errf("matcher %s is empty and would apply to every request", written)
	}
	if err := matching.CheckPatterns([]caddy.ModuleMap{matcher}); err != nil {
		h.Next() // for the line number
		return nil, h.WrapErr(err)
	}
	return matcher, nil
}

func insteadOfAll(directive string) string {
	switch directive {
	case "open":
		return "remove mfa from the site, or name the paths that everybody may see"
	case "idle_ignores":
		return "name the paths that pages ask for on their own"
	}
	return "write allow, assurance and max_age directly inside mfa"
}

func (r *Rule) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "allow":
		return unmarshalPeople(d, &r.Allow)
	case "assurance":
		return unmarshalWord(d, &r.Assurance, parseAssurance)
	case "max_age":
		return duration(d, &r.MaxAge)
	case "certificate":
		return unmarshalMode(d, &r.Certificate)
	}
	return d.Errf("unknown option %q of rule: there are allow, assurance, max_age and certificate", d.Val())
}

// unmarshalMode reads what certificates do, of which one mode has two words.
func unmarshalMode(d *caddyfile.Dispenser, mode *string) error {
	if *mode != "" {
		return d.Err("certificate is given twice")
	}
	words := d.RemainingArgs()
	written := strings.Join(words, "_")
	if _, err := parseCertificateMode(written); err != nil || len(words) == 1 && written == "and_password" {
		return d.Errf("%s: write accept, require, and password, or off", strings.Join(append([]string{"certificate"}, words...), " "))
	}
	*mode = written
	return nil
}

func (g *Gate) unmarshalHeaders(d *caddyfile.Dispenser) error {
	if g.Headers != nil {
		return d.Err("headers is given twice")
	}
	if d.NextArg() {
		return d.Errf("headers takes a block, not %q: write headers { user X-User }", d.Val())
	}
	g.Headers = new(Headers)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := g.Headers.unmarshalOption(d); err != nil {
			return err
		}
	}
	if _, err := g.Headers.checked(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (h *Headers) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "user":
		return oneArgument(d, &h.User)
	case "name":
		return oneArgument(d, &h.Name)
	case "email":
		return oneArgument(d, &h.Email)
	case "groups":
		return h.unmarshalGroups(d)
	case "encoding":
		return unmarshalWord(d, &h.Encoding, parseHeaderEncoding)
	}
	return d.Errf("unknown option %q of headers: there are user, name, email, groups and encoding", d.Val())
}

// unmarshalGroups reads the name of the header, the word only with patterns, or
// both.
func (h *Headers) unmarshalGroups(d *caddyfile.Dispenser) error {
	if h.Groups != "" || h.GroupsOnly != nil {
		return d.Err("groups is given twice")
	}
	words := d.RemainingArgs()
	if len(words) > 0 && words[0] != "only" {
		h.Groups, words = words[0], words[1:]
	}
	switch {
	case h.Groups == "" && len(words) == 0:
		return d.Err("groups takes a value: write groups HEADER, groups only PATTERN, or groups HEADER only PATTERN")
	case len(words) == 0:
		return nil
	case words[0] != "only":
		return d.Errf("groups takes one header, and %q is a second: write only before the groups that the app is told about", words[0])
	case len(words) == 1:
		return d.Err("groups only names no group: write the names of groups, with a * for any text")
	}
	h.GroupsOnly = words[1:]
	return nil
}

func (g *Gate) unmarshalHosts(d *caddyfile.Dispenser) error {
	hosts := d.RemainingArgs()
	if len(hosts) == 0 {
		return d.Err("hosts names none: write hosts app.example.com")
	}
	for _, host := range hosts {
		if isPlain(host) {
			if _, err := origin.ParsePattern(host); err != nil {
				return d.WrapErr(err)
			}
		}
	}
	g.Hosts = append(g.Hosts, hosts...)
	return nil
}

// parsePortalDirective reads mfa_portal, which takes nothing.
func parsePortalDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // consume the directive's name
	if h.NextArg() {
		return nil, h.Errf("mfa_portal takes no matcher (%s), since the portal needs all paths of its host: write mfa_portal alone", h.Val())
	}
	if h.NextBlock(0) {
		return nil, h.Errf("mfa_portal takes no block (%s): its settings stand in the global option mfa", h.Val())
	}
	return h.NewRoute(nil, new(Portal)), nil
}

// unmarshalPeople reads "user NAME…" or "group NAME…" and adds to people.
func unmarshalPeople(d *caddyfile.Dispenser, people **People) error {
	option := d.Val()
	if !d.NextArg() {
		return d.Errf("%s %w", option, errNobody)
	}
	if *people == nil {
		*people = new(People)
	}
	switch kind := d.Val(); kind {
	case "user":
		return appendNames(d, &(*people).Users, identity.CanonicalName)
	case "group":
		return appendNames(d, &(*people).Groups, identity.CheckGroup)
	default:
		return d.Errf("%s %s: write %s user NAME or %s group NAME", option, kind, option, option)
	}
}

func appendNames(d *caddyfile.Dispenser, names *[]string, canonical func(string) (string, error)) error {
	kind := d.Val()
	added := d.RemainingArgs()
	if len(added) == 0 {
		return d.Errf("%s names nobody: write %s NAME", kind, kind)
	}
	for _, name := range added {
		if !isPlain(name) {
			continue
		}
		if _, err := canonical(name); err != nil {
			return d.WrapErr(refusedName(kind, name, err))
		}
	}
	*names = append(*names, added...)
	return nil
}

// unmarshalWord reads an argument that parse must understand.
func unmarshalWord[T any](d *caddyfile.Dispenser, word *string, parse func(string) (T, error)) error {
	if err := oneArgument(d, word); err != nil {
		return err
	}
	if _, err := parse(*word); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// duration reads one duration of more than nothing.
func duration(d *caddyfile.Dispenser, target *caddy.Duration) error {
	option := d.Val()
	if *target != 0 {
		return d.Errf("%s is given twice", option)
	}
	var written string
	if err := oneArgument(d, &written); err != nil {
		return err
	}
	parsed, err := caddy.ParseDuration(written)
	if err != nil || parsed <= 0 {
		return d.Errf("%s %s: write a time such as 90s, 15m, 12h or 7d", option, written)
	}
	*target = caddy.Duration(parsed)
	return nil
}

// flag reads an option that takes no value.
func flag(d *caddyfile.Dispenser, target *bool) error {
	option := d.Val()
	if *target {
		return d.Errf("%s is given twice", option)
	}
	if d.NextArg() {
		return d.Errf("%s takes no value, and %q is one: write only %s", option, d.Val(), option)
	}
	*target = true
	return nil
}

// onOrOff reads an option that may be given once and is on or off.
func onOrOff(d *caddyfile.Dispenser, target **bool) error {
	option := d.Val()
	if *target != nil {
		return d.Errf("%s is given twice", option)
	}
	written := d.RemainingArgs()
	if len(written) != 1 || written[0] != "on" && written[0] != "off" {
		return d.Errf("%s %s: write on or off", option, strings.Join(written, " "))
	}
	on := written[0] == "on"
	*target = &on
	return nil
}

// oneArgument reads the one argument of an option that may be given once.
func oneArgument(d *caddyfile.Dispenser, target *string) error {
	option := d.Val()
	if *target != "" {
		return d.Errf("%s is given twice", option)
	}
	if !d.AllArgs(target) {
		return d.Errf("%s takes one value", option)
	}
	if *target == "" {
		return d.Errf("%s is empty", option)
	}
	return nil
}

// isPlain reports whether there is no placeholder in s. What has one can only
// be checked once it is replaced, by Provision.
func isPlain(s string) bool { return !strings.Contains(s, "{") }
