package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// deviceColumns are of a device d and one certificate c of its own.
	deviceColumns = `d.id, d.user_id, d.name, d.state, d.machine, d.system, d.agent, d.protection, d.via, d.replaces, ` +
		`c.certificate, c.key, c.der, c.previous, c.serial, c.issuer, c.issued, c.expires, ` +
		`d.revoked, d.revoke_reason, d.last_seen, d.version`
	// selectDevices reads devices with the certificate that was issued last.
	selectDevices = `SELECT ` + deviceColumns + ` FROM devices AS d JOIN device_certificates AS c ON c.certificate = d.certificate`
	// selectCertificates reads certificates, each with its device.
	selectCertificates = `SELECT ` + deviceColumns + ` FROM device_certificates AS c JOIN devices AS d ON d.id = c.device_id`
	newestDevices      = ` ORDER BY d.issued DESC, d.id DESC`
)

var selectDeviceByCertificate = `SELECT ` + nameless(deviceColumns) +
	` FROM device_certificates AS c JOIN devices AS d ON d.id = c.device_id WHERE c.certificate = ?`

func scanDevice(row scanner) (store.Device, error) {
	var r struct { // one allocation for all that Scan is pointed at
		store.Device
		user                               sql.NullString
		issued, expires, revoked, lastSeen int64
	}
	err := row.Scan(&r.ID, &r.user, &r.Name, &r.State, &r.Machine, &r.System, &r.Agent, &r.Protection, &r.Via, &r.Replaces,
		&r.Certificate, &r.Key, &r.DER, &r.Previous, &r.Serial, &r.Issuer, &r.issued, &r.expires,
		&r.revoked, &r.RevokeReason, &r.lastSeen, &r.Version)
	if err != nil {
		return store.Device{}, err
	}
	r.UserID = r.user.String
	if len(r.DER) == 0 {
		r.DER = nil
	}
	r.Issued, r.Expires = fromMicros(r.issued), fromMicros(r.expires)
	r.Revoked, r.LastSeen = fromMicros(r.revoked), fromMicros(r.lastSeen)
	return r.Device, nil
}

