package fido

import (
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/factortest"
	"github.com/portcullis-mfa/portcullis/templates"
)

// discovery asks whoever is there.
func (d *desk) discovery() (asked, state []byte) {
	d.t.Helper()
	ceremony, err := factortest.Begun(d.t.Context(), d.factor.Discovering(), factors.Asking{})
	if err != nil {
		d.t.Fatal(err)
	}
	return []byte(ceremony.Page.(templates.FIDOCeremony).Options), ceremony.State
}

func (d *desk) checkDiscovered(who factors.Subject, state []byte, credential string, rows ...factors.Credential) factors.Verdict {
	d.t.Helper()
	verdict, err := d.factor.Discovering().Check(d.t.Context(), factors.Asking{Who: who, Credentials: rows}, state, answered(credential))
	if err != nil {
		d.t.Fatal(err)
	}
	return verdict
}

// TestWhoeverIsThereIsAsked holds what browsers are asked against the
// specification (WebAuthn §5.5): any credential, and user verification.
func TestWhoeverIsThereIsAsked(t *testing.T) {
	d := newDesk(t)
	asked, _ := d.discovery()
	expectJSON(t, asked, map[string]any{"rpId": "login.example.com", "timeout": 300000.0, "userVerification": "required"})
}

func TestPasskeysTellWhoseTheyAre(t *testing.T) {
	d := newDesk(t)
	k := d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{UserHandle: []byte(alice.UserID)}))
	asked, state := d.discovery()
	given := k.get(t, site, asked)
	said, ok := d.factor.Discover(answered(given))
	if !ok || said.UserID != alice.UserID || "row of "+said.Unique != k.row.ID {
		t.Errorf("%+v, %t", said, ok)
	}
	if got := d.checkDiscovered(alice, state, given, k.row); !got.Accepted() || !got.UserVerified || got.CredentialID != k.row.ID {
		t.Errorf("%+v", got)
	}
	d.expectRefused("for somebody else", d.checkDiscovered(bob, state, given, k.row), factors.Wrong)
	d.expectRefused("a credential that isn't among theirs", d.checkDiscovered(alice, state, given), factors.Wrong)
	k.device.Options.UserNotVerified = true
	d.expectRefused("K02 without user verification", d.checkDiscovered(alice, state, k.get(t, site, asked), k.row), factors.Wrong)
	k.device.Options = deviceOptions{}
	if said, ok := d.factor.Discover(answered(k.get(t, site, asked))); ok || said != (factors.Discovered{}) {
		t.Errorf("without a user handle: %+v, %t", said, ok)
	}
	d.expectRefused("without a user handle", d.checkDiscovered(alice, state, k.get(t, site, asked), k.row), factors.Wrong)
	for _, garbage := range []string{"", "{}", "null", strings.Repeat("x", maxAnswer+1)} {
		if said, ok := d.factor.Discover(answered(garbage)); ok || said != (factors.Discovered{}) {
			t.Errorf("%.10q: %+v, %t", garbage, said, ok)
		}
	}
}

// TestF05DiscoveryIsNoChallenge has the state of the one be the state of the
// other.
func TestF05DiscoveryIsNoChallenge(t *testing.T) {
	d := newDesk(t)
	k := d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{UserHandle: []byte(alice.UserID)}))
	asked, state := d.discovery()
	if got, err := d.factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{k.row}}, state, answered(k.get(t, site, asked))); err == nil || got.Accepted() {
		t.Errorf("a challenge: %+v, %v", got, err)
	}
	asked, state = d.challenge(alice, k.row)
	if got, err := d.factor.Discovering().Check(t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{k.row}}, state, answered(k.get(t, site, asked))); err == nil || got.Accepted() {
		t.Errorf("a discovery: %+v, %v", got, err)
	}
}
