package conformance

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var deviceTests = []test{
	{"come back as created", devicesComeBack},
	{"are not found", devicesNotFound},
	{"need a user", devicesNeedUser},
	{"ids and certificates are unique", devicesUnique},
	{"are listed newest first", devicesListed},
	{"update is a compare-and-set", devicesUpdate},
	{"belong to nobody until they are given to somebody", devicesAssigned},
	{"are renewed by a compare-and-set", devicesRenewed},
	{"one of many renewals wins", devicesRenewRace},
	{"keys are unique among the certificates issued here", devicesKeys},
	{"all certificates of revoked devices are listed", devicesRevokedCertificates},
	{"all certificates go with the user", devicesDeleted},
	{"one of many updates wins", devicesUpdateRace},
	{"revoked stays revoked", devicesRevokedStay},
	{"a revocation needs a time", devicesRevokeTime},
	{"a revocation beats updates", devicesRevokeRace},
	{"touch only raises", devicesTouch},
	{"touch takes many at once", devicesTouchMany},
	{"barred certificates stay so", devicesBarred},
}

func devicesComeBack(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	tests := map[string]store.Device{
		"full": {
			ID: "d1", UserID: "u1", Name: awkward, State: store.DevicePending, Machine: awkward, System: awkward, Agent: awkward,
			Protection: awkward, Via: awkward, Replaces: "d0", Key: "6b6579", DER: []byte{0, 255},
			Certificate: "c0ffee", Serial: "0badcafe", Issuer: awkward,
			Issued: noon, Expires: noon.AddDate(0, 3, 0), Revoked: noon.Add(time.Hour), RevokeReason: awkward,
			LastSeen: noon.Add(time.Minute),
		},
		"bare": {ID: "d2"},
	}
	for name, d := range tests {
		t.Run(name, func(t *testing.T) {
			must(t, f.CreateDevice(f.ctx, d))
			d.Version = 1
			wantEqual(t, "by id", get(f.DeviceByID(f.ctx, d.ID))(t), d)
			wantEqual(t, "by certificate", get(f.DeviceByCertificate(f.ctx, d.Certificate))(t), d)
		})
	}
}

func devicesNotFound(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	must(t, f.CreateDevice(f.ctx, store.Device{ID: "d1", UserID: "u1", Certificate: "c0ffee"}))
	for _, near := range []string{"", "C0FFEE", "c0ffe", "c0ffe_", "%", "d1"} {
		_, err := f.DeviceByCertificate(f.ctx, near)
		wantError(t, err, store.ErrNotFound)
	}
	for _, near := range []string{"", "D1", "d", "d_", "c0ffee"} {
		_, err := f.DeviceByID(f.ctx, near)
		wantError(t, err, store.ErrNotFound)
	}
	wantError(t, f.UpdateDevice(f.ctx, store.Device{ID: "d2", Version: 1}), store.ErrNotFound)
	wantError(t, f.RevokeDevice(f.ctx, "d2", noon, "x"), store.ErrNotFound)
	must(t, f.seeDevice("d2", noon))
	wantEqual(t, "of nobody", len(get(f.DevicesOf(f.ctx, "u2"))(t)), 0)
}

func devicesNeedUser(t *testing.T, f fixture) {
	wantError(t, f.CreateDevice(f.ctx, store.Device{ID: "d1", UserID: "nobody"}), store.ErrNotFound)
	_, err := f.DeviceByID(f.ctx, "d1")
	wantError(t, err, store.ErrNotFound)
}

func devicesUnique(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	kept := f.addDevice(t, "u1", "d1")
	wantError(t, f.CreateDevice(f.ctx, store.Device{ID: "d1", UserID: "u2", Certificate: "another"}), store.ErrConflict)
	wantError(t, f.CreateDevice(f.ctx, store.Device{ID: "d2", UserID: "u2", Certificate: kept.Certificate}), store.ErrConflict)
	wantEqual(t, "device", get(f.DeviceByCertificate(f.ctx, kept.Certificate))(t), kept)
	wantEqual(t, "devices", len(get(f.ListDevices(f.ctx, store.Page[store.Device]{}))(t)), 1)
}