// CreateDevice implements store.Devices.
func (o operations) CreateDevice(ctx context.Context, d store.Device) error {
	const doing = "creating a device"
	d.Previous = ""
	return o.write(ctx, func(rows *transaction) error {
		// A key that is taken must leave nothing of the device: see store.Store.Atomically.
		if err := freeCertificate(ctx, rows, doing, d); err != nil {
			return err
		}
		_, err := rows.ExecContext(ctx,
			`INSERT INTO devices (id, user_id, name, state, machine, system, agent, protection, via, replaces,
				certificate, issued, expires, revoked, revoke_reason, last_seen, version)
			 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
			d.ID, textOrNull(d.UserID), d.Name, d.State, d.Machine, d.System, d.Agent, d.Protection, d.Via, d.Replaces,
			d.Certificate, micros(d.Issued), micros(d.Expires), micros(d.Revoked), d.RevokeReason, micros(d.LastSeen))
		if err != nil {
			return failed(ctx, doing, err)
		}
		return addCertificate(ctx, rows, doing, d)
	})
}

// textOrNull keeps the empty text as NULL, which refers to no row.
func textOrNull(text string) sql.NullString { return sql.NullString{String: text, Valid: text != ""} }

// freeCertificate returns store.ErrConflict if a certificate, or its key, is taken.
func freeCertificate(ctx context.Context, rows *transaction, doing string, d store.Device) error {
	taken, err := list(ctx, doing, rows, statement{
		`SELECT certificate FROM device_certificates WHERE certificate = ?
		 UNION ALL SELECT certificate FROM device_certificates WHERE key = ? AND issuer = '' AND key <> '' AND ? = ''`,
		[]any{d.Certificate, d.Key, d.Issuer},
	}, scanText)
	if len(taken) > 0 {
		return fmt.Errorf("%s: %w", doing, store.ErrConflict)
	}
	return err
}

func addCertificate(ctx context.Context, rows *transaction, doing string, d store.Device) error {
	_, err := rows.ExecContext(ctx,
		`INSERT INTO device_certificates (certificate, device_id, key, der, previous, serial, issuer, issued, expires)
		 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		d.Certificate, d.ID, d.Key, notNull(d.DER), d.Previous, d.Serial, d.Issuer, micros(d.Issued), micros(d.Expires))
	if err != nil {
		return failed(ctx, doing, err)
	}
	rows.noteDevices([]string{d.Certificate})
	return nil
}

// RenewDevice implements store.Devices.
func (o operations) RenewDevice(ctx context.Context, d store.Device) error {
	const doing = "renewing a device"
	return o.write(ctx, func(rows *transaction) error {
		if err := freeCertificate(ctx, rows, doing, d); err != nil {
			return err
		}
		row := rows.QueryRowContext(ctx, `SELECT certificate FROM devices WHERE id = ?`, d.ID)
		previous, err := one(ctx, doing, row, scanText)
		if err != nil {
			return err
		}
		err = operations{rows, within(rows)}.changeDevice(ctx, doing, statement{
			`UPDATE devices SET certificate = ?, issued = ?, expires = ?, version = version + 1 WHERE id = ? AND version = ?`,
			[]any{d.Certificate, micros(d.Issued), micros(d.Expires), d.ID, d.Version},
		}, d.ID)
		if err != nil {
			return err
		}
		d.Previous = previous
		return addCertificate(ctx, rows, doing, d)
	})
}

// DeviceByID implements store.Devices.
func (o operations) DeviceByID(ctx context.Context, id string) (store.Device, error) {
	return one(ctx, "reading a device", o.rows.QueryRowContext(ctx, selectDevices+` WHERE d.id = ?`, id), scanDevice)
}

// DeviceByCertificate implements store.Devices.
func (o operations) DeviceByCertificate(ctx context.Context, certificate string) (store.Device, error) {
	row := o.rows.QueryRowContext(ctx, selectDeviceByCertificate, certificate)
	return one(ctx, "reading a device by its certificate", row, scanDevice)
}

// DeviceByKey implements store.Devices.
func (o operations) DeviceByKey(ctx context.Context, key string) (store.Device, error) {
	row := o.rows.QueryRowContext(ctx, selectCertificates+` WHERE c.key = ? AND c.issuer = '' AND c.key <> ''`, key)
	return one(ctx, "reading a device by its key", row, scanDevice)
}

// CertificatesOf implements store.Devices.
func (o operations) CertificatesOf(ctx context.Context, id string) ([]store.Device, error) {
	return list(ctx, "listing the certificates of a device", o.rows, statement{
		selectCertificates + ` WHERE c.device_id = ? ORDER BY c.certificate = d.certificate DESC, c.issued DESC, c.certificate`, []any{id},
	}, scanDevice)
}

// RevokedCertificates implements store.Devices.
func (o operations) RevokedCertificates(ctx context.Context, now time.Time) ([]store.Device, error) {
	return list(ctx, "listing revoked certificates", o.rows, statement{
		`SELECT ` + deviceColumns + ` FROM devices AS d CROSS JOIN device_certificates AS c ON c.device_id = d.id
		 WHERE d.revoked > 0 AND c.expires > ? ORDER BY c.certificate`, []any{micros(now)},
	}, scanDevice)
}

// DevicesOf implements store.Devices.
func (o operations) DevicesOf(ctx context.Context, userID string) ([]store.Device, error) {
	return list(ctx, "listing a user's devices", o.rows, statement{
		selectDevices + ` WHERE d.user_id = ?` + newestDevices, []any{userID},
	}, scanDevice)
}

// ListDevices implements store.Devices.
func (o operations) ListDevices(ctx context.Context, page store.Page[store.Device]) ([]store.Device, error) {
	query := statement{sql: selectDevices}
	if last := page.After; last.ID != "" {
		query.and(` WHERE (d.issued, d.id) < (?, ?)`, micros(last.Issued), last.ID)
	}
	query.and(newestDevices+` LIMIT ?`, page.Size())
	return list(ctx, "listing devices", o.rows, query, scanDevice)
}

// UpdateDevice implements store.Devices.
func (o operations) UpdateDevice(ctx context.Context, d store.Device) error {
	return o.changeDevice(ctx, "updating a device", statement{
		`UPDATE devices SET name = ?, user_id = ?, state = ?, machine = ?, system = ?, agent = ?, protection = ?, version = version + 1
		 WHERE id = ? AND version = ?`,
		[]any{d.Name, textOrNull(d.UserID), d.State, d.Machine, d.System, d.Agent, d.Protection, d.ID, d.Version},
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
		 WHERE id = ? AND revoked = 0`,
		[]any{micros(at), reason, id},
	}, id)
	if errors.Is(err, store.ErrConflict) {
		return nil // revoked already; the first reason stays
	}
	return err
}

// errZeroRevocation guards the meaning of zero: a device that isn't revoked.
var errZeroRevocation = errors.New("the time of the revocation is missing")

// changeDevice is compareAndSet for a statement that changes a device. Followers are
// told of each of its certificates.
func (o operations) changeDevice(ctx context.Context, doing string, set statement, id string) error {
	return o.write(ctx, func(rows *transaction) error {
		exists := statement{`SELECT 1 FROM devices WHERE id = ?`, []any{id}}
		if err := (operations{rows, within(rows)}).compareAndSet(ctx, doing, set, exists); err != nil {
			return err
		}
		certificates, err := list(ctx, doing, rows, statement{`SELECT certificate FROM device_certificates WHERE device_id = ?`, []any{id}}, scanText)
		rows.noteDevices(certificates)
		return err
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
