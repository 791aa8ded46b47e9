package fido

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/portcullis-mfa/portcullis/factors"
)

var _ factors.Discoverer = (*Factor)(nil)

// discoverCeremony is an assertion before which nobody has given a name.
const discoverCeremony protocol.CeremonyType = "discover"

// Discovering asks whoever is there for a passkey.
func (f *Factor) Discovering() factors.Ceremony { return discovering{f} }

type discovering struct{ *Factor }

// Begin makes a challenge that any discoverable credential can answer whose
// authenticator verifies its user: it stands for both factors.
func (f discovering) Begin(context.Context, factors.Asking) (factors.Turn, error) {
	challenge, err := f.challenge()
	if err != nil {
		return factors.Turn{}, err
	}
	asked, session, err := f.party.BeginDiscoverableLogin(
		webauthn.WithChallenge(challenge), webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return factors.Turn{}, fmt.Errorf("asking for a passkey: %w", err)
	}
	return f.begun(discoverCeremony, asked.Response, session)
}

// Discover reads the user handle and the credential id out of answer
// "credential".
func (f *Factor) Discover(answer factors.Answer) (factors.Discovered, bool) {
	answered, err := parse(answer, protocol.ParseCredentialRequestResponseBytes)
	if err != nil || len(answered.Response.UserHandle) == 0 {
		return factors.Discovered{}, false
	}
	return factors.Discovered{
		UserID: string(answered.Response.UserHandle),
		Unique: base64.RawURLEncoding.EncodeToString(answered.RawID),
	}, true
}

// Resume shows what the browser is asked.
func (f discovering) Resume(_ context.Context, _ factors.Asking, state []byte) (factors.Page, error) {
	return f.resume(discoverCeremony, state)
}

// Check decides on answer "credential" (§7.2): a user handle is required, and so
// is user verification.
func (f discovering) Check(_ context.Context, a factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	return f.check(discoverCeremony, a, state, answer, func(o owner, s webauthn.SessionData, answered *protocol.ParsedCredentialAssertionData) (*webauthn.Credential, error) {
		_, key, err := f.party.ValidatePasskeyLogin(func(_, _ []byte) (webauthn.User, error) { return o, nil }, s, answered)
		return key, err
	})
}
