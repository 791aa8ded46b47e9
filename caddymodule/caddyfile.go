package caddymodule

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/portcullis-mfa/portcullis/templates"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("mfa", parseApp)

	// The gate decides on the URL that the client asked for, so it comes ahead
	// of all that redirects or rewrites.
	httpcaddyfile.RegisterDirective("mfa", parseGate)
	httpcaddyfile.RegisterDirectiveOrder("mfa", httpcaddyfile.Before, "redir")

	httpcaddyfile.RegisterDirective("mfa_portal", parsePortalDirective)
	httpcaddyfile.RegisterDirectiveOrder("mfa_portal", httpcaddyfile.Before, "respond")

	httpcaddyfile.RegisterDirective("mfa_authenticator", parseAuthenticatorDirective)
	httpcaddyfile.RegisterDirectiveOrder("mfa_authenticator", httpcaddyfile.Before, "respond")
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
//		email {
//			smtp ADDRESS
//			username|password|ca|from|envelope_from|reply_to|helo VALUE
//			codes|notices on|off
//			limit NUMBER
//			only_on|not_on PLATFORM…
//		}
//		sms {
//			gateway URL {
//				method   POST|PUT
//				header   NAME VALUE
//				body     TEMPLATE
//				accepted STATUS…
//				answer   REGEXP
//			}
//			twilio {
//				account|token|from VALUE
//			}
//			regions COUNTRY…
//			from    SENDER
//			limit   NUMBER
//			only_on|not_on PLATFORM…
//		}
//		push off
//		push {
//			authenticator URL
//			subject       mailto:ADDRESS|URL
//			digits        2…6
//			services      HOST…
//			geoip         FILE
//			proxy         URL
//			only_on|not_on PLATFORM…
//		}
//		password_reset on|off
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
	app := &App{Sources: sourcesOf(*d)}
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
		return a.unmarshalPortal(d)
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
		if err := duration(d, &a.MaxStaleness); err != nil {
			return err
		}
		return at(d, checkStaleness(a.MaxStaleness))
	case "behind_tls_proxy":
		return flag(d, &a.BehindTLSProxy)
	case "totp":
		return a.unmarshalTOTP(d)
	case "fido":
		return a.unmarshalFIDO(d)
	case "backup_codes":
		return a.unmarshalBackupCodes(d)
	case "email":
		return a.unmarshalEmail(d)
	case "sms":
		return a.unmarshalSMS(d)
	case "push":
		return a.unmarshalPush(d)
	case "password_reset":
		return onOrOff(d, &a.PasswordReset)
	case "certificate":
		return a.unmarshalCertificate(d)
	case "replacement_hold":
		return a.unmarshalReplacementHold(d)
	}
	return unknownOption(d, "mfa", "the options are portal, admins, store, keys, name, contact, logo, accent, templates, session, password, max_staleness, behind_tls_proxy, totp, fido, backup_codes, email, sms, push, password_reset, certificate and replacement_hold")
}

// unmarshalPortal reads the portal's address, and checks it unless a placeholder
// is in it.
func (a *App) unmarshalPortal(d *caddyfile.Dispenser) error {
	if err := oneArgument(d, &a.Portal); err != nil || !isPlain(a.Portal) {
		return err
	}
	if _, err := parsePortal(a.Portal); err != nil {
		return d.Errf("portal %s: %w", a.Portal, err)
	}
	return nil
}

func (a *App) unmarshalStore(d *caddyfile.Dispenser) error {
	if a.StoreRaw != nil {
		return givenTwice(d, "store")
	}
	if !d.NextArg() {
		return d.Err("store needs a name: write store sqlite or store postgres ADDRESS")
	}
	name := d.Val()
	if _, err := caddy.GetModule("mfa.stores." + name); err != nil {
		return d.Errf("there is no store %q: write store sqlite or store postgres ADDRESS", name)
	}
	module, err := caddyfile.UnmarshalModule(d, "mfa.stores."+name)
	if err != nil {
		return err
	}
	a.StoreRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
	return nil
}

func (a *App) unmarshalSession(d *caddyfile.Dispenser) error {
	if a.Session != nil {
		return givenTwice(d, "session")
	}
	a.Session = new(SessionSettings)
	return readBlock(d, "session { lifetime 12h }", func() error { return a.Session.unmarshalOption(d) }, func() error {
		complete := *a.Session
		return complete.complete()
	})
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
	return unknownOption(d, "session", "the options are lifetime, idle and remember")
}

// unmarshalAccent reads a colour. A # at the beginning of a word begins a
// comment in a Caddyfile, so it may be left out.
func (a *App) unmarshalAccent(d *caddyfile.Dispenser) error {
	if a.Accent != "" {
		return givenTwice(d, "accent")
	}
	if !d.NextArg() {
		return d.Err("accent needs a colour: write accent 1c5dbf, since a # starts a comment")
	}
	a.Accent = d.Val()
	if isPlain(a.Accent) && !strings.HasPrefix(a.Accent, "#") {
		a.Accent = "#" + a.Accent
	}
	if d.NextArg() {
		return d.Errf("accent takes one value, and %q is a second: remove it", d.Val())
	}
	if !isPlain(a.Accent) {
		return nil
	}
	if err := templates.CheckAccent(a.Accent); err != nil {
		return d.Errf("accent: %w: write six hexadecimal digits, as in accent 1c5dbf", err)
	}
	return nil
}

// unmarshalReplacementHold reads a duration, or off for none.
func (a *App) unmarshalReplacementHold(d *caddyfile.Dispenser) error {
	if a.ReplacementHold != nil {
		return givenTwice(d, "replacement_hold")
	}
	a.ReplacementHold = new(caddy.Duration)
	if d.CountRemainingArgs() == 1 && d.NextArg() {
		if d.Val() == "off" {
			return nil
		}
		d.Prev()
	}
	if err := duration(d, a.ReplacementHold); err != nil {
		return err
	}
	return at(d, checkHold(*a.ReplacementHold))
}
