package authflow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
)

// offering is a house whose operator has passkeys offered.
func offering(t *testing.T) *house {
	h := newHouseWithKeys(t, false)
	h.Rules.UpgradeOffer = true
	return h
}

// able signs somebody in by a code, in a browser that can keep a passkey.
func (p *member) able() authflow.Granted {
	p.h.t.Helper()
	f := p.shown(person.Client{})
	p.h.must(p.h.Answer(p.h.ctx, f, authflow.Response{
		Factor: assurance.TOTP, Answer: factors.Answer{"code": p.code()}, CanPasskey: true,
	}, person.Client{}))
	granted, err := p.h.Grant(p.h.ctx, p.h.load(f), "", person.Client{})
	p.h.must(err)
	p.h.pass(time.Minute) // so that a new code is there
	return granted
}

func (p *member) expectOffered(when string, want bool) authflow.Granted {
	p.h.t.Helper()
	granted := p.able()
	if granted.OfferPasskey != want {
		p.h.t.Errorf("%s: a passkey is offered to %s: %v", when, p.name, granted.OfferPasskey)
	}
	return granted
}

// TestPasskeysAreOfferedNowAndThen offers one once a day at most, and not for
// 30 days after "not now".
func TestPasskeysAreOfferedNowAndThen(t *testing.T) {
	h := offering(t)
	h.store.inVain = true
	ada, bob := h.person("ada"), h.person("bob")
	first := h.clock()
	ada.expectOffered("at first", true)
	ada.expectOffered("a minute later", false)
	bob.expectOffered("at first", true)
	h.pass(first.Add(authflow.OfferPause).Sub(h.clock()) - time.Second)
	ada.expectOffered("within the day", false)
	ada.expectOffered("a day later", true)

	h.must(h.DeclinePasskey(h.ctx, ada.user()))
	declined := h.clock()
	h.must(h.DeclinePasskey(h.ctx, ada.user())) // in another tab
	h.pass(authflow.OfferPause)
	ada.expectOffered("the day after “not now”", false)
	bob.expectOffered("after somebody else's “not now”", true)
	h.pass(declined.Add(month).Sub(h.clock()) - time.Second)
	ada.expectOffered("within 30 days", false)
	ada.expectOffered("30 days later", true)
}

func TestPasskeysAreNotOffered(t *testing.T) {
	h := offering(t)
	ada := h.person("ada")
	h.Rules.UpgradeOffer = false
	ada.expectOffered("where the operator doesn't want that", false)
	h.Rules.UpgradeOffer = true
	h.Rules.Offered = func(kind assurance.Factor, platform string) bool { return kind != assurance.FIDO }
	ada.expectOffered("on a platform where keys aren't asked for", false)
	h.Rules.Offered = nil

	granted, err := h.Grant(h.ctx, ada.complete(), "", person.Client{})
	h.must(err)
	if granted.OfferPasskey {
		t.Error("a passkey is offered in a browser that can't keep one")
	}
	h.pass(time.Minute)
	f := ada.lost()
	h.must(ada.backup(f, 0))
	ada = ada.replace(f)
	if granted, err = h.Grant(h.ctx, h.load(f), "", person.Client{}); err != nil || granted.OfferPasskey {
		t.Errorf("a passkey is offered to somebody who replaced a lost phone, or %v", err)
	}
	h.pass(time.Minute)
	ada.expectOffered("in the end", true)
}

// TestOfferedPasskeyIsSetUpOnTheWay goes on to where the person was going, and
// offers none to who has one.
func TestOfferedPasskeyIsSetUpOnTheWay(t *testing.T) {
	h := offering(t)
	ada := h.person("ada")
	s := ada.expectOffered("at first", true).SignOn
	f, err := h.BeginEnrolment(h.ctx, s, ada.user(), authflow.Adding{Kind: assurance.FIDO, Request: "the gate's request"}, person.Client{Platform: "ios"})
	h.must(err)
	k := newSecurityKey()
	h.must(h.enrolKey(f, k.created(h, f)))
	if f = h.load(f); f.Request != "the gate's request" || f.Return != "" || f.SignOn != s.ID || h.stepOf(f) != authflow.StepDone {
		t.Errorf("the enrolment ended as %+v", f)
	}
	h.pass(month)
	ada.expectOffered("with a passkey", false)
	if _, err := h.BeginEnrolment(h.ctx, s, ada.user(), authflow.Adding{Kind: assurance.FIDO}, person.Client{}); err == nil {
		t.Error("an old sign-on adds one more")
	}
	s = ada.able().SignOn
	if _, err := h.BeginEnrolment(h.ctx, s, ada.user(), authflow.Adding{Kind: assurance.FIDO}, person.Client{}); !errors.Is(err, person.ErrStale) {
		t.Errorf("F07: one more, without the one that is there: %v", err)
	}
}
