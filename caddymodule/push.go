package caddymodule

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/geoip"
)

// Push lets people approve sign-ins on their phone, in the authenticator. The
// authenticator also shows codes that work offline.
type Push struct {
	// Off says that nobody can add a phone, and that existing ones don't count. Default:
	// false.
	Off bool `json:"off,omitempty"`
	// Authenticator is the address of the site that serves mfa_authenticator:
	// https://HOST or https://HOST:PORT, as phones reach it. The host must differ
	// from those of the portal and the apps. Plain http:// works for localhost and
	// names under it. Required.
	Authenticator string `json:"authenticator,omitempty"`
	// Subject is whom push services contact about problems: mailto:ADDRESS or an
	// https:// address. Default: the portal's address.
	Subject string `json:"subject,omitempty"`
	// Digits is the length of the number that people enter on the phone: 2 to 6. Default:
	// 6.
	Digits int `json:"digits,omitempty"`
	// Services are hosts of push services that may be used besides those of the
	// browsers' makers (Google, Mozilla, Apple and Microsoft). Default: none.
	Services []string `json:"services,omitempty"`
	// GeoIP is the file of a database in the MaxMind DB format that names cities or
	// countries, such as GeoLite2-City. With it, requests on the phone name the city
	// and country that an address belongs to, in English. The file is read into memory
	// when the configuration loads. Default: none, and requests show the address alone.
	GeoIP string `json:"geoip,omitempty"`
	// Proxy is the HTTP proxy through which push services are reached:
	// http://HOST:PORT or https://HOST:PORT. Default: none.
	Proxy string `json:"proxy,omitempty"`

	Platforms

	// What resolve found. All are zero if push is off.
	authenticator *url.URL      // scheme and host only
	proxy         *url.URL      // nil: there is none
	places        *geoip.Places // nil: they aren't known
}

// resolvePush completes and checks the settings. Without an authenticator, push is
// off.
func (a *App) resolvePush() error {
	if a.Push == nil {
		a.Push = &Push{Off: true}
	}
	if a.Push.Off {
		return nil
	}
	if err := a.Push.resolve(a.portal); err != nil {
		return fmt.Errorf("push: %w", err)
	}
	return nil
}

func (p *Push) resolve(portal *url.URL) (err error) {
	for setting, written := range map[string]*string{
		"authenticator": &p.Authenticator, "subject": &p.Subject, "proxy": &p.Proxy,
	} {
		if *written, err = expand(setting, *written); err != nil {
			return err
		}
	}
	if p.Authenticator == "" {
		return errNoAuthenticator
	}
	if p.authenticator, err = parseAuthenticator(p.Authenticator); err != nil {
		return err
	}
	if p.authenticator.Hostname() == portal.Hostname() {
		return fmt.Errorf("authenticator %s: this is the portal's host, whose scripts could use the phones' keys: give the authenticator a host of its own", p.Authenticator)
	}
	if p.Subject == "" {
		p.Subject = portal.String()
	}
	if p.Digits == 0 {
		p.Digits = maxPushDigits
	}
	if p.proxy, err = parseProxy(p.Proxy); err != nil {
		return err
	}
	return errors.Join(checkSubject(p.Subject), checkPushDigits(p.Digits), p.checkServices(), p.readPlaces(), p.Platforms.check())
}

var errNoAuthenticator = errors.New("authenticator is missing: name the host that serves mfa_authenticator: write push { authenticator https://phone.example.com }")

// parseAuthenticator reads the authenticator's address.
func parseAuthenticator(written string) (*url.URL, error) {
	u, err := parseOwnAddress(written, "https://phone.example.com", "authenticator")
	if err != nil {
		return nil, fmt.Errorf("authenticator %s: %w", written, err)
	}
	return u, nil
}

