package caddymodule

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/backupcode"
	"github.com/portcullis-mfa/portcullis/factors/fido"
	"github.com/portcullis-mfa/portcullis/factors/otpmessage"
	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/factors/totp"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/notify/webpush"
)

// TOTP configures codes from authenticator apps. Changing it doesn't affect
// credentials that are already enrolled.
type TOTP struct {
	// Algorithm is sha1, sha256 or sha512. Many authenticator apps silently
	// compute wrong codes for anything but sha1. Default: sha1.
	Algorithm string `json:"algorithm,omitempty"`
	// Digits is how long a code is: 6 or 8. Default: 6.
	Digits int `json:"digits,omitempty"`
	// Period is how long a code is shown: whole seconds, 15s to 2m. Default:
	// 30s.
	Period caddy.Duration `json:"period,omitempty"`
	// Issuer is the name under which apps list the account. It can't contain a
	// colon, which separates issuer and account. Default: the app's name.
	Issuer string `json:"issuer,omitempty"`

	Platforms
}

// FIDO configures security keys and passkeys.
type FIDO struct {
	// Off says that nobody can add a key, and that no key counts. Default: false.
	Off bool `json:"off,omitempty"`
	// Passwordless says that a passkey signs people in by itself, without name and
	// password, if its device has checked who is using it (PIN, fingerprint, face).
	// Default: true.
	Passwordless *bool `json:"passwordless,omitempty"`
	// SignCount says what happens to a key whose signature counter hasn't risen
	// since its last use, which may mean that there is a copy of it: strict refuses
	// it, lenient accepts it. Either way, an audit event is recorded. Keys that
	// don't count, such as most passkeys, are always accepted. Default: strict.
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
	// Abandon names former RP IDs. Keys that are bound to them no longer work.
	// Without this setting, a configuration that would stop keys from working
	// doesn't load. Default: none.
	Abandon []string `json:"abandon,omitempty"`
	// Attestation makes keys prove what they are when they are enrolled. Default:
	// no proof is asked for, and all keys may be enrolled.
	Attestation *Attestation `json:"attestation,omitempty"`
	// UpgradeOffer says whether people are offered a passkey after they signed in
	// with something weaker, if they have no security key or passkey that is bound
	// to the RP ID and their device can keep one. The offer comes once a day at
	// most, and not for 30 days after "not now". Default: true.
	UpgradeOffer *bool `json:"upgrade_offer,omitempty"`

	Platforms
}

// BackupCodes configures the codes that people keep in case they lose everything else.
type BackupCodes struct {
	// Off says that nobody gets backup codes, and that none counts. Default:
	// false.
	Off bool `json:"off,omitempty"`

	Platforms
}

// Platforms says on which platforms a second factor is asked for. Browsers can
// claim any platform, so this is for convenience and protects nothing.
type Platforms struct {
	// OnlyOn names the platforms on which the factor is asked for: windows, macos,
	// linux, android, ios. Default: all, and browsers that don't say.
	OnlyOn []string `json:"only_on,omitempty"`
	// NotOn names platforms on which the factor isn't asked for. Default: none.
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
			return fmt.Errorf("unknown platform %q: the platforms are %s", name, strings.Join(platforms, ", "))
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
	if a.Email != nil {
		var err error
		if a.mailer, err = a.Email.resolve(a.portal.Hostname()); err != nil {
			return fmt.Errorf("email: %w", err)
		}
	}
	if a.PasswordReset == nil {
		a.PasswordReset = new(false)
	}
	if *a.PasswordReset && a.Email == nil {
		return errors.New("password_reset: the links are e-mailed: add a block email inside mfa, or write password_reset off")
	}
	if a.SMS != nil {
		var err error
		if a.gateway, err = a.SMS.resolve(a.portal.Hostname()); err != nil {
			return fmt.Errorf("sms: %w", err)
		}
	}
	if a.ReplacementHold == nil {
		day := caddy.Duration(24 * time.Hour)
		a.ReplacementHold = &day
	}
	return checkHold(*a.ReplacementHold)
}

func checkHold(hold caddy.Duration) error {
	if asked := time.Duration(hold); asked < 0 || asked > 30*24*time.Hour {
		return fmt.Errorf("replacement_hold %s: write a time of up to 30d, or off", shown(asked))
	}
	return nil
}

// resolveFIDO completes and checks the settings for security keys. It refuses
// what the factor itself would refuse at the start.
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

