package authflow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// device gives the person a machine with a certificate.
func (p *member) device(id string, expires time.Duration) store.Device {
	p.h.t.Helper()
	d := store.Device{
		ID: id, UserID: p.id, Name: id, State: store.DeviceActive, Certificate: "certificate of " + id, Serial: "0badcafe",
		Issued: p.h.clock(), Expires: p.h.clock().Add(expires),
	}
	p.h.must(p.h.store.CreateDevice(p.h.ctx, d))
	return d
}

func TestOwnDevices(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.person("ada"), h.person("bob")
	laptop, revoked := ada.device("laptop", 24*time.Hour), ada.device("revoked", 24*time.Hour)
	ada.device("expired", 0)
	phone := bob.device("phone", 24*time.Hour)
	h.must(h.store.RevokeDevice(h.ctx, revoked.ID, h.clock(), "x"))
	here := ada.in()
	opened := store.SignOn{
		ID: "by the laptop", UserID: ada.id, Started: h.clock(), Expires: h.clock().Add(time.Hour), Idle: time.Hour, LastSeen: h.clock(),
		Proofs: []assurance.Proof{{Factor: assurance.Certificate, At: h.clock(), Credential: laptop.ID}},
	}
	h.must(h.store.CreateSignOn(h.ctx, opened))

	own, err := h.DevicesOf(h.ctx, ada.id)
	if err != nil || len(own) != 1 || own[0].ID != laptop.ID {
		t.Errorf("has %+v, %v", own, err)
	}
	for _, id := range []string{phone.ID, revoked.ID, "expired", "", "nowhere"} {
		if err := h.RevokeDevice(h.ctx, here, ada.user(), id, person.Client{}); !errors.Is(err, person.ErrNoDevice) {
			t.Errorf("revoking %q: %v", id, err)
		}
	}
	// A device is no fresh check, and opens no account.
	if err := h.RevokeDevice(h.ctx, opened, ada.user(), laptop.ID, person.Client{}); !errors.Is(err, person.ErrStale) {
		t.Errorf("revoked by the device itself: %v", err)
	}
	h.must(h.RevokeDevice(h.ctx, here, ada.user(), laptop.ID, person.Client{}))
	if h.lives(opened) || !h.lives(here) {
		t.Error("what the device opened lives on, or more has ended")
	}
	ended, err := h.store.SignOnByID(h.ctx, opened.ID)
	if err != nil || ended.EndReason != session.EndedDevice {
		t.Errorf("ended for %q, %v", ended.EndReason, err)
	}
	for name, want := range map[audit.Name]int{audit.DeviceRevoked: 1, audit.SignOnEnded: 1} {
		if got := len(h.events(name)); got != want {
			t.Errorf("%d events %s, want %d", got, name, want)
		}
	}
	if d, err := h.store.DeviceByID(h.ctx, phone.ID); err != nil || !d.Revoked.IsZero() {
		t.Errorf("somebody else's is revoked: %+v, %v", d, err)
	}
}

func TestRevokingADeviceAsksForAFreshCheck(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	laptop, here := ada.device("laptop", 24*time.Hour), ada.in()
	h.pass(person.FreshFor)
	if err := h.RevokeDevice(h.ctx, here, ada.user(), laptop.ID, person.Client{}); !errors.Is(err, person.ErrStale) {
		t.Errorf("after %s: %v", person.FreshFor, err)
	}
	if d, err := h.store.DeviceByID(h.ctx, laptop.ID); err != nil || !d.Revoked.IsZero() {
		t.Errorf("revoked all the same: %+v, %v", d, err)
	}
}

