package caddymodule

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/portcullis-mfa/portcullis/identity"
)

// several reads the arguments of an option that may be given several times,
// each of which check must have nothing against.
func several(d *caddyfile.Dispenser, values *[]string, check func(string) error) error {
	option, added := d.Val(), d.RemainingArgs()
	if len(added) == 0 {
		return missingValue(d, option)
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

// switchOrBlock reads on or off, or a block of options in place of them.
func switchOrBlock(d *caddyfile.Dispenser, off *bool, option func() error) error {
	start, name, written, block := *d, d.Val(), d.RemainingArgs(), false
	for nesting := d.Nesting(); d.NextBlock(nesting); block = true {
		if err := option(); err != nil {
			return err
		}
	}
	switch {
	case block && len(written) > 0:
		return start.Errf("%s takes on, off or a block, and here %q comes before a block: remove it", name, written[0])
	case block:
	case len(written) == 0:
		return d.Errf("%s needs a value: write on, off or a block of options", name)
	case len(written) != 1 || written[0] != "on" && written[0] != "off":
		return d.Errf("%s %s: write on or off", name, strings.Join(written, " "))
	case written[0] == "off":
		*off = true
	}
	return nil
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

// number reads one whole number of more than nothing; example is what to write.
func number(d *caddyfile.Dispenser, target *int, example string) error {
	option := d.Val()
	if *target != 0 {
		return givenTwice(d, option)
	}
	var written string
	if err := oneArgument(d, &written); err != nil {
		return err
	}
	parsed, err := strconv.Atoi(written)
	if err != nil || parsed < 1 {
		return d.Errf("%s %s: write %s", option, written, example)
	}
	*target = parsed
	return nil
}

// duration reads one duration of more than nothing.
func duration(d *caddyfile.Dispenser, target *caddy.Duration) error {
	option := d.Val()
	if *target != 0 {
		return givenTwice(d, option)
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
		return givenTwice(d, option)
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
		return givenTwice(d, option)
	}
	written := d.RemainingArgs()
	switch {
	case len(written) == 0:
		return d.Errf("%s needs a value: write on or off", option)
	case len(written) != 1 || written[0] != "on" && written[0] != "off":
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
		return givenTwice(d, option)
	}
	switch written := d.RemainingArgs(); {
	case len(written) == 0:
		return missingValue(d, option)
	case len(written) > 1:
		return d.Errf("%s takes one value, and %q is a second: remove it, or put quotes around a value that contains spaces", option, written[1])
	case written[0] == "":
		return d.Errf("%s is empty: write a value, or remove the line", option)
	default:
		*target = written[0]
	}
	return nil
}

// givenTwice refuses an option that can be given once.
func givenTwice(d *caddyfile.Dispenser, option string) error {
	return d.Errf("%s is given twice: remove one of them", option)
}

// missingValue says what to write after an option.
func missingValue(d *caddyfile.Dispenser, option string) error {
	if example, ok := examples[option]; ok {
		return d.Errf("%s needs a value: write %s %s", option, option, example)
	}
	return d.Errf("%s needs a value", option)
}

// examples are values of options whose errors don't show one otherwise.
var examples = map[string]string{
	"abandon":          "login.example.org",
	"account":          "{env.TWILIO_ACCOUNT}",
	"algorithm":        "sha1",
	"allow":            "ee882879-721c-4913-9775-3dfcce97072a",
	"answer":           "`\"status\": *\"queued\"`",
	"assurance":        "single, multi or phishing_resistant",
	"authenticator":    "https://phone.example.com",
	"body":             "`{\"to\": \"{to}\", \"text\": \"{text}\"}`",
	"ca":               "devices (in certificate) or /etc/ssl/our-ca.pem (in email)",
	"certified":        "L1",
	"clear_site_data":  "user_change or sign_out",
	"contact":          "it@example.com",
	"cookie_same_site": "lax or none",
	"cors_preflight":   "pass",
	"crl":              "/etc/ssl/our-ca.crl",
	"deny":             "ee882879-721c-4913-9775-3dfcce97072a",
	"digits":           "6",
	"email":            "X-Email",
	"encoding":         "percent or utf-8",
	"envelope_from":    "bounces@example.com",
	"from":             "login@example.com (in email) or the sender's name (in sms)",
	"gateway":          "https://sms.example.com/send",
	"geoip":            "/etc/portcullis/GeoLite2-City.mmdb",
	"hashing_memory":   "256MiB",
	"helo":             "login.example.com",
	"idle":             "1h",
	"keys":             "/etc/portcullis/keys.json",
	"lifetime":         "12h",
	"limit":            "100",
	"listen":           "off, or the database's own address",
	"logo":             "/etc/portcullis/logo.svg",
	"longest":          "90d",
	"max_age":          "15m",
	"max_staleness":    "1m",
	"metadata":         "/etc/portcullis/blob.jwt",
	"metadata_root":    "/etc/portcullis/root.pem",
	"method":           "POST or PUT",
	"most":             "20",
	"name":             "\"Example Inc.\" (in mfa) or X-Name (in headers)",
	"origins":          "https://login.example.org",
	"password":         "{env.SMTP_PASSWORD}",
	"path":             "/var/lib/portcullis/portcullis.db",
	"period":           "30s",
	"portal":           "https://login.example.com",
	"proxy":            "http://proxy.example.com:3128",
	"remember":         "30d",
	"replacement_hold": "24h or off",
	"reply_to":         "it@example.com",
	"rp_id":            "example.com",
	"services":         "wns.example.com",
	"sign_count":       "strict or lenient",
	"smtp":             "smtp://mail.example.com",
	"subject":          "mailto:it@example.com",
	"templates":        "/etc/portcullis/templates",
	"token":            "{env.TWILIO_TOKEN}",
	"url":              "postgres://USER@HOST/DATABASE?sslmode=verify-full",
	"user":             "X-User",
	"username":         "portcullis",
}

// unknownOption refuses a word that isn't an option of a block.
func unknownOption(d *caddyfile.Dispenser, block, options string) error {
	written := d.Val()
	if written == "{" {
		return d.Err("a block isn't allowed here: remove the braces and everything between them")
	}
	where, isElsewhere := elsewhere[written]
	if strings.HasPrefix(written, "@") {
		where, isElsewhere = "define it outside mfa, in the site's block", true
	}
	if !isElsewhere {
		return d.Errf("unknown option %q of %s: %s", written, block, options)
	}
	return d.Errf("unknown option %q of %s: %s: %s", written, block, where, options)
}

// elsewhere says where options belong that people look for in the other mfa.
var elsewhere = map[string]string{
	"open": inSite, "rule": inSite, "allow": inSite, "tokens": inSite, "assurance": inSite, "max_age": inSite, "headers": inSite,
	"hosts": inSite, "idle_ignores": inSite, "cors_preflight": inSite, "cookie_same_site": inSite, "clear_site_data": inSite,
	"assertion": inSite, "session_notice": inSite, "basic": inSite,
	"portal": inGlobal, "admins": inGlobal, "store": inGlobal, "keys": inGlobal, "contact": inGlobal, "logo": inGlobal,
	"accent": inGlobal, "templates": inGlobal, "session": inGlobal, "password": inGlobal, "max_staleness": inGlobal,
	"behind_tls_proxy": inGlobal, "totp": inGlobal, "fido": inGlobal, "backup_codes": inGlobal, "sms": inGlobal, "push": inGlobal,
	"password_reset": inGlobal, "replacement_hold": inGlobal,
	"lifetime": "write it inside session", "idle": "write it inside session", "remember": "write it inside session",
	"hashing_memory": "write it inside password", "smtp": "write it inside email", "gateway": "write it inside sms",
	"twilio": "write it inside sms", "authenticator": "write it inside push", "rp_id": "write it inside fido",
	"mfa_portal": "write it in a site", "mfa_authenticator": "write it in a site",
}

const (
	inSite   = "write it inside the mfa of a site"
	inGlobal = "write it inside mfa in the global options, at the top of the Caddyfile"
)

// place is where the dispenser stands, as errors name it.
func place(d *caddyfile.Dispenser) string { return fmt.Sprintf("%s:%d", d.File(), d.Line()) }

// at puts the place that has been read last behind an error.
func at(d *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return d.WrapErr(err)
}

// isPlain reports whether there is no placeholder in s. What has one can only
// be checked once it is replaced, by Provision.
func isPlain(s string) bool { return !strings.Contains(s, "{") }
