package fido

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/portcullis-mfa/portcullis/factors"
)

// vectors are the test vectors of the specification (§16), and whom they are
// for.
type vectors struct {
	RPID    string
	Origin  string
	Vectors []vector
}

// vector is one of them: a registration, and an assertion by the same key.
type vector struct {
	Name         string
	CredentialID octets
	Registration struct {
		Challenge, ClientDataJSON, AttestationObject octets
	}
	Authentication struct {
		Challenge, AuthenticatorData, ClientDataJSON, Signature octets
	}
}

// octets are written in hexadecimal.
type octets []byte

func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.DecodeString(string(text))
	return err
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	content, err := os.ReadFile("testdata/webauthn-level-3.json")
	if err != nil {
		t.Fatal(err)
	}
	var read vectors
	if err := json.Unmarshal(content, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// named returns the vector of a section.
func (v vectors) named(t testing.TB, name string) vector {
	t.Helper()
	for _, candidate := range v.Vectors {
		if candidate.Name == name {
			return candidate
		}
	}
	t.Fatalf("there is no vector %q", name)
	return vector{}
}

// desk is where the vectors are answers.
func (v vectors) desk(t testing.TB) *desk {
	t.Helper()
	return newDesk(t, func(c *Config) { c.RPID, c.Origins = v.RPID, []string{v.Origin} })
}

// created is what a browser sends of the registration.
func (v vector) created(t testing.TB) string {
	t.Helper()
	return (&forger{id: v.CredentialID}).answer(t, map[string]any{
		"clientDataJSON":    base64URL(v.Registration.ClientDataJSON),
		"attestationObject": base64URL(v.Registration.AttestationObject),
	})
}

// shown is what a browser sends of the assertion.
func (v vector) shown(t testing.TB) string {
	t.Helper()
	return (&forger{id: v.CredentialID}).answer(t, map[string]any{
		"clientDataJSON":    base64URL(v.Authentication.ClientDataJSON),
		"authenticatorData": base64URL(v.Authentication.AuthenticatorData),
		"signature":         base64URL(v.Authentication.Signature),
	})
}

// chooses has the next challenge be a given one.
func (d *desk) chooses(challenge []byte) { d.factor.random = bytes.NewReader(challenge) }

// asking is the state of a ceremony that has a given challenge: one of another
// length than ours can only be put into it afterwards.
func asking(t testing.TB, challenge, state []byte) []byte {
	t.Helper()
	if len(challenge) == challengeBytes {
		return state
	}
	return changed(t, state, func(c *ceremony) { c.Session.Challenge = base64URL(challenge) })
}

// changed is the state of a ceremony that was begun otherwise.
func changed(t testing.TB, state []byte, change func(*ceremony)) []byte {
	t.Helper()
	var begun ceremony
	if err := json.Unmarshal(state, &begun); err != nil {
		t.Fatal(err)
	}
	change(&begun)
	return encoded(t, begun)
}

// begins begins the registration of a vector.
func (d *desk) begins(v vector) (state []byte) {
	d.t.Helper()
	d.chooses(v.Registration.Challenge)
	_, state = d.begin(alice)
	return asking(d.t, v.Registration.Challenge, state)
}

// shows has the key of a vector make its assertion.
func (d *desk) shows(v vector, k *key) {
	d.t.Helper()
	d.chooses(v.Authentication.Challenge)
	_, state := d.challenge(alice, k.row)
	got := d.check(alice, asking(d.t, v.Authentication.Challenge, state), v.shown(d.t), k.row)
	verified := v.Authentication.AuthenticatorData[32]&userVerified != 0
	if !got.Accepted() || got.UserVerified != verified || got.CredentialID != k.row.ID {
		d.t.Errorf("%+v, want an acceptance, with the user verified: %t", got, verified)
	}
}

// withoutAttestation is the registration as browsers hand it on to who asks for
// no attestation (§5.1.3).
func (v vector) withoutAttestation(t testing.TB) vector {
	t.Helper()
	var object map[string]any
	if err := webauthncbor.Unmarshal(v.Registration.AttestationObject, &object); err != nil {
		t.Fatal(err)
	}
	object["fmt"], object["attStmt"] = "none", map[string]any{}
	clear(object["authData"].([]byte)[37:53]) // the AAGUID
	var err error
	if v.Registration.AttestationObject, err = webauthncbor.Marshal(object); err != nil {
		t.Fatal(err)
	}
	return v
}

// refusal says why a vector is refused, and how it would not be.
type refusal struct {
	why    string
	accept func(*testing.T, *desk, *ceremony, *vector)
}

// refusals are the vectors that are refused.
var refusals = map[string]refusal{
	"none-es256-crossOrigin": {"the portal is in no frame of another origin", func(_ *testing.T, d *desk, _ *ceremony, _ *vector) {
		d.factor.party.Config.RPAllowCrossOrigin = true
	}},
	"none-es256-topOrigin": {"the portal is in no frame, whatever page that is on", func(_ *testing.T, d *desk, _ *ceremony, _ *vector) {
		d.factor.party.Config.RPAllowCrossOrigin = true
		d.factor.party.Config.RPTopOrigins = []string{"https://example.com"}
	}},
	"packed-es512": {"ES512 isn't offered", func(_ *testing.T, _ *desk, c *ceremony, _ *vector) {
		c.Session.CredParams = append(c.Session.CredParams, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES512})
	}},
	"tpm-es256":         {"it names a maker of TPMs that there isn't", acceptWithoutAttestation},
	"android-key-es256": {"its certificates end at a root of the specification's, not at Google's", acceptWithoutAttestation},
	"apple-es256":       {"its certificates end at a root of the specification's, not at Apple's", acceptWithoutAttestation},
}