// TestDevicesMakeNoBrowserKnown has whoever holds a device and knows the password
// come again and again: each known browser would be another count of guesses at
// the second factor.
func TestDevicesMakeNoBrowserKnown(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	laptop := ada.device("laptop", 24*time.Hour)
	granted, err := h.SignInDevice(h.ctx, authflow.DeviceLogin{ID: laptop.ID, Expires: laptop.Expires}, "", person.Client{})
	h.must(err)
	f, err := h.BeginStepUp(h.ctx, authflow.Raise{
		SignOn: granted.SignOn, User: ada.user(), Ask: assurance.Requirement{Level: assurance.Single, Certificate: assurance.CertificateAdded},
	})
	h.must(err)
	h.must(h.AnswerPassword(h.ctx, h.load(f), ada.password, person.Client{}))
	raised, err := h.Grant(h.ctx, h.load(f), granted.SignOn.ID, person.Client{})
	h.must(err)
	known, err := h.store.BrowsersOf(h.ctx, ada.id)
	h.must(err)
	if granted.Browser != "" || raised.Browser != "" || len(known) > 1 {
		t.Errorf("%q and %q, known: %d", granted.Browser, raised.Browser, len(known))
	}
}

// TestF06DevicesAreReadAgainAtThePortal has what the gate found out be over by
// the time that the device signs in.
func TestF06DevicesAreReadAgainAtThePortal(t *testing.T) {
	for name, apply := range map[string]func(h *house, p *member, d store.Device){
		"revoked": func(h *house, _ *member, d store.Device) {
			h.must(h.store.RevokeDevice(h.ctx, d.ID, h.clock(), "lost"))
		},
		"expired": func(h *house, _ *member, _ store.Device) { h.pass(25 * time.Hour) },
		"disabled": func(h *house, p *member, _ store.Device) {
			user := p.user()
			user.Status = store.UserDisabled
			h.must(h.store.UpdateUser(h.ctx, user))
		},
		"deleted": func(h *house, p *member, _ store.Device) { h.must(h.store.DeleteUser(h.ctx, p.id)) },
	} {
		h := newHouse(t)
		ada := h.person("ada")
		laptop := ada.device("laptop", 24*time.Hour)
		apply(h, ada, laptop)
		before, err := h.store.ListSignOns(h.ctx, "", h.clock(), store.Page[store.SignOn]{})
		h.must(err)
		granted, err := h.SignInDevice(h.ctx, authflow.DeviceLogin{ID: laptop.ID, Expires: laptop.Expires}, "", person.Client{})
		if !errors.Is(err, person.ErrNoDevice) || granted.SignOn.ID != "" {
			t.Errorf("%s: %+v, %v", name, granted.SignOn, err)
		}
		if after, err := h.store.ListSignOns(h.ctx, "", h.clock(), store.Page[store.SignOn]{}); err != nil || len(after) != len(before) {
			t.Errorf("%s: %+v, %v", name, after, err)
		}
	}
}

// TestSignOnsOfDevicesEndWithTheCertificate signs in by certificates that end
// before a sign-on would, and by one of a CA that does.
func TestSignOnsOfDevicesEndWithTheCertificate(t *testing.T) {
	for _, test := range []struct{ device, chain, want time.Duration }{
		{24 * time.Hour, 24 * time.Hour, 12 * time.Hour},
		{time.Hour, 24 * time.Hour, time.Hour},
		{24 * time.Hour, 2 * time.Hour, 2 * time.Hour},
	} {
		h := newHouse(t)
		laptop := h.person("ada").device("laptop", test.device)
		granted, err := h.SignInDevice(h.ctx, authflow.DeviceLogin{ID: laptop.ID, Expires: h.clock().Add(test.chain)}, "", person.Client{})
		h.must(err)
		if lasts := granted.SignOn.Expires.Sub(h.clock()); lasts != test.want {
			t.Errorf("%+v: it lasts for %s", test, lasts)
		}
		told := h.events(audit.SignInSucceeded)
		if fields := told[0].Fields; fields["device"] != "laptop" || fields["factors"] != "certificate" || fields["user"] != "ada" {
			t.Errorf("%+v: what is told of it is %v", test, fields)
		}
		kept, err := h.store.SignOnByID(h.ctx, granted.SignOn.ID)
		if err != nil || !kept.Expires.Equal(granted.SignOn.Expires) {
			t.Errorf("kept until %s, %v", kept.Expires, err)
		}
	}
}