// The values of sign_count.
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
		return fmt.Errorf("period %s: write whole seconds from 15s to 2m", shown(period))
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

// highest returns the highest level that the enabled factors can reach.
func (a *App) highest() assurance.Level {
	if a.FIDO.Off {
		return assurance.Multi
	}
	return assurance.PhishingResistant
}

// choice is a second factor as configured: what asks and checks, and the platforms
// on which it is asked for.
type choice struct {
	factor factors.Factor // nil: switched off
	on     Platforms
}

// maker makes a second factor.
type maker func(*App, *identity.Hasher) (choice, error)

// makers make the second factors, in the order of recommendation.
var makers = []maker{
	(*App).makeTOTP,
	(*App).makeFIDO,
	(*App).makePush,
	(*App).makeEmail,
	(*App).makeSMS,
	(*App).makeBackupCodes,
}

// makeFactors makes the second factors that are configured.
func (a *App) makeFactors(passwords *identity.Hasher) (factors.Set, offers, error) {
	var set factors.Set
	on := make(offers)
	for _, makes := range makers {
		made, err := makes(a, passwords)
		if err != nil {
			return nil, nil, err
		}
		if made.factor != nil {
			set = append(set, made.factor)
			on[made.factor.Kind()] = made.on
		}
	}
	return set, on, nil
}

// offers are the platforms on which each second factor is asked for.
type offers map[assurance.Factor]Platforms

// include reports whether a second factor is asked for on a platform.
func (o offers) include(kind assurance.Factor, platform string) bool {
	return o[kind].include(platform)
}

func (a *App) makeTOTP(*identity.Hasher) (choice, error) {
	codes, err := totp.New(a.TOTP.config(), time.Now, rand.Reader)
	if err != nil {
		return choice{}, fmt.Errorf("setting up codes from authenticator apps: %w", err)
	}
	return choice{codes, a.TOTP.Platforms}, nil
}

func (a *App) makeFIDO(*identity.Hasher) (choice, error) {
	if a.FIDO.Off {
		return choice{}, nil
	}
	keys, err := fido.New(a.fidoConfig(), time.Now, rand.Reader)
	if err != nil {
		return choice{}, fmt.Errorf("setting up security keys: %w", err)
	}
	return choice{keys, a.FIDO.Platforms}, nil
}

func (a *App) makePush(*identity.Hasher) (choice, error) {
	if a.Push.Off {
		return choice{}, nil
	}
	codes, err := totp.New(a.TOTP.config(), time.Now, rand.Reader)
	if err != nil {
		return choice{}, fmt.Errorf("setting up the codes of phones: %w", err)
	}
	phones, err := push.New(push.Config{
		Origin: a.Push.authenticator.String(), Digits: a.Push.Digits, Codes: codes,
		Place: a.Push.placeOf, Allowed: webpush.Allows(a.Push.Services),
	}, time.Now, rand.Reader)
	if err != nil {
		return choice{}, fmt.Errorf("setting up approval on phones: %w", err)
	}
	return choice{phones, a.Push.Platforms}, nil
}

func (a *App) makeEmail(*identity.Hasher) (choice, error) {
	if a.mailer == nil || !*a.Email.Codes {
		return choice{}, nil
	}
	return choice{otpmessage.NewEmail(time.Now, rand.Reader), a.Email.Platforms}, nil
}

func (a *App) makeSMS(*identity.Hasher) (choice, error) {
	if a.gateway == nil {
		return choice{}, nil
	}
	return choice{otpmessage.NewSMS(a.SMS.Regions, time.Now, rand.Reader), a.SMS.Platforms}, nil
}

func (a *App) makeBackupCodes(passwords *identity.Hasher) (choice, error) {
	if a.BackupCodes.Off {
		return choice{}, nil
	}
	cheaper, err := passwords.With(identity.CodeParams())
	if err != nil {
		return choice{}, fmt.Errorf("setting up backup codes: %w", err)
	}
	return choice{backupcode.New(a.Name, cheaper, time.Now, rand.Reader), a.BackupCodes.Platforms}, nil
}

// relatedOrigins is what browsers are told about the origins that may use the
// keys; nil: there are no others.
func (a *App) relatedOrigins() ([]byte, error) {
	if a.FIDO.Off || len(a.FIDO.Origins) == 0 {
		return nil, nil
	}
	return fido.RelatedOrigins(a.FIDO.Origins)
}