func devicesListed(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	add := func(id, userID string, issued time.Duration) {
		must(t, f.CreateDevice(f.ctx, store.Device{
			ID: id, UserID: userID, Certificate: certificateOf(id), Issued: noon.Add(issued),
		}))
	}
	add("old", "u1", -2*time.Hour)
	add("revoked", "u1", 0)
	add("another's", "u2", -time.Hour)
	must(t, f.RevokeDevice(f.ctx, "revoked", noon, "x"))
	ids := func(devices []store.Device) (ids []string) {
		for _, d := range devices {
			ids = append(ids, d.ID)
		}
		return ids
	}
	wantEqual(t, "of one", ids(get(f.DevicesOf(f.ctx, "u1"))(t)), []string{"revoked", "old"})
	wantEqual(t, "of all", ids(get(f.ListDevices(f.ctx, store.Page[store.Device]{}))(t)), []string{"revoked", "another's", "old"})
}

func devicesUpdate(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	want := f.addDevice(t, "u1", "d1")
	must(t, f.seeDevice("d1", noon.Add(time.Minute))) // the version stays
	changed := store.Device{
		ID: "d1", UserID: "u2", Name: awkward, State: store.DeviceSuspended, Machine: "m", System: "s", Agent: "a", Protection: "p",
		Via: "another", Replaces: "another", Key: "another", DER: []byte("another"), Previous: "another",
		Certificate: "another", Serial: "another", Issuer: "another",
		Issued: noon.AddDate(1, 0, 0), Expires: noon.AddDate(9, 0, 0), Revoked: noon, RevokeReason: "by update", Version: 1,
	}
	must(t, f.UpdateDevice(f.ctx, changed))
	wantError(t, f.UpdateDevice(f.ctx, want), store.ErrConflict)
	want.UserID, want.Name, want.State, want.LastSeen, want.Version = "u2", awkward, store.DeviceSuspended, noon.Add(time.Minute), 2
	want.Machine, want.System, want.Agent, want.Protection = "m", "s", "a", "p"
	wantEqual(t, "device", get(f.DeviceByID(f.ctx, "d1"))(t), want)
}

func devicesUpdateRace(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	d := f.addDevice(t, "u1", "d1")
	wantOneWinner(t, race(50, func(int) error { return f.UpdateDevice(f.ctx, d) }), store.ErrConflict)
}

func devicesRevokedStay(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	want := f.addDevice(t, "u1", "d1")
	must(t, f.RevokeDevice(f.ctx, "d1", noon.Add(time.Minute), "first"))
	must(t, f.RevokeDevice(f.ctx, "d1", noon.Add(time.Hour), "second"))
	must(t, f.seeDevice("d1", noon.Add(time.Hour)))
	want.Revoked, want.RevokeReason, want.Version = noon.Add(time.Minute), "first", 2
	wantEqual(t, "device", get(f.DeviceByID(f.ctx, "d1"))(t), want)

	renamed := want
	renamed.Name, renamed.Revoked, renamed.RevokeReason = "renamed", time.Time{}, ""
	must(t, f.UpdateDevice(f.ctx, renamed))
	want.Name, want.Version = "renamed", 3
	wantEqual(t, "renamed", get(f.DeviceByID(f.ctx, "d1"))(t), want)
}

func devicesRevokeTime(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	want := f.addDevice(t, "u1", "d1")
	if err := f.RevokeDevice(f.ctx, "d1", time.Time{}, "x"); err == nil {
		t.Error("a revocation without a time was accepted")
	}
	wantEqual(t, "device", get(f.DeviceByID(f.ctx, "d1"))(t), want)
}

