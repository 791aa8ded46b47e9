package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// deviceColumns are of a device d and one certificate c of its own.
	deviceColumns = `d.id, coalesce(d.user_id, ''), d.name, d.state, d.machine, d.system, d.agent, d.protection, d.via, d.replaces, ` +
		`c.certificate, c.key, c.der, c.previous, c.serial, c.issuer, c.issued, c.expires, ` +
		`d.revoked, d.revoke_reason, d.last_seen, d.version`
	// selectDevices reads devices with the certificate that was issued last.
	selectDevices = `SELECT ` + deviceColumns + ` FROM devices AS d JOIN device_certificates AS c ON c.certificate = d.certificate`
	// selectCertificates reads certificates, each with its device.
	selectCertificates = `SELECT ` + deviceColumns + ` FROM device_certificates AS c JOIN devices AS d ON d.id = c.device_id`
	newestDevices      = ` ORDER BY d.issued DESC, d.id DESC`
)

func scanDevice(row scanner) (store.Device, error) {
	var d store.Device
	var issued, expires, revoked, lastSeen int64
	err := row.Scan(&d.ID, &d.UserID, &d.Name, &d.State, &d.Machine, &d.System, &d.Agent, &d.Protection, &d.Via, &d.Replaces,
		&d.Certificate, &d.Key, &d.DER, &d.Previous, &d.Serial, &d.Issuer, &issued, &expires,
		&revoked, &d.RevokeReason, &lastSeen, &d.Version)
	if err != nil {
		return store.Device{}, err
	}
	d.DER = orNil(d.DER)
	d.Issued, d.Expires = fromMicros(issued), fromMicros(expires)
	d.Revoked, d.LastSeen = fromMicros(revoked), fromMicros(lastSeen)
	return d, nil
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
		err := within(rows).insert(ctx, doing, statement{
			`INSERT INTO devices (id, user_id, name, state, machine, system, agent, protection, via, replaces,
				certificate, issued, expires, revoked, revoke_reason, last_seen, version)
			 SELECT $1, nullif($2::text, ''), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 1
			 WHERE $2::text = '' OR EXISTS (SELECT FROM users WHERE id = $2::text)
			 ON CONFLICT DO NOTHING`,
			[]any{
				d.ID, d.UserID, d.Name, string(d.State), d.Machine, d.System, d.Agent, d.Protection, d.Via, d.Replaces,
				d.Certificate, micros(d.Issued), micros(d.Expires), micros(d.Revoked), d.RevokeReason, micros(d.LastSeen),
			},
		}, d.UserID)
		if err != nil {
			return err
		}
		return addCertificate(ctx, rows, doing, d)
	})
}

// freeCertificate returns store.ErrConflict if a certificate, or its key, is taken.
func freeCertificate(ctx context.Context, rows *transaction, doing string, d store.Device) error {
	taken, err := list(ctx, doing, rows, statement{
		`SELECT certificate FROM device_certificates WHERE certificate = $1
		 UNION ALL SELECT certificate FROM device_certificates WHERE key = $2 AND issuer = '' AND key <> '' AND $3::text = ''`,
		[]any{d.Certificate, d.Key, d.Issuer},
	}, scanText)
	if len(taken) > 0 {
		return fmt.Errorf("%s: %w", doing, store.ErrConflict)
	}
	return err
}

