package enrolment

import (
	"context"
	"errors"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// Renew issues another certificate to a device, by the fingerprint of one that it has
// shown to hold the key of, for the key of a signing request. A key that the device has a
// certificate for gets that certificate again. If a machine shows a certificate other than
// the newest, along with a new key, two machines have the keys of the device: it is
// suspended, with all that it opened, and the error is ErrClone.
func (r *Registrar) Renew(ctx context.Context, fingerprint string, request []byte, says Claims) (Issued, error) {
	key, err := devices.RequestedKey(request)
	if err != nil {
		return Issued{}, err
	}
	var issued Issued
	var refused error
	err = r.Audit.Change(ctx, r.Store, "renewing a device", func(tx store.Tx) ([]store.Event, error) {
		issued, refused = Issued{}, nil // it may run again
		shownBy, user, err := r.renewable(ctx, tx, fingerprint)
		if err != nil {
			return nil, err
		}
		switch known, err := tx.DeviceByKey(ctx, key); {
		case err == nil && known.ID == shownBy.ID:
			issued, err = again(known)
			return nil, err
		case err == nil:
			return nil, ErrKeyTaken
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
		device, err := tx.DeviceByID(ctx, shownBy.ID)
		if err != nil {
			return nil, err
		}
		if device.Certificate != fingerprint {
			refused = ErrClone
			return r.suspend(ctx, tx, device, user, says)
		}
		if issued, err = r.reissue(ctx, tx, device, request, says); err != nil {
			return nil, err
		}
		return []store.Event{r.event(audit.DeviceRenewed, issued.Device, user, says)}, nil
	})
	return issued, errors.Join(err, refused)
}

// reissue gives a device another certificate.
func (r *Registrar) reissue(ctx context.Context, tx store.Tx, device store.Device, request []byte, says Claims) (Issued, error) {
	says.describe(&device)
	if err := tx.UpdateDevice(ctx, device); err != nil {
		return Issued{}, err
	}
	device.Version++
	return r.issue(ctx, tx, device, request, store.Tx.RenewDevice)
}

// renewable reads a device by one of its certificates, if it may have another, and its
// user.
func (r *Registrar) renewable(ctx context.Context, tx store.Tx, fingerprint string) (store.Device, store.User, error) {
	device, err := tx.DeviceByCertificate(ctx, fingerprint)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && (!device.Revoked.IsZero() || device.Issuer != ""):
		return store.Device{}, store.User{}, ErrRevoked
	case err != nil:
		return store.Device{}, store.User{}, err
	case device.State != store.DeviceActive:
		return store.Device{}, store.User{}, ErrInactive
	case !r.Clock().Before(device.Expires):
		return store.Device{}, store.User{}, ErrExpired
	}
	user, err := activeUser(ctx, tx, device.UserID)
	return device, user, err
}

// suspend takes away what a device opens until somebody decides.
func (r *Registrar) suspend(ctx context.Context, tx store.Tx, d store.Device, user store.User, says Claims) ([]store.Event, error) {
	d.State = store.DeviceSuspended
	if err := tx.UpdateDevice(ctx, d); err != nil {
		return nil, err
	}
	ended, err := r.end(ctx, tx, d, user, says)
	return append(ended, r.event(audit.DeviceSuspended, d, user, says)), err
}

// Retire revokes the device that has a certificate, since the machine no longer wants
// to be one, and ends what it opened. ErrRevoked if it was revoked before.
func (r *Registrar) Retire(ctx context.Context, fingerprint string, says Claims) error {
	return r.Audit.Change(ctx, r.Store, "retiring a device", func(tx store.Tx) ([]store.Event, error) {
		device, err := tx.DeviceByCertificate(ctx, fingerprint)
		if errors.Is(err, store.ErrNotFound) || err == nil && (!device.Revoked.IsZero() || device.Issuer != "") {
			return nil, ErrRevoked
		}
		if err != nil {
			return nil, err
		}
		user, err := tx.UserByID(ctx, device.UserID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err := tx.RevokeDevice(ctx, device.ID, r.Clock(), retired); err != nil {
			return nil, err
		}
		event := r.event(audit.DeviceRevoked, device, user, says)
		event.Fields[string(audit.Reason)] = retired
		ended, err := r.end(ctx, tx, device, user, says)
		return append(ended, event), err
	})
}

// retired is why a device is revoked that no longer wants to be one: one of
// devices.Reasons.
const retired = "cessation_of_operation"

// end ends the sign-ons that a device opened.
func (r *Registrar) end(ctx context.Context, tx store.Tx, d store.Device, user store.User, says Claims) ([]store.Event, error) {
	ended, err := session.EndOpenedBy(ctx, tx, d, r.Clock())
	events := make([]store.Event, len(ended))
	for i, id := range ended {
		events[i] = r.Audit.Event(audit.SignOnEnded, user.ID, audit.Fields{
			audit.User: user.Name, audit.SignOn: audit.ShortID(id), audit.Reason: session.EndedDevice, audit.Address: says.Address,
		})
	}
	return events, err
}
