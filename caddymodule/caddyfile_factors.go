package caddymodule

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/portcullis-mfa/portcullis/factors/fido"
)

func (a *App) unmarshalTOTP(d *caddyfile.Dispenser) error {
	if a.TOTP != nil {
		return givenTwice(d, "totp")
	}
	a.TOTP = new(TOTP)
	return readBlock(d, "totp { algorithm sha256 }", func() error { return a.TOTP.unmarshalOption(d) }, func() error {
		complete := *a.TOTP
		if !isPlain(complete.Issuer) {
			complete.Issuer = ""
		}
		return complete.complete("issuer")
	})
}

func (t *TOTP) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "algorithm":
		return oneArgument(d, &t.Algorithm)
	case "digits":
		return number(d, &t.Digits, "6 or 8")
	case "period":
		return duration(d, &t.Period)
	case "issuer":
		return oneArgument(d, &t.Issuer)
	case "only_on", "not_on":
		return t.unmarshalPlatforms(d)
	}
	return unknownOption(d, "totp", "the options are algorithm, digits, period, issuer, only_on and not_on")
}

// unmarshalPlatforms reads only_on or not_on.
func (p *Platforms) unmarshalPlatforms(d *caddyfile.Dispenser) error {
	option, names := d.Val(), &p.OnlyOn
	if option == "not_on" {
		names = &p.NotOn
	}
	if *names != nil {
		return givenTwice(d, option)
	}
	if *names = d.RemainingArgs(); len(*names) == 0 {
		return d.Errf("%s names no platform: the platforms are %s", option, strings.Join(platforms, ", "))
	}
	if err := p.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (a *App) unmarshalFIDO(d *caddyfile.Dispenser) error {
	if a.FIDO != nil {
		return givenTwice(d, "fido")
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
		return unknownOption(d, "fido", "the options are passwordless, upgrade_offer, sign_count, rp_id, origins, abandon, attestation, only_on and not_on")
	})
}

// unmarshalHost reads a host to which keys can be bound.
func unmarshalHost(d *caddyfile.Dispenser, host *string) error {
	if err := oneArgument(d, host); err != nil || !isPlain(*host) {
		return err
	}
	if _, err := checkRPID(*host); err != nil {
		return d.Errf("rp_id: %w", err)
	}
	return nil
}

// unmarshalAttestation reads none, or required with a block.
func (f *FIDO) unmarshalAttestation(d *caddyfile.Dispenser) error {
	if f.Attestation != nil {
		return givenTwice(d, "attestation")
	}
	written := strings.Join(d.RemainingArgs(), " ")
	if written == "" {
		return d.Err("attestation needs a value: write none or required")
	}
	if written != "none" && written != "required" {
		return d.Errf("attestation %q: write none or required", written)
	}
	made, block := new(Attestation), *d
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
		return block.Errf("attestation: %w", err)
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
	return unknownOption(d, "attestation", "the options are metadata, metadata_root, allow, deny and certified")
}

func (a *App) unmarshalBackupCodes(d *caddyfile.Dispenser) error {
	if a.BackupCodes != nil {
		return givenTwice(d, "backup_codes")
	}
	a.BackupCodes = new(BackupCodes)
	return switchOrBlock(d, &a.BackupCodes.Off, func() error {
		switch d.Val() {
		case "only_on", "not_on":
			return a.BackupCodes.unmarshalPlatforms(d)
		}
		return unknownOption(d, "backup_codes", "the options are only_on and not_on")
	})
}
