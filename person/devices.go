package person

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// ErrNoDevice says that the person has no such device, or that it was revoked or
// has expired.
var ErrNoDevice = errors.New("no such device of this user")

// IsValid reports whether a device is neither revoked nor expired.
func (k *Keeper) IsValid(d store.Device) bool {
	return d.Revoked.IsZero() && k.Clock().Before(d.Expires)
}

// ValidDevice reads a device, or returns ErrNoDevice where there is no valid one. It
// may be pending or suspended.
func (k *Keeper) ValidDevice(ctx context.Context, tx store.Tx, id string) (store.Device, error) {
	device, err := tx.DeviceByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && !k.IsValid(device) {
		return store.Device{}, ErrNoDevice
	}
	return device, err
}

// RevokeDevice revokes a device and ends the live sign-ons among whose proofs its
// certificate is; it returns their ids.
func RevokeDevice(ctx context.Context, tx store.Tx, d store.Device, at time.Time, reason string) (ended []string, err error) {
	if err := tx.RevokeDevice(ctx, d.ID, at, reason); err != nil {
		return nil, err
	}
	return session.EndOpenedBy(ctx, tx, d, at)
}

// SuspendDevicesSince suspends the devices that a user has had only since a time, however
// often their certificates were renewed, and ends the live sign-ons that they opened.
// Devices of the operator's own CA stay, since people can't enrol them.
func (k *Keeper) SuspendDevicesSince(ctx context.Context, tx store.Tx, u store.User, since time.Time, c Client) ([]store.Event, error) {
	all, err := tx.DevicesOf(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	var events []store.Event
	for _, device := range all {
		if device.State != store.DeviceActive || device.Issuer != "" || !k.IsValid(device) || device.Issued.Before(since) {
			continue
		}
		certificates, err := tx.CertificatesOf(ctx, device.ID)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(certificates, func(d store.Device) bool { return d.Issued.Before(since) }) {
			continue
		}
		device.State = store.DeviceSuspended
		if err := tx.UpdateDevice(ctx, device); err != nil {
			return nil, err
		}
		events = append(events, k.Audit.Event(audit.DeviceSuspended, u.ID, audit.Fields{
			audit.User: u.Name, audit.Device: device.Name, audit.Serial: device.Serial, audit.Address: c.Address,
		}))
		ended, err := session.EndOpenedBy(ctx, tx, device, k.Clock())
		if err != nil {
			return nil, err
		}
		for _, id := range ended {
			events = append(events, k.SignOnEnded(u, id, session.EndedDevice, c))
		}
	}
	return events, nil
}
