package fido

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/portcullis-mfa/portcullis/factors"
)

// seed gives a fuzzer all that browsers send in the specification's test
// vectors, and what is hardly anything.
func (v vectors) seed(f *testing.F) {
	f.Helper()
	for _, vector := range v.Vectors {
		f.Add(vector.created(f))
		f.Add(vector.shown(f))
	}
	for _, little := range []string{"", "null", "{}", `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`} {
		f.Add(little)
	}
}

// FuzzCheck sends anything as an assertion: nothing is accepted but what the
// key has signed, and a refusal says only why.
func FuzzCheck(f *testing.F) {
	all := readVectors(f)
	all.seed(f)
	// There is one signature by this key of what it signs, and no other.
	d, v := all.desk(f), all.named(f, "packed-eddsa")
	k := d.keep(new(key), d.checkEnrolment(alice, d.begins(v), v.created(f)))
	d.chooses(v.Authentication.Challenge)
	_, state := d.challenge(alice, k.row)
	right := v.shown(f)
	if got := d.check(alice, state, right, k.row); !got.Accepted() {
		f.Fatalf("%+v", got)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		got, err := d.factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{k.row}}, state, answered(answer))
		if err != nil || got.Accepted() && !isSame(t, right, answer) {
			t.Errorf("%+v, %v", got, err)
		}
		if !got.Accepted() && !reflect.DeepEqual(got, factors.Verdict{Reason: got.Reason, Closes: true}) {
			t.Errorf("a refusal with something of a pass: %+v", got)
		}
	})
}

// newKeyDesk is an enrolment that waits for the key of a vector.
type newKeyDesk struct {
	*desk
	vector
	origin string
	state  []byte
}

func awaitNewKey(f *testing.F, all vectors) newKeyDesk {
	f.Helper()
	n := newKeyDesk{desk: all.desk(f), vector: all.named(f, "none-es256"), origin: all.Origin}
	n.state = n.begins(n.vector)
	n.keep(new(key), n.checkEnrolment(alice, n.state, n.created(f)))
	return n
}

// offer sends an answer: nothing is accepted but what answers the challenge, at
// the right place, with a key that can be shown; and a refusal says only why.
func (n newKeyDesk) offer(t *testing.T, answer string) {
	t.Helper()
	got, err := n.factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, n.state, answered(answer))
	if err != nil {
		t.Fatal(err)
	}
	if !got.Accepted() {
		if !reflect.DeepEqual(got, factors.Verdict{Reason: got.Reason, Closes: true}) {
			t.Errorf("a refusal with something of a pass: %+v", got)
		}
		return
	}
	record, err := unmarshal(got.Made.Secret)
	if err != nil || checkKey(record.PublicKey) != nil || got.Made.Unique != base64URL(record.ID) || got.UserVerified != record.Flags.UserVerified {
		t.Errorf("%+v, %v", got, err)
	}
	var browser struct{ Type, Challenge, Origin string }
	if err := json.Unmarshal(record.Attestation.ClientDataJSON, &browser); err != nil ||
		browser.Type != "webauthn.create" || browser.Challenge != base64URL(n.Registration.Challenge) || browser.Origin != n.origin {
		t.Errorf("accepted %s, %v", record.Attestation.ClientDataJSON, err)
	}
}

// FuzzCheckEnrolment sends anything as a new key.
func FuzzCheckEnrolment(f *testing.F) {
	all := readVectors(f)
	all.seed(f)
	n := awaitNewKey(f, all)
	f.Fuzz(func(t *testing.T, answer string) { n.offer(t, answer) })
}

// FuzzAttestationObject sends anything as what the new key itself says.
func FuzzAttestationObject(f *testing.F) {
	all := readVectors(f)
	for _, v := range all.Vectors {
		f.Add([]byte(v.CredentialID), []byte(v.Registration.AttestationObject))
	}
	n := awaitNewKey(f, all)
	f.Fuzz(func(t *testing.T, id, object []byte) {
		v := n.vector
		v.CredentialID, v.Registration.AttestationObject = id, object
		n.offer(t, v.created(t))
	})
}
