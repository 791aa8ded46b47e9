package conformance

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// renewed is a device with another certificate, issued an hour after noon.
func renewed(d store.Device, certificate string) store.Device {
	d.Certificate, d.Key, d.DER, d.Serial = certificate, "key of "+certificate, []byte(certificate), "serial of "+certificate
	d.Issued, d.Expires = noon.Add(time.Hour), noon.AddDate(0, 4, 0)
	return d
}

func devicesAssigned(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	d := f.addDevice(t, "", "d1")
	wantEqual(t, "of the empty user", len(get(f.DevicesOf(f.ctx, ""))(t)), 0)
	d.UserID = "nobody"
	wantError(t, f.UpdateDevice(f.ctx, d), store.ErrNotFound)
	d.UserID = "u1"
	must(t, f.UpdateDevice(f.ctx, d))
	wantEqual(t, "of the user", len(get(f.DevicesOf(f.ctx, "u1"))(t)), 1)
}

func devicesRenewed(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	first := f.addDevice(t, "u1", "d1")
	second := renewed(first, "second")
	must(t, f.RenewDevice(f.ctx, second))
	wantError(t, f.RenewDevice(f.ctx, renewed(first, "third")), store.ErrConflict) // version
	first.Version, second.Version, second.Previous = 2, 2, first.Certificate
	wantError(t, f.RenewDevice(f.ctx, second), store.ErrConflict) // certificate
	wantError(t, f.RenewDevice(f.ctx, store.Device{ID: "d2", Certificate: "third", Version: 1}), store.ErrNotFound)

	wantEqual(t, "by id", get(f.DeviceByID(f.ctx, "d1"))(t), second)
	wantEqual(t, "by the new certificate", get(f.DeviceByCertificate(f.ctx, second.Certificate))(t), second)
	wantEqual(t, "by the old certificate", get(f.DeviceByCertificate(f.ctx, first.Certificate))(t), first)
	wantEqual(t, "by the new key", get(f.DeviceByKey(f.ctx, second.Key))(t), second)
	wantEqual(t, "by the old key", get(f.DeviceByKey(f.ctx, first.Key))(t), first)
	wantEqual(t, "certificates", get(f.CertificatesOf(f.ctx, "d1"))(t), []store.Device{second, first})
	wantEqual(t, "devices", get(f.DevicesOf(f.ctx, "u1"))(t), []store.Device{second})
	_, err := f.DeviceByCertificate(f.ctx, "third")
	wantError(t, err, store.ErrNotFound)
}

func devicesRenewRace(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	d := f.addDevice(t, "u1", "d1")
	wantOneWinner(t, race(50, func(i int) error { return f.RenewDevice(f.ctx, renewed(d, numbered("c", i))) }), store.ErrConflict)
	wantEqual(t, "certificates", len(get(f.CertificatesOf(f.ctx, "d1"))(t)), 2)
}

// devicesKeys gives keys away twice: to the same device, to another, and to
// certificates of other CAs, which may share a key.
func devicesKeys(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	first := f.addDevice(t, "u1", "d1")
	again := renewed(first, "second")
	again.Key = first.Key
	wantError(t, f.RenewDevice(f.ctx, again), store.ErrConflict)
	again.ID = "d2"
	wantError(t, f.CreateDevice(f.ctx, again), store.ErrConflict)
	_, err := f.DeviceByID(f.ctx, "d2")
	wantError(t, err, store.ErrNotFound)
	_, err = f.DeviceByKey(f.ctx, "")
	wantError(t, err, store.ErrNotFound)
	for _, id := range []string{"d3", "d4"} {
		must(t, f.CreateDevice(f.ctx, store.Device{ID: id, Certificate: certificateOf(id), Key: first.Key, Issuer: "CN=Others"}))
	}
	for _, id := range []string{"d5", "d6"} { // unknown keys
		must(t, f.CreateDevice(f.ctx, store.Device{ID: id, Certificate: certificateOf(id)}))
	}
	wantEqual(t, "by key", get(f.DeviceByKey(f.ctx, first.Key))(t), first)
}

func devicesRevokedCertificates(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	first := f.addDevice(t, "u1", "d1")
	must(t, f.RenewDevice(f.ctx, renewed(first, "a second")))
	f.addDevice(t, "u1", "d2")
	must(t, f.RevokeDevice(f.ctx, "d1", noon, "x"))
	certificates := func(now time.Time) (all []string) {
		for _, d := range get(f.RevokedCertificates(f.ctx, now))(t) {
			wantEqual(t, "revoked", d.Revoked, noon)
			all = append(all, d.Certificate)
		}
		return all
	}
	wantEqual(t, "all", certificates(noon), []string{"a second", first.Certificate})
	wantEqual(t, "after the first has expired", certificates(first.Expires), []string{"a second"})
}

func devicesDeleted(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	first := f.addDevice(t, "u1", "d1")
	must(t, f.RenewDevice(f.ctx, renewed(first, "second")))
	must(t, f.DeleteUser(f.ctx, "u1"))
	for _, certificate := range []string{first.Certificate, "second"} {
		_, err := f.DeviceByCertificate(f.ctx, certificate)
		wantError(t, err, store.ErrNotFound)
	}
}

// sweepCertificates sweeps certificates that others have replaced, and devices that
// nobody has confirmed.
func sweepCertificates(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	first := f.addDevice(t, "u1", "d1")
	second := renewed(first, "second")
	must(t, f.RenewDevice(f.ctx, second))
	for id, issued := range map[string]time.Time{"pending": noon, "older": noon.Add(-time.Microsecond)} {
		must(t, f.CreateDevice(f.ctx, store.Device{
			ID: id, State: store.DevicePending, Certificate: certificateOf(id), Issued: issued, Expires: noon.AddDate(1, 0, 0),
		}))
	}
	must(t, f.Sweep(f.ctx, noon, store.SweepLimits{DevicesBefore: first.Expires.Add(time.Microsecond), PendingDevicesBefore: noon}))
	_, err := f.DeviceByCertificate(f.ctx, first.Certificate)
	wantError(t, err, store.ErrNotFound)
	get(f.DeviceByCertificate(f.ctx, second.Certificate))(t)
	get(f.DeviceByID(f.ctx, "pending"))(t)
	_, err = f.DeviceByID(f.ctx, "older")
	wantError(t, err, store.ErrNotFound)
	if _, err := f.DeviceByCertificate(f.ctx, certificateOf("older")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the certificate of a swept device: %v", err)
	}
}
