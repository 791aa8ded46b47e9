package authflow_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/fido"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
)

// yubiKey is the AAGUID of a "YubiKey 5 with NFC".
var yubiKey = [16]byte{0x2f, 0xc0, 0x57, 0x9f, 0x81, 0x13, 0x47, 0xea, 0xb1, 0x16, 0xbb, 0x5a, 0x8d, 0xb9, 0x20, 0x2a}

// bind has keys bound to another RP ID from now on.
func (h *house) bind(rpID string) {
	h.t.Helper()
	keys, err := fido.New(fido.Config{RPID: rpID, Origins: []string{keySite.Origin}, Brand: "Test"}, h.clock, rand.Reader)
	h.must(err)
	h.vault.Factors = factors.Set{h.vault.Factors[0], keys, h.vault.Factors[2]}
}

// TestKeysOfAnotherRPID shows what becomes of a key when the RP ID changes, and
// when it changes back.
func TestKeysOfAnotherRPID(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.person("ada")
	k := newSecurityKey()
	f := ada.adding()
	h.must(h.enrolKey(f, k.created(h, f)))
	h.pass(time.Minute)
	row := h.credential(ada.id, assurance.FIDO)
	if row.Realm != keySite.ID {
		t.Errorf("it is bound to %q", row.Realm)
	}

	h.bind("example.com")
	step, err := h.Step(h.ctx, ada.shown(person.Client{}), assurance.FIDO)
	h.must(err)
	if step.Factor != assurance.TOTP {
		t.Errorf("asked for %s", step.Factor)
	}
	if _, err := h.Challenge(h.ctx, ada.shown(person.Client{}), assurance.FIDO, person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("asked for all the same: %v", err)
	}
	if held := ada.named("Security key or passkey"); !held.Elsewhere || held.Realm != keySite.ID {
		t.Errorf("%+v", held)
	}
	// It isn't asked for before changes, is named to no authenticator, and isn't
	// among what can be lost.
	f = ada.adding()
	made, err := h.Enrolment(h.ctx, h.load(f), assurance.FIDO, person.Client{})
	h.must(err)
	if !strings.Contains(options(made), `"id":"example.com"`) || strings.Contains(options(made), "excludeCredentials\":[{") {
		t.Errorf("asked for %s", options(made))
	}
	losable, err := h.Losable(h.ctx, ada.shown(person.Client{}))
	h.must(err)
	for _, held := range losable {
		if held.Kind == assurance.FIDO {
			t.Error("it can be lost")
		}
	}

	h.bind(keySite.ID)
	f = ada.shown(person.Client{})
	h.must(h.showKey(f, k.shown(h, f), person.Client{}))
}

// TestAKeyOfAnotherRPIDIsNoWayIn holds that such a key can go whatever else
// there is, and doesn't let the last other one go.
func TestAKeyOfAnotherRPIDIsNoWayIn(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.person("ada")
	k := newSecurityKey()
	f := ada.adding()
	h.must(h.enrolKey(f, k.created(h, f)))
	h.pass(time.Minute)
	h.bind("example.com")
	phone := h.credential(ada.id, assurance.TOTP)
	if _, err := h.Remove(h.ctx, ada.in(), ada.user(), phone.ID, person.Client{}); !errors.Is(err, selfservice.ErrLastWayIn) {
		t.Errorf("the last one that works: %v", err)
	}
	h.pass(time.Minute)
	old := h.credential(ada.id, assurance.FIDO)
	if _, err := h.Remove(h.ctx, ada.in(), ada.user(), old.ID, person.Client{}); err != nil {
		t.Errorf("the one that doesn't: %v", err)
	}
}

// TestTheOnlyKeyCanGoOnceItWorksNoMore removes it in a sign-on that it opened.
func TestTheOnlyKeyCanGoOnceItWorksNoMore(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.person("ada")
	k := newSecurityKey()
	f := ada.adding()
	h.must(h.enrolKey(f, k.created(h, f)))
	phone := h.credential(ada.id, assurance.TOTP)
	h.must(h.store.DeleteCredential(h.ctx, phone.ID, phone.Version))
	f = ada.shown(person.Client{})
	h.must(h.showKey(f, k.shown(h, f), person.Client{}))
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	key := h.credential(ada.id, assurance.FIDO)
	if _, err := h.Remove(h.ctx, granted.SignOn, ada.user(), key.ID, person.Client{}); !errors.Is(err, selfservice.ErrLastWayIn) {
		t.Errorf("while it works: %v", err)
	}
	h.bind("example.com")
	if _, err := h.Remove(h.ctx, granted.SignOn, ada.user(), key.ID, person.Client{}); err != nil {
		t.Errorf("when it works no more: %v", err)
	}
}

