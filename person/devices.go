package person

import (
	"context"
	"errors"
	"time"

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
