package fido

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/portcullis-mfa/portcullis/factors"
)

// marshal writes a credential record (§4) as a credential's secret. Nothing in
// it is secret, but who could change it could sign in.
func marshal(key *webauthn.Credential) ([]byte, error) {
	written, err := json.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("writing a credential record: %w", err)
	}
	return written, nil
}

func unmarshal(secret []byte) (webauthn.Credential, error) {
	var key webauthn.Credential
	if err := json.Unmarshal(secret, &key); err != nil {
		return key, fmt.Errorf("reading a credential record: %w", err)
	}
	if len(key.ID) == 0 || len(key.PublicKey) == 0 {
		return key, fmt.Errorf("reading a credential record: it lacks the id or the public key")
	}
	return key, nil
}

// transports are those that there are (§5.8.4).
var transports = []protocol.AuthenticatorTransport{
	protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal,
}

// known returns, in one order, which of the transports that a browser named
// there are: nothing vouches for what it says.
func known(named []protocol.AuthenticatorTransport) []protocol.AuthenticatorTransport {
	var kept []protocol.AuthenticatorTransport
	for _, t := range transports {
		if slices.Contains(named, t) {
			kept = append(kept, t)
		}
	}
	return kept
}

// The forms of keys, as Details has them.
const (
	SecurityKey   = "security_key"   // a thing of its own
	DevicePasskey = "device_passkey" // in a phone or computer
	SyncedPasskey = "synced_passkey" // in an account, on many devices
)

// Details says what a key is kept in, what it is, and how browsers reach it, in
// the words of WebAuthn: usb, nfc, ble, smart-card, hybrid, internal.
func (f *Factor) Details(c factors.Credential) (factors.Details, error) {
	key, err := unmarshal(c.Secret)
	if err != nil {
		return factors.Details{}, fmt.Errorf("reading credential %s: %w", c.ID, err)
	}
	told := factors.Details{
		Form: form(key), Model: f.model(key.Authenticator.AAGUID).Name, Picture: f.attestation.picture(key.Authenticator.AAGUID),
	}
	for _, t := range key.Transport {
		told.By = append(told.By, string(t))
	}
	return told, nil
}

// form says what a credential is kept in: what can be backed up is synced
// sooner or later (§6.1.3).
func form(key webauthn.Credential) string {
	switch {
	case key.Flags.BackupEligible:
		return SyncedPasskey
	case key.Authenticator.Attachment == protocol.Platform, slices.Contains(key.Transport, protocol.Internal):
		return DevicePasskey
	}
	return SecurityKey
}
