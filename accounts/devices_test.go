package accounts_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// issuer makes certificates that are nothing but a record of what was asked.
type issuer struct{ refusal error }

func (i issuer) Issue(d store.Device, request []byte) (store.Device, []*x509.Certificate, error) {
	d.Certificate, d.Serial = "certificate of "+string(request), "0badcafe"
	d.Issued, d.Expires = noon, noon.AddDate(0, 1, 0)
	above := &x509.Certificate{Raw: []byte("issuer of " + string(request)), NotAfter: noon.AddDate(1, 0, 0)}
	return d, []*x509.Certificate{new(x509.Certificate), above}, i.refusal
}

// issuing gives the office an issuer.
func (o *office) issuing(i accounts.Issuer) *office {
	clock := func() time.Time { return noon }
	o.Desk = accounts.NewDesk(o.store, nil, i, audit.NewLog(zap.NewNop(), o.store, clock), clock, rand.Reader)
	return o
}

func (o *office) device(user, name string) accounts.Device {
	o.t.Helper()
	device, _, err := o.IssueDevice(o.ctx, user, name, []byte(name))
	if err != nil {
		o.t.Fatal(err)
	}
	return device
}

func TestIssueDevice(t *testing.T) {
	o := newOffice(t).issuing(issuer{})
	ada := o.active("ada")
	device, chain, err := o.IssueDevice(o.ctx, "ADA", " Laptop ", []byte("request"))
	if err != nil || len(chain) != 2 || device.User != "ada" || device.UserID != ada.ID || device.Name != "Laptop" || device.ID == "" {
		t.Fatalf("%+v, %v, %v", device, chain, err)
	}
	kept, err := o.store.DeviceByCertificate(o.ctx, "certificate of request")
	if err != nil || kept.ID != device.ID || kept.Name != "Laptop" {
		t.Errorf("kept %+v, %v", kept, err)
	}
	above, err := o.store.ListIssuers(o.ctx)
	if err != nil || len(above) != 1 || string(above[0].Certificate) != "issuer of request" || !above[0].Expires.Equal(noon.AddDate(1, 0, 0)) {
		t.Errorf("kept as issuers %+v, %v", above, err)
	}
	if got := o.told(ada.ID); !slices.Equal(got, []string{"device.issued"}) {
		t.Errorf("events %v", got)
	}
}

func TestDevicesThatArentIssued(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name, user, device string
		issuer             accounts.Issuer
		want               string
	}{
		{"nobody issues", "ada", "Laptop", nil, accounts.ErrNoCA.Error()},
		{"to nobody", "nemo", "Laptop", issuer{}, accounts.ErrNobody.Error()},
		{"to somebody disabled", "dis", "Laptop", issuer{}, "enable them first"},
		{"without a name", "ada", " ", issuer{}, "needs a name"},
		{"with a name too long", "ada", strings.Repeat("é", 65), issuer{}, "at most 64 characters"},
		{"with a name that hides something", "ada", "a\u202eb", issuer{}, "name"},
		{"the CA fails", "ada", "Laptop", issuer{broken}, "broken"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := newOffice(t).issuing(test.issuer)
			o.active("ada")
			o.active("dis")
			o.must(o.Disable(o.ctx, "dis"))
			_, chain, err := o.IssueDevice(o.ctx, test.user, test.device, []byte("request"))
			if err == nil || !strings.Contains(err.Error(), test.want) || chain != nil {
				t.Errorf("got %v, %v", chain, err)
			}
			if all, err := o.Devices(o.ctx, ""); err != nil || len(all) != 0 {
				t.Errorf("kept %+v, %v", all, err)
			}
		})
	}
}

