package authflow_test

import (
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
	"github.com/portcullis-mfa/portcullis/undo"
)

// S04: the link of a notice ends a sign-in, whatever its browser has done since to stay.
func TestLinksOfNoticesEndWhatCameOfASignIn(t *testing.T) {
	h := remembering(t)
	ada := h.person("ada")
	thief := person.Client{Address: "192.0.2.66"}
	f := ada.shown(thief)
	h.must(ada.tick(f, thief))
	first, err := h.Grant(h.ctx, h.load(f), "", thief)
	h.must(err)
	h.must(h.store.Atomically(h.ctx, func(tx store.Tx) error {
		return undo.Keep(h.ctx, tx, ada.id, "link", undo.Target{SignOn: first.SignOn.ID}, h.clock())
	}))
	h.pass(time.Minute)
	renewed, err := h.ChangePassword(h.ctx, first.SignOn, ada.user(), selfservice.PasswordChange{Current: ada.password, New: "another lantern orchard 58"}, thief)
	h.must(err)
	ada.password = "another lantern orchard 58"
	ada.hasAppPassword("Script")
	machine := ada.device("machine", 24*time.Hour)
	h.pass(time.Minute)
	ada.renews(machine)
	f = ada.shown(thief)
	h.must(ada.tick(f, thief))
	again, err := h.Grant(h.ctx, h.load(f), "", thief)
	h.must(err)
	h.must(undo.New(undo.Settings{Store: h.store, People: h.people, Clock: h.clock}).Undo(h.ctx, "link", "ada", person.Client{}))
	if h.lives(first.SignOn) || h.lives(renewed.SignOn) || h.lives(again.SignOn) {
		t.Error("a sign-on goes on")
	}
	all, err := h.store.BrowsersOf(h.ctx, ada.id)
	h.must(err)
	for _, b := range all {
		if person.IsRemembered(b, h.clock()) {
			t.Errorf("the browser of %v is remembered", b.Created)
		}
	}
	if !ada.isRevoked("Script") {
		t.Error("an app password that was created since works on")
	}
	if ada.isActive(machine) {
		t.Error("a machine that became a device since opens apps")
	}
}

// renews gives a device of hers another certificate now.
func (p *member) renews(d store.Device) {
	p.h.t.Helper()
	d, err := p.h.store.DeviceByID(p.h.ctx, d.ID)
	p.h.must(err)
	d.Certificate, d.Issued, d.Expires = "next "+d.Certificate, p.h.clock(), p.h.clock().Add(24*time.Hour)
	p.h.must(p.h.store.RenewDevice(p.h.ctx, d))
}

func (p *member) isActive(d store.Device) bool {
	p.h.t.Helper()
	d, err := p.h.store.DeviceByID(p.h.ctx, d.ID)
	p.h.must(err)
	return d.State == store.DeviceActive
}

// hasAppPassword gives her an app password that is created now.
func (p *member) hasAppPassword(name string) {
	p.h.must(p.h.store.CreateAccessToken(p.h.ctx, store.AccessToken{
		ID: name, UserID: p.id, Name: name, Selector: name, Scope: []byte("{}"), Created: p.h.clock(), Expires: p.h.clock().AddDate(1, 0, 0),
	}))
}

func (p *member) isRevoked(name string) bool {
	row, err := p.h.store.AccessTokenBySelector(p.h.ctx, name)
	p.h.must(err)
	return !row.Revoked.IsZero()
}

// TestLinksOfNoticesLeaveWhatWasThereBefore alone.
func TestLinksOfNoticesLeaveWhatWasThereBefore(t *testing.T) {
	h := remembering(t)
	ada := h.person("ada")
	owner := ada.remembered()
	before := ada.in()
	ada.hasAppPassword("Mail")
	laptop := ada.device("laptop", 24*time.Hour)
	h.pass(time.Minute)
	noticed := ada.in()
	ada.renews(laptop)
	h.must(h.store.Atomically(h.ctx, func(tx store.Tx) error {
		return undo.Keep(h.ctx, tx, ada.id, "link", undo.Target{SignOn: noticed.ID}, h.clock())
	}))
	h.must(undo.New(undo.Settings{Store: h.store, People: h.people, Clock: h.clock}).Undo(h.ctx, "link", "ada@example.com", person.Client{}))
	if h.lives(noticed) || !h.lives(before) {
		t.Error("the link didn't end what it names, or it ended what was there before")
	}
	known, err := h.store.BrowserByToken(h.ctx, ada.id, token.Hash(owner.Browser))
	h.must(err)
	if !person.IsRemembered(known, h.clock()) {
		t.Error("the owner's browser isn't remembered any more")
	}
	if ada.isRevoked("Mail") {
		t.Error("an app password that was there before is revoked")
	}
	if !ada.isActive(laptop) {
		t.Error("a device that was there before, and renewed its certificate since, is suspended")
	}
}