func devicesRevokeRace(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addDevice(t, "u1", "d1")
	for _, err := range race(60, func(i int) error {
		switch i % 3 {
		case 0:
			return f.RevokeDevice(f.ctx, "d1", noon, "revoked")
		case 1:
			return f.seeDevice("d1", noon.Add(time.Hour))
		}
		d, err := f.DeviceByID(f.ctx, "d1")
		if err == nil {
			err = f.UpdateDevice(f.ctx, d)
		}
		if errors.Is(err, store.ErrConflict) {
			return nil
		}
		return err
	}) {
		must(t, err)
	}
	wantEqual(t, "revoked", get(f.DeviceByID(f.ctx, "d1"))(t).Revoked, noon)
}

func devicesTouch(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addDevice(t, "u1", "d1")
	steps := []struct{ touch, want time.Duration }{
		{time.Minute, time.Minute},
		{-time.Hour, time.Minute},
		{time.Minute + time.Microsecond, time.Minute + time.Microsecond},
	}
	for _, step := range steps {
		must(t, f.seeDevice("d1", noon.Add(step.touch)))
		d := get(f.DeviceByID(f.ctx, "d1"))(t)
		wantEqual(t, "last seen", d.LastSeen, noon.Add(step.want))
		wantEqual(t, "version", d.Version, int64(1))
	}
}

// devicesTouchMany touches more than any transaction should hold.
func devicesTouchMany(t *testing.T, f fixture) {
	const all = 1200
	f.addUser(t, "u1")
	var seen []store.DeviceActivity
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		seen = nil // it may run again
		for i := range all {
			id := numbered("d", i)
			if err := tx.CreateDevice(f.ctx, store.Device{ID: id, UserID: "u1", Certificate: certificateOf(id)}); err != nil {
				return err
			}
			seen = append(seen, store.DeviceActivity{Device: id, Seen: noon}, store.DeviceActivity{Device: "unknown", Seen: noon})
		}
		return nil
	}))
	must(t, f.TouchDevices(f.ctx, seen))
	must(t, f.TouchDevices(f.ctx, nil))
	for _, d := range get(f.ListDevices(f.ctx, store.Page[store.Device]{}))(t) {
		wantEqual(t, d.ID+" last seen", d.LastSeen, noon)
	}
}

// devicesBarred bars certificates: of a device, twice, in a transaction that
// fails, and for longer than their user and this life of the store.
func devicesBarred(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	device := f.addDevice(t, "u1", "d1")
	barred := func(certificate string) bool { return get(f.IsBarred(f.ctx, certificate))(t) }
	wantEqual(t, "a device's", barred(device.Certificate), false)
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		if err := tx.BarCertificate(f.ctx, device.Certificate, noon); err != nil {
			return err
		}
		wantEqual(t, "in the transaction", get(tx.IsBarred(f.ctx, device.Certificate))(t), true)
		return tx.DeleteUser(f.ctx, "u1")
	}))
	must(t, f.BarCertificate(f.ctx, device.Certificate, noon.AddDate(1, 0, 0)))
	wantError(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		return errors.Join(tx.BarCertificate(f.ctx, "c0ffee", noon), errRefused)
	}), errRefused)
	must(t, f.Renew(f.ctx, f.Incarnation()))
	for certificate, want := range map[string]bool{device.Certificate: true, "c0ffee": false, "": false, "%": false} {
		wantEqual(t, certificate, barred(certificate), want)
	}
	must(t, f.Sweep(f.ctx, noon.AddDate(2, 0, 0), store.SweepLimits{DevicesBefore: noon}))
	wantEqual(t, "at the expiry", barred(device.Certificate), true)
	must(t, f.Sweep(f.ctx, noon.AddDate(2, 0, 0), store.SweepLimits{DevicesBefore: noon.Add(time.Microsecond)}))
	wantEqual(t, "after the first expiry", barred(device.Certificate), false)
}

// seeDevice notes that one device was seen.
func (f fixture) seeDevice(id string, seen time.Time) error {
	return f.TouchDevices(f.ctx, []store.DeviceActivity{{Device: id, Seen: seen}})
}
