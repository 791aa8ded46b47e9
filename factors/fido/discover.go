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

// BeginDiscovery makes a challenge that any discoverable credential can answer
// whose authenticator verifies its user: it stands for both factors.
func (f *Factor) BeginDiscovery(context.Context) (factors.Ceremony, error) {
	challenge, err := f.challenge()
	if err != nil {
		return factors.Ceremony{}, err
	}
	asked, session, err := f.party.BeginDiscoverableLogin(
		webauthn.WithChallenge(challenge), webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return factors.Ceremony{}, fmt.Errorf("asking for a passkey: %w", err)
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

// CheckDiscovered decides on answer "credential" to what BeginDiscovery asked
// (§7.2): a user handle is required, and so is user verification.
func (f *Factor) CheckDiscovered(_ context.Context, who factors.Subject, credentials []factors.Credential, state []byte, answer factors.Answer) (factors.Verdict, error) {
	return f.check(discoverCeremony, who, credentials, state, answer, func(o owner, s webauthn.SessionData, answered *protocol.ParsedCredentialAssertionData) (*webauthn.Credential, error) {
		_, key, err := f.party.ValidatePasskeyLogin(func(_, _ []byte) (webauthn.User, error) { return o, nil }, s, answered)
		return key, err
	})
}