func TestDevicesAreFound(t *testing.T) {
	o := newOffice(t).issuing(issuer{})
	o.active("ada")
	o.active("bob")
	laptop, phone := o.device("ada", "Laptop"), o.device("bob", "Phone")
	for _, id := range []string{laptop.ID, audit.ShortID(laptop.ID)} {
		if got, err := o.Device(o.ctx, id); err != nil || got.ID != laptop.ID || got.User != "ada" {
			t.Errorf("%q: %+v, %v", id, got, err)
		}
	}
	for _, id := range []string{"", "0123456789ab", laptop.ID[:20], laptop.Serial, "Laptop"} {
		if _, err := o.Device(o.ctx, id); !errors.Is(err, accounts.ErrNoDevice) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for name, want := range map[string]int{"": 2, "ada": 1, "BOB": 1} {
		if all, err := o.Devices(o.ctx, name); err != nil || len(all) != want {
			t.Errorf("of %q: %+v, %v", name, all, err)
		}
	}
	if _, err := o.Devices(o.ctx, "nemo"); !errors.Is(err, accounts.ErrNobody) {
		t.Errorf("of nobody: %v", err)
	}
	renamed, err := o.RenameDevice(o.ctx, phone.ID, "Old phone")
	if err != nil || renamed.Name != "Old phone" || renamed.User != "bob" || renamed.Version != 2 {
		t.Errorf("renamed %+v, %v", renamed, err)
	}
	if _, err := o.RenameDevice(o.ctx, phone.ID, ""); err == nil {
		t.Error("a device without a name")
	}
}

// TestRevokeDevice ends what the device opened, and nothing else of its user's.
func TestRevokeDevice(t *testing.T) {
	o := newOffice(t).issuing(issuer{})
	ada := o.active("ada")
	laptop, tablet := o.device("ada", "Laptop"), o.device("ada", "Tablet")
	opened := func(id string, proofs ...assurance.Proof) {
		o.must(o.store.CreateSignOn(o.ctx, store.SignOn{
			ID: id, UserID: ada.ID, Started: noon, Expires: noon.Add(time.Hour), Idle: time.Hour, LastSeen: noon, Proofs: proofs,
		}))
	}
	by := func(d accounts.Device) assurance.Proof {
		return assurance.Proof{Factor: assurance.Certificate, At: noon, Credential: d.ID}
	}
	password := assurance.Proof{Factor: assurance.Password, At: noon}
	opened("by the laptop", by(laptop))
	opened("by it and a password", password, by(laptop))
	opened("by the tablet", by(tablet))
	opened("by a password", password)

	if _, err := o.RevokeDevice(o.ctx, laptop.ID, "whim"); err == nil || !strings.Contains(err.Error(), "There is no such reason.") {
		t.Errorf("for a whim: %v", err)
	}
	revoked, err := o.RevokeDevice(o.ctx, audit.ShortID(laptop.ID), "key_compromise")
	if err != nil || !revoked.Revoked.Equal(noon) || revoked.RevokeReason != "key_compromise" {
		t.Fatalf("%+v, %v", revoked, err)
	}
	for id, ends := range map[string]bool{"by the laptop": true, "by it and a password": true, "by the tablet": false, "by a password": false} {
		s, err := o.store.SignOnByID(o.ctx, id)
		if err != nil || s.Ended.IsZero() == ends || ends && s.EndReason != "device_revoked" {
			t.Errorf("%s: ended %s for %q, %v", id, s.Ended, s.EndReason, err)
		}
	}
	events := o.told(ada.ID)
	slices.Sort(events)
	if !slices.Equal(events, []string{"device.issued", "device.issued", "device.revoked", "sign_on.ended", "sign_on.ended"}) {
		t.Errorf("events %v", events)
	}
	if _, err := o.RevokeDevice(o.ctx, laptop.ID, ""); !errors.Is(err, accounts.ErrRevoked) {
		t.Errorf("twice: %v", err)
	}
	if unspecified, err := o.RevokeDevice(o.ctx, tablet.ID, ""); err != nil || unspecified.RevokeReason != "unspecified" {
		t.Errorf("without a reason: %+v, %v", unspecified, err)
	}
	if _, err := o.RevokeDevice(o.ctx, "nowhere", ""); !errors.Is(err, accounts.ErrNoDevice) {
		t.Errorf("one that isn't there: %v", err)
	}
}

// TestEndWithdrawn has the operator's CA take certificates back: what their
// devices opened ends, and the devices stay.
func TestEndWithdrawn(t *testing.T) {
	o := newOffice(t).issuing(issuer{})
	ada := o.active("ada")
	own := o.device("ada", "Laptop")
	for id, expires := range map[string]time.Time{"named": noon.Add(time.Hour), "other": noon.Add(time.Hour), "expired": noon} {
		o.must(o.store.CreateDevice(o.ctx, store.Device{
			ID: id, UserID: ada.ID, Name: id, State: store.DeviceActive, Certificate: id, Serial: id, Issuer: "CN=Company CA", Issued: noon, Expires: expires,
		}))
	}
	for _, id := range []string{own.ID, "named", "other", "expired"} {
		o.must(o.store.CreateSignOn(o.ctx, store.SignOn{
			ID: "by " + id, UserID: ada.ID, Started: noon, Expires: noon.Add(time.Hour), Idle: time.Hour, LastSeen: noon,
			Proofs: []assurance.Proof{{Factor: assurance.Certificate, At: noon, Credential: id}},
		}))
	}
	named := func(d store.Device) bool { return d.ID != "other" }
	for range 2 {
		o.must(o.EndWithdrawn(o.ctx, named))
	}
	for id, ends := range map[string]bool{own.ID: false, "named": true, "other": false, "expired": false} {
		if s, err := o.store.SignOnByID(o.ctx, "by "+id); err != nil || s.Ended.IsZero() == ends {
			t.Errorf("%s: ended %s, %v", id, s.Ended, err)
		}
	}
	if d, err := o.store.DeviceByID(o.ctx, "named"); err != nil || !d.Revoked.IsZero() {
		t.Errorf("the device: %+v, %v", d, err)
	}
	if events := o.told(ada.ID); !slices.Equal(events, []string{"device.issued", "sign_on.ended"}) {
		t.Errorf("events %v", events)
	}
}

// TestDevicesOfTheDeletedArentAdopted gives the name of a deleted user to
// another, and has the first one's devices come again.
func TestDevicesOfTheDeletedArentAdopted(t *testing.T) {
	o := newOffice(t).issuing(issuer{})
	o.active("ada")
	comes := func(raw string) (*x509.Certificate, error) {
		leaf := &x509.Certificate{Raw: []byte(raw), SerialNumber: big.NewInt(42), NotBefore: noon, NotAfter: noon.Add(time.Hour)}
		return leaf, o.Adopt(o.ctx, []*x509.Certificate{leaf}, devices.Owner{Name: "ada"})
	}
	for _, first := range []string{"laptop", "phone"} {
		_, err := comes(first)
		o.must(err)
	}
	own := o.device("ada", "Tablet")
	_, err := o.Delete(o.ctx, "ada")
	o.must(err)
	another := o.active("ada")
	for _, old := range []string{"laptop", "phone"} {
		leaf, err := comes(old)
		if !errors.Is(err, session.DeviceUnknown) {
			t.Errorf("the %s: %v", old, err)
		}
		if _, err := o.store.DeviceByCertificate(o.ctx, devices.Fingerprint(leaf)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the %s is kept: %v", old, err)
		}
	}
	if barred, err := o.store.IsBarred(o.ctx, own.Certificate); err != nil || barred {
		t.Errorf("one of the CA here, which nobody can adopt: barred %v, %v", barred, err)
	}
	leaf, err := comes("new laptop")
	o.must(err)
	if d, err := o.store.DeviceByCertificate(o.ctx, devices.Fingerprint(leaf)); err != nil || d.UserID != another.ID {
		t.Errorf("the new user's own: %+v, %v", d, err)
	}
}

// TestDevicesOfFormerHoldersArentAdopted gives somebody's name or address to
// another, in each way that there is, before the first one's device ever came.
func TestDevicesOfFormerHoldersArentAdopted(t *testing.T) {
	byName, byAddress := devices.Owner{Name: "alice"}, devices.Owner{Email: "alice@example.com"}
	text := func(s string) *string { return &s }
	for what, c := range map[string]struct {
		owner  devices.Owner
		giveUp func(o *office) error
	}{
		"deleted, by name":    {byName, func(o *office) error { return second(o.Delete(o.ctx, "alice")) }},
		"deleted, by address": {byAddress, func(o *office) error { return second(o.Delete(o.ctx, "alice")) }},
		"renamed": {byName, func(o *office) error {
			return second(o.Set(o.ctx, "alice", accounts.Changes{Name: text("alicia"), Email: text("")}))
		}},
		"of another address": {byAddress, func(o *office) error {
			return second(o.Set(o.ctx, "alice", accounts.Changes{Name: text("alicia"), Email: text("alicia@example.com")}))
		}},
		"without the address": {byAddress, func(o *office) error {
			return second(o.Set(o.ctx, "alice", accounts.Changes{Name: text("alicia"), Email: text("")}))
		}},
	} {
		t.Run(what, func(t *testing.T) {
			o := newOffice(t)
			comes := func(issued time.Time) error {
				leaf := &x509.Certificate{
					Raw: []byte(issued.String()), SerialNumber: big.NewInt(42), NotBefore: issued, NotAfter: noon.Add(time.Hour),
				}
				return o.Adopt(o.ctx, []*x509.Certificate{leaf}, c.owner)
			}
			alice := accounts.NewUser{Name: "alice", Email: "alice@example.com"}
			_, _, err := o.Add(o.ctx, alice)
			o.must(err)
			o.must(c.giveUp(o))
			for _, old := range []time.Time{noon.Add(-time.Hour), noon} {
				if err := comes(old); !errors.Is(err, session.DeviceUnknown) {
					t.Errorf("with nobody of the name: %v", err)
				}
			}
			another, _, err := o.Add(o.ctx, alice)
			o.must(err)
			refused := session.RefusedDevice{}
			for _, old := range []time.Time{noon.Add(-time.Hour), noon} {
				if err := comes(old); !errors.As(err, &refused) || refused.DeviceRefusal != session.DeviceOfFormerHolder ||
					refused.User != "alice" || refused.UserID != another.ID {
					t.Errorf("issued at %s: %v", old, err)
				}
			}
			o.must(comes(noon.Add(time.Second)))
			own, err := o.store.DevicesOf(o.ctx, another.ID)
			if err != nil || len(own) != 1 {
				t.Errorf("the new one's devices: %+v, %v", own, err)
			}
		})
	}
}

// TestDevicesOfWhoeverHadTheName adopts the device of somebody who gave up their
// name and took it back, and none of a certificate older than what is remembered
// of names.
func TestDevicesOfWhoeverHadTheName(t *testing.T) {
	o := newOffice(t)
	o.active("ada")
	for _, name := range []string{"lovelace", "ada"} {
		users, err := o.List(o.ctx)
		o.must(err)
		o.must(second(o.Set(o.ctx, users[0].Name, accounts.Changes{Name: &name})))
	}
	comes := func(issued time.Time) error {
		leaf := &x509.Certificate{Raw: []byte(issued.String()), SerialNumber: big.NewInt(1), NotBefore: issued, NotAfter: noon.Add(time.Hour)}
		return o.Adopt(o.ctx, []*x509.Certificate{leaf}, devices.Owner{Name: "ada"})
	}
	o.must(comes(noon.Add(-time.Hour)))
	o.must(comes(noon.Add(-accounts.FormerNamesKept)))
	if err := comes(noon.Add(-accounts.FormerNamesKept - time.Second)); !errors.Is(err, session.DeviceOfFormerHolder) {
		t.Errorf("of long ago: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// counted is a store that counts its transactions.
type counted struct {
	accounts.Store
	transactions int
}

func (c *counted) Atomically(ctx context.Context, fn func(tx store.Tx) error) error {
	c.transactions++
	return c.Store.Atomically(ctx, fn)
}

// TestL01NobodysDevicesMakeNobodyWait has devices come again and again whose
// users aren't here, and then are.
func TestL01NobodysDevicesMakeNobodyWait(t *testing.T) {
	o := newOffice(t)
	db, clock := &counted{Store: o.store}, func() time.Time { return noon }
	o.Desk = accounts.NewDesk(db, nil, nil, audit.NewLog(zap.NewNop(), o.store, clock), clock, rand.Reader)
	for i, owner := range []devices.Owner{{Name: "ada"}, {Email: "ada@example.com"}} {
		chain := []*x509.Certificate{{Raw: []byte{byte(i)}, SerialNumber: big.NewInt(42), NotBefore: noon, NotAfter: noon.Add(time.Hour)}}
		for range 3 {
			if err := o.Adopt(o.ctx, chain, owner); !errors.Is(err, session.DeviceUnknown) || db.transactions != 0 {
				t.Errorf("%+v: %v after %d transactions", owner, err, db.transactions)
			}
		}
	}
	o.active("ada")
	o.must(o.Adopt(o.ctx, []*x509.Certificate{{Raw: []byte{0}, SerialNumber: big.NewInt(42), NotBefore: noon, NotAfter: noon.Add(time.Hour)}}, devices.Owner{Name: "ada"}))
}

// TestW02NamesInForeignCertificates adopts devices whose CA lets them be called
// anything.
func TestW02NamesInForeignCertificates(t *testing.T) {
	o := newOffice(t).issuing(issuer{})
	ada := o.active("ada")
	for i, test := range []struct{ name, want string }{
		{"Ada's laptop", "Ada's laptop"},
		{"a\x00b\x1b[31m\nc", "ab[31mc"},
		{"\u202egpj.exe\u2066", "gpj.exe"},
		{" \u200b ", "2a"},
		{"", "2a"},
		{"bad \xff\xfe bytes", "bad  bytes"},
		{strings.Repeat("ä", 1000), strings.Repeat("ä", 128)},
		{strings.Repeat("x", 255) + "ä", strings.Repeat("x", 255)},
	} {
		leaf := &x509.Certificate{
			Raw: []byte{byte(i)}, SerialNumber: big.NewInt(42), Subject: pkix.Name{CommonName: test.name}, NotBefore: noon, NotAfter: noon.Add(time.Hour),
			Issuer: pkix.Name{CommonName: "Our\u202e CA"},
		}
		o.must(o.Adopt(o.ctx, []*x509.Certificate{leaf, new(x509.Certificate)}, devices.Owner{Name: "ada"}))
		d, err := o.store.DeviceByCertificate(o.ctx, devices.Fingerprint(leaf))
		if err != nil || d.Name != test.want || d.Issuer != "CN=Our CA" || d.UserID != ada.ID {
			t.Errorf("%q is kept as %+v, %v", test.name, d, err)
		}
	}
	nameless := &x509.Certificate{Raw: []byte("of a CA without a name"), SerialNumber: big.NewInt(1), NotBefore: noon, NotAfter: noon.Add(time.Hour)}
	o.must(o.Adopt(o.ctx, []*x509.Certificate{nameless, new(x509.Certificate)}, devices.Owner{Name: "ada"}))
	if d, err := o.store.DeviceByCertificate(o.ctx, devices.Fingerprint(nameless)); err != nil || d.Issuer == "" {
		t.Errorf("passes for one of ours: %+v, %v", d, err)
	}
	if err := o.Adopt(o.ctx, []*x509.Certificate{{SerialNumber: big.NewInt(1)}}, devices.Owner{Name: "bob"}); !errors.Is(err, session.DeviceUnknown) {
		t.Errorf("of nobody: %v", err)
	}
}

// TestAssignDevice has a device change hands: what it opened for its former user ends.
func TestAssignDevice(t *testing.T) {
	o := newOffice(t).issuing(issuer{})
	ada, bob := o.active("ada"), o.active("bob")
	laptop := o.device("ada", "Laptop")
	o.must(o.store.CreateSignOn(o.ctx, store.SignOn{
		ID: "by the laptop", UserID: ada.ID, Started: noon, Expires: noon.Add(time.Hour), Idle: time.Hour, LastSeen: noon,
		Proofs: []assurance.Proof{{Factor: assurance.Certificate, At: noon, Credential: laptop.ID}},
	}))
	if _, err := o.SuspendDevice(o.ctx, laptop.ID); err != nil {
		t.Fatal(err)
	}
	assigned, err := o.AssignDevice(o.ctx, audit.ShortID(laptop.ID), "BOB")
	if err != nil || assigned.User != "bob" || assigned.UserID != bob.ID || assigned.State != store.DeviceActive || assigned.Certificate != laptop.Certificate {
		t.Fatalf("%+v, %v", assigned, err)
	}
	if s, err := o.store.SignOnByID(o.ctx, "by the laptop"); err != nil || s.Ended.IsZero() {
		t.Errorf("what it opened goes on (%v)", err)
	}
	if events := o.told(bob.ID); !slices.Equal(events, []string{"device.assigned"}) {
		t.Errorf("the new user is told %v", events)
	}
	o.must(o.store.CreateDevice(o.ctx, store.Device{
		ID: "pending", Name: "From the fleet", State: store.DevicePending, Certificate: "pending", Serial: "1", Issued: noon, Expires: noon.AddDate(0, 1, 0),
	}))
	if _, err := o.ApproveDevice(o.ctx, "pending"); err == nil || !strings.Contains(err.Error(), "assign") {
		t.Errorf("approving what is nobody's: %v", err)
	}
	if got, err := o.AssignDevice(o.ctx, "pending", "ada"); err != nil || got.State != store.DeviceActive || got.UserID != ada.ID {
		t.Errorf("a pending device: %+v, %v", got, err)
	}
	o.must(o.store.CreateDevice(o.ctx, store.Device{
		ID: "foreign", UserID: ada.ID, Name: "Foreign", State: store.DeviceActive, Certificate: "foreign", Serial: "2", Issuer: "CN=Company CA", Issued: noon, Expires: noon.AddDate(0, 1, 0),
	}))
	if _, err := o.AssignDevice(o.ctx, "foreign", "bob"); err == nil || !strings.Contains(err.Error(), "CA says whose") {
		t.Errorf("a device of the operator's CA: %v", err)
	}
	if _, err := o.AssignDevice(o.ctx, laptop.ID, "nobody"); err == nil {
		t.Error("a device was assigned to nobody")
	}
	if _, err := o.RevokeDevice(o.ctx, laptop.ID, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := o.AssignDevice(o.ctx, laptop.ID, "ada"); !errors.Is(err, accounts.ErrRevoked) {
		t.Errorf("a revoked device: %v", err)
	}
}