// checkSubject refuses what RFC 8292 §2.1 doesn't allow as a contact.
func checkSubject(written string) error {
	if address, isMail := strings.CutPrefix(written, "mailto:"); isMail {
		if parsed, err := mail.ParseAddress(address); err == nil && parsed.Address == address {
			return nil
		}
	}
	u, err := url.Parse(written)
	local := err == nil && u.Scheme == "http" && origin.IsLocalhost(u.Hostname()) // by default, in a trial
	if err == nil && u.Host != "" && (u.Scheme == "https" || local) {
		return nil
	}
	return fmt.Errorf("subject %s: write mailto:it@example.com or an https:// address", written)
}

const minPushDigits, maxPushDigits = 2, 6

func checkPushDigits(digits int) error {
	if digits < minPushDigits || digits > maxPushDigits {
		return fmt.Errorf("digits %d: write a number from %d to %d", digits, minPushDigits, maxPushDigits)
	}
	return nil
}

func (p *Push) checkServices() error {
	for _, written := range p.Services {
		if err := checkPushService(written); err != nil {
			return err
		}
	}
	return nil
}

func checkPushService(written string) error {
	host, err := origin.ParsePattern(written)
	if err != nil || host.Port != "" {
		return fmt.Errorf("services %s: write the host of a push service, such as push.example.com or *.push.example.com", written)
	}
	return nil
}

// parseProxy reads the address of an HTTP proxy; nil: there is none.
func parseProxy(written string) (*url.URL, error) {
	if written == "" {
		return nil, nil
	}
	u, err := url.Parse(written)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		// It may contain a password, so it isn't repeated here.
		return nil, errors.New("proxy: this isn't the address of an HTTP proxy: write http://proxy.example.com:3128")
	}
	return u, nil
}

// maxGeoIP bounds the file of places. Databases of all cities take some 100 MiB.
const maxGeoIP = 1 << 30

// readPlaces reads the database of places.
func (p *Push) readPlaces() error {
	if p.GeoIP == "" {
		return nil
	}
	_, content, err := readSetting("geoip", p.GeoIP, maxGeoIP)
	if err != nil {
		return err
	}
	if p.places, err = geoip.Parse(content); err != nil {
		return fmt.Errorf("geoip %s: %w", p.GeoIP, err)
	}
	return nil
}

// placeOf names the place of an address; empty: it isn't known.
func (p *Push) placeOf(address string) string {
	if p.places == nil {
		return ""
	}
	return p.places.Name(address)
}

func (a *App) unmarshalPush(d *caddyfile.Dispenser) error {
	if a.Push != nil {
		return givenTwice(d, "push")
	}
	a.Push = new(Push)
	block := *d // whose line errors about several options name
	if err := switchOrBlock(d, &a.Push.Off, func() error { return a.Push.unmarshalOption(d) }); err != nil {
		return err
	}
	if !a.Push.Off && a.Push.Authenticator == "" {
		return block.Errf("push: %w", errNoAuthenticator)
	}
	return nil
}

func (p *Push) unmarshalOption(d *caddyfile.Dispenser) error {
	checked := func(to *string, check func(string) error) error {
		if err := oneArgument(d, to); err != nil || !isPlain(*to) {
			return err
		}
		if err := check(*to); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}
	switch d.Val() {
	case "authenticator":
		return checked(&p.Authenticator, func(written string) error { _, err := parseAuthenticator(written); return err })
	case "subject":
		return checked(&p.Subject, checkSubject)
	case "digits":
		return p.unmarshalDigits(d)
	case "services":
		return several(d, &p.Services, checkPushService)
	case "geoip":
		return oneArgument(d, &p.GeoIP)
	case "proxy":
		return checked(&p.Proxy, func(written string) error { _, err := parseProxy(written); return err })
	case "only_on", "not_on":
		return p.unmarshalPlatforms(d)
	}
	return unknownOption(d, "push", "the options are authenticator, subject, digits, services, geoip, proxy, only_on and not_on")
}

func (p *Push) unmarshalDigits(d *caddyfile.Dispenser) error {
	if err := number(d, &p.Digits, fmt.Sprintf("a number from %d to %d", minPushDigits, maxPushDigits)); err != nil {
		return err
	}
	return at(d, checkPushDigits(p.Digits))
}
