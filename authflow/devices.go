package authflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// ErrNoDevice says that the person has no such device, or none that counts
// still.
var ErrNoDevice = errors.New("no such device of this user")

// DevicesOf returns a user's devices, newest first, without those that are of
// the past: revoked or expired.
func (e *Engine) DevicesOf(ctx context.Context, userID string) ([]store.Device, error) {
	all, err := e.Store.DevicesOf(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("reading a user's devices: %w", err)
	}
	return slices.DeleteFunc(all, func(d store.Device) bool { return !e.counts(d) }), nil
}

func (e *Engine) counts(d store.Device) bool {
	return d.Revoked.IsZero() && e.Clock().Before(d.Expires)
}

// countingDevice reads a device, or returns ErrNoDevice where there is none that
// counts.
func (e *Engine) countingDevice(ctx context.Context, tx store.Tx, id string) (store.Device, error) {
	device, err := tx.DeviceByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && !e.counts(device) {
		return store.Device{}, ErrNoDevice
	}
	return device, err
}

// RevokeDevice revokes one of the person's own devices, and ends the sign-ons
// that it opened. ErrStale where they have to be checked first.
func (e *Engine) RevokeDevice(ctx context.Context, s store.SignOn, u store.User, id string, c Client) error {
	return e.change(ctx, "revoking a device", func(tx store.Tx) ([]store.Event, error) {
		_, user, _, err := e.checked(ctx, tx, s.ID)
		if err != nil {
			return nil, err
		}
		device, err := e.countingDevice(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		if device.UserID != user.ID {
			return nil, ErrNoDevice
		}
		ended, err := Revoke(ctx, tx, device, e.Clock(), session.EndedByOwner)
		if err != nil {
			return nil, err
		}
		events := []store.Event{e.own(audit.DeviceRevoked, user, c, audit.Fields{
			audit.Device: device.Name, audit.Serial: device.Serial, audit.Reason: session.EndedByOwner,
		})}
		for _, id := range ended {
			events = append(events, e.ended(user, id, session.EndedDevice, c))
		}
		return events, nil
	})
}

// Revoke revokes a device and ends the live sign-ons among whose proofs its
// certificate is; it returns their ids.
func Revoke(ctx context.Context, tx store.Tx, d store.Device, at time.Time, reason string) (ended []string, err error) {
	if err := tx.RevokeDevice(ctx, d.ID, at, reason); err != nil {
		return nil, err
	}
	return session.EndOpenedBy(ctx, tx, d, at)
}