// TestNamesOfModels holds what a new key is called.
func TestNamesOfModels(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.person("ada")
	first := newSecurityKey()
	first.device.Aaguid = yubiKey
	adding := ada.adding()
	h.must(h.enrolKey(adding, first.created(h, adding)))
	ada.named("YubiKey 5 with NFC")
	h.pass(time.Minute)
	for _, c := range []struct {
		aaguid        [16]byte
		name, unnamed string
		want          string
	}{
		{yubiKey, "", "Sicherheitsschlüssel", "YubiKey 5 with NFC 2"},
		{yubiKey, "", "", "YubiKey 5 with NFC 3"},
		{yubiKey, "Red key", "Sicherheitsschlüssel", "Red key"},
		{[16]byte{}, "", "Sicherheitsschlüssel", "Sicherheitsschlüssel"},
		{[16]byte{}, "", "", "Security key or passkey"},
		{[16]byte{1}, "Blue key", "", "Blue key"},
	} {
		f := ada.addingBy(first)
		k := newSecurityKey()
		k.device.Aaguid = c.aaguid
		answer := k.created(h, f)
		answer.Name, answer.Unnamed = c.name, c.unnamed
		h.must(h.enrolKey(f, answer))
		ada.named(c.want)
		h.pass(time.Minute)
	}
}

// addingBy is adding for somebody who has a key, and is asked for it first.
func (p *member) addingBy(has *securityKey) authflow.Flow {
	p.h.t.Helper()
	f := p.shown(person.Client{})
	p.h.must(p.h.showKey(f, has.shown(p.h, f), person.Client{}))
	granted, err := p.h.Grant(p.h.ctx, p.h.load(f), "", person.Client{})
	p.h.must(err)
	f, err = p.h.BeginEnrolment(p.h.ctx, granted.SignOn, p.user(), authflow.Adding{Kind: assurance.FIDO, Return: "/account"}, person.Client{})
	p.h.must(err)
	return f
}

// picky lets no key in.
type picky struct{ *fido.Factor }

func (p picky) Enrolling() factors.Ceremony { return refusing{p.Factor.Enrolling()} }

type refusing struct{ factors.Ceremony }

func (refusing) Check(context.Context, factors.Asking, []byte, factors.Answer) (factors.Verdict, error) {
	return factors.Verdict{
		Reason: factors.Disallowed, Closes: true, Barred: true, Model: factors.Model{ID: "2fc0579f", Name: "YubiKey 5"},
		Made: factors.Made{Unique: "of-no-use"},
	}, nil
}

// TestBarredKeysAreAnEvent holds what is written down of a key that isn't let
// in, and that its challenge is spent.
func TestBarredKeysAreAnEvent(t *testing.T) {
	h := newHouseWithKeys(t, false)
	keys := h.vault.Factors[1].(*fido.Factor)
	h.vault.Factors[1] = picky{keys}
	ada := h.person("ada")
	f := ada.adding()
	made, err := h.Enrolment(h.ctx, h.load(f), assurance.FIDO, person.Client{})
	h.must(err)
	if _, err := virtualwebauthn.ParseAttestationOptions(options(made)); err != nil {
		t.Fatal(err)
	}
	answer := authflow.EnrolmentAnswer{Factor: assurance.FIDO, Answer: factors.Answer{"credential": "{}"}}
	err = h.AnswerEnrolment(h.ctx, h.load(f), answer, from("192.0.2.7"))
	refused := new(factors.Refused)
	if !errors.As(err, &refused) || refused.Reason != factors.Disallowed || refused.Model != "YubiKey 5" || refused.Credential != "of-no-use" {
		t.Errorf("%v", err)
	}
	events := h.events(audit.FactorBarred)
	if len(events) != 1 || events[0].UserID != ada.id {
		t.Fatalf("the events are %+v", events)
	}
	for field, want := range map[string]string{
		"user": "ada", "factor": "fido", "reason": "disallowed", "model_id": "2fc0579f", "model": "YubiKey 5", "address": "192.0.2.7",
	} {
		if got := events[0].Fields[field]; got != want {
			t.Errorf("%s is %q", field, got)
		}
	}
	if err := h.AnswerEnrolment(h.ctx, h.load(f), answer, person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("the challenge again: %v", err)
	}
}