func acceptWithoutAttestation(t *testing.T, _ *desk, _ *ceremony, v *vector) {
	*v = v.withoutAttestation(t)
}

// TestSpecificationVectors enrols the keys of the specification's test vectors
// and shows them (§16).
func TestSpecificationVectors(t *testing.T) {
	all := readVectors(t)
	if len(all.Vectors) != 14 {
		t.Errorf("there are %d vectors", len(all.Vectors))
	}
	for _, v := range all.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			d := all.desk(t)
			state := d.begins(v)
			if refused, ok := refusals[v.Name]; ok {
				d.expectNotEnrolled(refused.why, d.checkEnrolment(alice, state, v.created(t)), factors.Wrong)
				state = changed(t, state, func(c *ceremony) { refused.accept(t, d, c, &v) })
			}
			d.shows(v, d.keep(new(key), d.checkEnrolment(alice, state, v.created(t))))
		})
	}
}

// TestSpecificationVectorsReworded has the client data say the same by other
// bytes than were signed.
func TestSpecificationVectorsReworded(t *testing.T) {
	all := readVectors(t)
	for _, v := range all.Vectors {
		if _, ok := refusals[v.Name]; ok {
			continue
		}
		d := all.desk(t)
		state := d.begins(v)
		k := d.keep(new(key), d.checkEnrolment(alice, state, v.created(t)))
		v.Registration.ClientDataJSON = append(v.Registration.ClientDataJSON, ' ')
		v.Authentication.ClientDataJSON = append(v.Authentication.ClientDataJSON, ' ')
		if got := d.checkEnrolment(alice, state, v.created(t)); strings.HasPrefix(v.Name, "none-") {
			d.keep(new(key), got) // nothing of it is signed
		} else {
			d.expectNotEnrolled(v.Name, got, factors.Wrong)
		}
		d.chooses(v.Authentication.Challenge)
		_, state = d.challenge(alice, k.row)
		d.expectRefused(v.Name, d.check(alice, state, v.shown(t), k.row), factors.Wrong)
	}
}
