package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

const (
	deviceColumns = `id, user_id, name, certificate, serial, issuer, issued, expires, revoked, revoke_reason, ` +
		`last_seen, version`
	newestDevices = ` ORDER BY issued DESC, id DESC`
)

var selectDeviceByCertificate = `SELECT ` + nameless(deviceColumns) + ` FROM devices WHERE certificate = ?`

func scanDevice(row scanner) (store.Device, error) {
	var r struct { // one allocation for all that Scan is pointed at
		store.Device
		issued, expires, revoked, lastSeen int64
	}
	err := row.Scan(&r.ID, &r.UserID, &r.Name, &r.Certificate, &r.Serial, &r.Issuer, &r.issued, &r.expires,
		&r.revoked, &r.RevokeReason, &r.lastSeen, &r.Version)
	if err != nil {
		return store.Device{}, err
	}
	r.Issued, r.Expires = fromMicros(r.issued), fromMicros(r.expires)
	r.Revoked, r.LastSeen = fromMicros(r.revoked), fromMicros(r.lastSeen)
	return r.Device, nil
}

// CreateDevice implements store.Devices.
func (o operations) CreateDevice(ctx context.Context, d store.Device) error {
	_, err := o.change(ctx, "creating a device", statement{
		`INSERT INTO devices (` + deviceColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
		[]any{
			d.ID, d.UserID, d.Name, d.Certificate, d.Serial, d.Issuer, micros(d.Issued), micros(d.Expires),
			micros(d.Revoked), d.RevokeReason, micros(d.LastSeen),
		},
	}, store.Change{Kind: store.DeviceChanged, ID: d.Certificate})
	return err
}

// DeviceByID implements store.Devices.
func (o operations) DeviceByID(ctx context.Context, id string) (store.Device, error) {
	row := o.rows.QueryRowContext(ctx, `SELECT `+deviceColumns+` FROM devices WHERE id = ?`, id)
	return one(ctx, "reading a device", row, scanDevice)
}

// DeviceByCertificate implements store.Devices.
func (o operations) DeviceByCertificate(ctx context.Context, certificate string) (store.Device, error) {
	row := o.rows.QueryRowContext(ctx, selectDeviceByCertificate, certificate)
	return one(ctx, "reading a device by its certificate", row, scanDevice)
}

// DevicesOf implements store.Devices.
func (o operations) DevicesOf(ctx context.Context, userID string) ([]store.Device, error) {
	return list(ctx, "listing a user's devices", o.rows, statement{
		`SELECT ` + deviceColumns + ` FROM devices WHERE user_id = ?` + newestDevices, []any{userID},
	}, scanDevice)
}

// ListDevices implements store.Devices.
func (o operations) ListDevices(ctx context.Context, page store.Page[store.Device]) ([]store.Device, error) {
	query := statement{sql: `SELECT ` + deviceColumns + ` FROM devices`}
	if last := page.After; last.ID != "" {
		query.and(` WHERE (issued, id) < (?, ?)`, micros(last.Issued), last.ID)
	}
	query.and(newestDevices+` LIMIT ?`, page.Size())
	return list(ctx, "listing devices", o.rows, query, scanDevice)
}

// UpdateDevice implements store.Devices.
func (o operations) UpdateDevice(ctx context.Context, d store.Device) error {
	return o.changeDevice(ctx, "updating a device", statement{
		`UPDATE devices SET name = ?, version = version + 1 WHERE id = ? AND version = ? RETURNING certificate`,
		[]any{d.Name, d.ID, d.Version},
	}, d.ID)
}

// RevokeDevice implements store.Devices.
func (o operations) RevokeDevice(ctx context.Context, id string, at time.Time, reason string) error {
	const doing = "revoking a device"
	if micros(at) == 0 {
		return failed(ctx, doing, errZeroRevocation)
	}
	err := o.takingAway().changeDevice(ctx, doing, statement{
		`UPDATE devices SET revoked = ?, revoke_reason = ?, version = version + 1
		 WHERE id = ? AND revoked = 0 RETURNING certificate`,
		[]any{micros(at), reason, id},
	}, id)
	if errors.Is(err, store.ErrConflict) {
		return nil // revoked already; the first reason stays
	}
	return err
}

// errZeroRevocation guards the meaning of zero: a device that isn't revoked.
var errZeroRevocation = errors.New("the time of the revocation is missing")

// changeDevice is compareAndSet for a statement that returns the certificate
// of the device that it changed, which is what followers are told.
func (o operations) changeDevice(ctx context.Context, doing string, set statement, id string) error {
	return o.write(ctx, func(rows *transaction) error {
		changed, err := list(ctx, doing, rows, set, scanText)
		if err != nil {
			return err
		}
		if len(changed) > 0 {
			rows.noteDevices(changed)
			return nil
		}
		var one int
		if err := rows.QueryRowContext(ctx, `SELECT 1 FROM devices WHERE id = ?`, id).Scan(&one); err != nil {
			return failed(ctx, doing, err)
		}
		return fmt.Errorf("%s: %w", doing, store.ErrConflict)
	})
}

// TouchDevices implements store.Devices.
func (o operations) TouchDevices(ctx context.Context, seen []store.DeviceActivity) error {
	return touch(ctx, o,
		`UPDATE devices SET last_seen = ?1 WHERE id = ?2 AND revoked = 0 AND last_seen < ?1`,
		seen, func(a store.DeviceActivity) (string, time.Time) { return a.Device, a.Seen })
}

// BarCertificate implements store.Devices.
func (o operations) BarCertificate(ctx context.Context, certificate string, expires time.Time) error {
	_, err := o.takingAway().change(ctx, "barring a certificate", statement{
		`INSERT INTO barred_certificates (certificate, expires) VALUES (?, ?) ON CONFLICT DO NOTHING`,
		[]any{certificate, micros(expires)},
	})
	return err
}

// IsBarred implements store.Devices.
func (o operations) IsBarred(ctx context.Context, certificate string) (bool, error) {
	row := o.rows.QueryRowContext(ctx, `SELECT certificate FROM barred_certificates WHERE certificate = ?`, certificate)
	_, err := one(ctx, "looking for a barred certificate", row, scanText)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
