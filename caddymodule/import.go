package caddymodule

import (
	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/totp"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/importing"
	"github.com/portcullis-mfa/portcullis/store"
)

// sealing implements accounts.Sealing.
type sealing struct{ *credentials.Vault }

// SealPassword implements accounts.Sealing.
func (s sealing) SealPassword(userID, hash string) (store.Credential, error) {
	stored, err := identity.Import(hash)
	if err != nil {
		return store.Credential{}, err
	}
	return s.New(userID, assurance.Password, factors.Made{Secret: []byte(stored)})
}

// SealApp implements accounts.Sealing.
func (s sealing) SealApp(userID string, app importing.TOTP) (store.Credential, error) {
	secret, err := totp.Import(app.Secret, app.Algorithm, app.Digits, app.Period)
	if err != nil {
		return store.Credential{}, err
	}
	return s.New(userID, assurance.TOTP, factors.Made{Secret: secret})
}

var _ accounts.Sealing = sealing{}