func addCertificate(ctx context.Context, rows *transaction, doing string, d store.Device) error {
	_, err := changeIn(ctx, rows, doing, statement{
		`INSERT INTO device_certificates (certificate, device_id, key, der, previous, serial, issuer, issued, expires)
		 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		[]any{d.Certificate, d.ID, d.Key, notNull(d.DER), d.Previous, d.Serial, d.Issuer, micros(d.Issued), micros(d.Expires)},
	}, store.Change{Kind: store.DeviceChanged, ID: d.Certificate})
	return err
}

// RenewDevice implements store.Devices.
func (o operations) RenewDevice(ctx context.Context, d store.Device) error {
	const doing = "renewing a device"
	return o.write(ctx, func(rows *transaction) error {
		if err := freeCertificate(ctx, rows, doing, d); err != nil {
			return err
		}
		previous, err := one(ctx, doing, rows, statement{`SELECT certificate FROM devices WHERE id = $1`, []any{d.ID}}, scanText)
		if err != nil {
			return err
		}
		err = within(rows).changeDevice(ctx, doing, statement{
			`UPDATE devices SET certificate = $1, issued = $2, expires = $3, version = version + 1 WHERE id = $4 AND version = $5`,
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
	return one(ctx, "reading a device", o.rows, statement{selectDevices + ` WHERE d.id = $1`, []any{id}}, scanDevice)
}

// DeviceByCertificate implements store.Devices.
func (o operations) DeviceByCertificate(ctx context.Context, certificate string) (store.Device, error) {
	return one(ctx, "reading a device by its certificate", o.rows, statement{
		selectCertificates + ` WHERE c.certificate = $1`, []any{certificate},
	}, scanDevice)
}

// DeviceByKey implements store.Devices.
func (o operations) DeviceByKey(ctx context.Context, key string) (store.Device, error) {
	return one(ctx, "reading a device by its key", o.rows, statement{
		selectCertificates + ` WHERE c.key = $1 AND c.issuer = '' AND c.key <> ''`, []any{key},
	}, scanDevice)
}

// CertificatesOf implements store.Devices.
func (o operations) CertificatesOf(ctx context.Context, id string) ([]store.Device, error) {
	return list(ctx, "listing the certificates of a device", o.rows, statement{
		selectCertificates + ` WHERE c.device_id = $1 ORDER BY c.certificate = d.certificate DESC, c.issued DESC, c.certificate`, []any{id},
	}, scanDevice)
}

// RevokedCertificates implements store.Devices.
func (o operations) RevokedCertificates(ctx context.Context, now time.Time) ([]store.Device, error) {
	return list(ctx, "listing revoked certificates", o.rows, statement{
		selectCertificates + ` WHERE d.revoked > 0 AND c.expires > $1 ORDER BY c.certificate`, []any{micros(now)},
	}, scanDevice)
}

// DevicesOf implements store.Devices.
func (o operations) DevicesOf(ctx context.Context, userID string) ([]store.Device, error) {
	return list(ctx, "listing a user's devices", o.rows, statement{
		selectDevices + ` WHERE d.user_id = $1` + newestDevices, []any{userID},
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
	const doing = "updating a device"
	return o.write(ctx, func(rows *transaction) error {
		if d.UserID != "" {
			if _, err := one(ctx, doing, rows, userExists(d.UserID), scanNumber); err != nil {
				return err
			}
		}
		return within(rows).changeDevice(ctx, doing, statement{
			`UPDATE devices SET name = $1, user_id = nullif($2, ''), state = $3, machine = $4, system = $5, agent = $6, protection = $7,
				version = version + 1
			 WHERE id = $8 AND version = $9`,
			[]any{d.Name, d.UserID, string(d.State), d.Machine, d.System, d.Agent, d.Protection, d.ID, d.Version},
		}, d.ID)
	})
}

// RevokeDevice implements store.Devices.
func (o operations) RevokeDevice(ctx context.Context, id string, at time.Time, reason string) error {
	const doing = "revoking a device"
	if micros(at) == 0 {
		return failed(ctx, doing, errZeroRevocation)
	}
	err := o.changeDevice(ctx, doing, statement{
		`UPDATE devices SET revoked = $1, revoke_reason = $2, version = version + 1
		 WHERE id = $3 AND revoked = 0`,
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
		exists := statement{`SELECT 1 FROM devices WHERE id = $1`, []any{id}}
		if err := within(rows).compareAndSet(ctx, doing, set, exists); err != nil {
			return err
		}
		certificates, err := list(ctx, doing, rows, statement{`SELECT certificate FROM device_certificates WHERE device_id = $1`, []any{id}}, scanText)
		rows.noteEach(store.DeviceChanged, certificates)
		return err
	})
}

// TouchDevices implements store.Devices.
func (o operations) TouchDevices(ctx context.Context, seen []store.DeviceActivity) error {
	return touch(ctx, o,
		`UPDATE devices t SET last_seen = s.seen FROM `+seenRows+` WHERE t.id = s.id AND t.revoked = 0 AND t.last_seen < s.seen`,
		seen, func(a store.DeviceActivity) (string, time.Time) { return a.Device, a.Seen })
}

// BarCertificate implements store.Devices.
func (o operations) BarCertificate(ctx context.Context, certificate string, expires time.Time) error {
	_, err := o.change(ctx, "barring a certificate", statement{
		`INSERT INTO barred_certificates (certificate, expires) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
		[]any{certificate, micros(expires)},
	})
	return err
}

// IsBarred implements store.Devices.
func (o operations) IsBarred(ctx context.Context, certificate string) (bool, error) {
	return one(ctx, "looking for a barred certificate", o.rows, statement{
		`SELECT EXISTS (SELECT FROM barred_certificates WHERE certificate = $1)`, []any{certificate},
	}, scanBool)
}
