package harness

import (
	"context"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// AuthenticatorOptions says what kind of authenticator is at hand; zero fields
// mean a security key on USB that only wants to be touched.
type AuthenticatorOptions struct {
	// Internal is part of the computer, which checks who sits there.
	Internal bool
	// Synced makes passkeys that are kept in an account.
	Synced bool
}

// Authenticator is a virtual security key or passkey provider of one tab. It is
// touched by itself unless it is told to Rest.
type Authenticator struct {
	b  *Browser
	id webauthn.AuthenticatorID
}

// KeysOnly has the tab know virtual authenticators alone: until one is added,
// there is none.
func (b *Browser) KeysOnly() {
	b.t.Helper()
	command(b, "looking for authenticators", webauthn.Enable, webauthn.EnableParams{})
}

// NewAuthenticator puts an authenticator to where the tab finds it.
func (b *Browser) NewAuthenticator(options AuthenticatorOptions) *Authenticator {
	b.t.Helper()
	b.KeysOnly()
	made := &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21,
		Transport: webauthn.AuthenticatorTransportUsb, AutomaticPresenceSimulation: true,
		DefaultBackupEligibility: options.Synced, DefaultBackupState: options.Synced,
	}
	if options.Internal {
		made.Transport, made.HasResidentKey = webauthn.AuthenticatorTransportInternal, true
		made.HasUserVerification, made.IsUserVerified = true, true
	}
	result := command(b, "adding an authenticator", webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: made})
	return &Authenticator{b: b, id: result.AuthenticatorID}
}

// command runs a command of Chromium's that yields something.
func command[P, R any](b *Browser, doing string, named cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, named, params)
	if err != nil {
		b.t.Fatalf("%s: %v", doing, err)
	}
	return result
}

// Unplug takes the authenticator away, with all that it holds.
func (a *Authenticator) Unplug() {
	a.b.t.Helper()
	command(a.b, "removing an authenticator", webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: a.id})
}

// Rest has nobody touch the authenticator until Wake.
func (a *Authenticator) Rest() { a.present(false) }

// Wake has it be touched by itself again.
func (a *Authenticator) Wake() { a.present(true) }

func (a *Authenticator) present(present bool) {
	a.b.t.Helper()
	command(a.b, "touching an authenticator", webauthn.SetAutomaticPresenceSimulation, webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: a.id, Enabled: present})
}

// Verifies has it tell, or not any more, that it checked who holds it.
func (a *Authenticator) Verifies(user bool) {
	a.b.t.Helper()
	command(a.b, "setting user verification", webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: a.id, IsUserVerified: user})
}

// Forge has it sign wrongly from now on, or rightly again.
func (a *Authenticator) Forge(wrong bool) {
	a.b.t.Helper()
	command(a.b, "spoiling an authenticator", webauthn.SetResponseOverrideBits, webauthn.SetResponseOverrideBitsParams{AuthenticatorID: a.id, IsBogusSignature: &wrong})
}

// Keys returns how many keys it holds.
func (a *Authenticator) Keys() int { return len(a.keys()) }

// DisplayName returns how its one passkey calls the person; empty: it holds
// none, or more.
func (a *Authenticator) DisplayName() string {
	a.b.t.Helper()
	if keys := a.keys(); len(keys) == 1 {
		return keys[0].UserDisplayName
	}
	return ""
}

func (a *Authenticator) keys() []*webauthn.Credential {
	a.b.t.Helper()
	return command(a.b, "reading an authenticator", webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: a.id}).Credentials
}

// CountAgain sets the signature counter of all its keys, as in an old copy.
func (a *Authenticator) CountAgain(from float64) {
	a.b.t.Helper()
	for _, key := range a.keys() {
		command(a.b, "setting a signature counter", webauthn.SetCredentialProperties, webauthn.SetCredentialPropertiesParams{
			AuthenticatorID: a.id, CredentialID: key.CredentialID, SignCount: &from,
		})
	}
}
