package accounts

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Adopt implements devices.Adopter: it keeps a device that a CA of the
// operator's issued to a user, the first time that it comes. From then on it is
// that user's, whoever has the name or the address later, and nobody's once the
// user is deleted.
//
// One that is nobody's comes again with each request of whoever has it: only one
// that is somebody's is worth a transaction, which makes others wait.
func (d *Desk) Adopt(ctx context.Context, chain []*x509.Certificate, owner devices.Owner) error {
	device := devices.Describe(chain[0])
	coming := claim{device, chain[0].NotBefore, owner}
	if _, err := coming.adopter(ctx, d.store, d.clock()); err != nil {
		return adopting(err)
	}
	device.Issuer = devices.IssuerName(chain[0].Issuer)
	var err error
	if device.ID, err = token.New(d.random); err != nil {
		return err
	}
	err = d.audit.Change(ctx, d.store, "adopting it", func(tx store.Tx) ([]store.Event, error) {
		user, err := coming.adopter(ctx, tx, d.clock())
		if err != nil {
			return nil, err
		}
		device.UserID = user.ID
		event := d.audit.Event(audit.DeviceAdopted, user.ID, audit.Fields{
			audit.User: user.Name, audit.Device: device.Name, audit.Serial: device.Serial,
		})
		return []store.Event{event}, tx.CreateDevice(ctx, device)
	})
	if errors.Is(err, store.ErrConflict) {
		return nil // another request of it was faster
	}
	if err != nil {
		return adopting(err)
	}
	return nil
}

func adopting(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return session.DeviceUnknown
	}
	return fmt.Errorf("keeping a device: %w", err)
}

// EndWithdrawn ends what devices opened whose CA took their certificate back:
// those of the operator's CAs that are named. They stay, since their CA may give
// the certificate back, and until then asks about it each time.
func (d *Desk) EndWithdrawn(ctx context.Context, named func(store.Device) bool) error {
	all, err := d.Devices(ctx, "")
	if err != nil {
		return err
	}
	for _, device := range all {
		if device.Issuer == "" || !d.clock().Before(device.Expires) || !named(device.Device) {
			continue
		}
		err := d.end(ctx, func(tx store.Tx) ([]store.Event, error) {
			ended, err := session.EndOpenedBy(ctx, tx, device.Device, d.clock())
			events := make([]store.Event, len(ended))
			for i, id := range ended {
				events[i] = d.audit.Event(audit.SignOnEnded, device.UserID, audit.Fields{
					audit.User: device.User, audit.SignOn: audit.ShortID(id), audit.Reason: session.EndedDevice,
				})
			}
			return events, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropDevices prepares for the devices of a user to be deleted with them, and
// returns the events of those that count until then. Those of the operator's CAs
// are kept from being adopted by another who gets the name or the address; of the
// CA here only what the store knows counts.
func (d *Desk) dropDevices(ctx context.Context, tx store.Tx, user store.User) ([]store.Event, error) {
	all, err := tx.DevicesOf(ctx, user.ID)
	if err != nil {
		return nil, err
	}
	var events []store.Event
	for _, device := range all {
		if device.Revoked.IsZero() && d.clock().Before(device.Expires) {
			events = append(events, d.deviceEvent(audit.DeviceRevoked, Device{device, user.Name, user.Status}, session.EndedDeleted))
		}
		if device.Issuer == "" {
			continue
		}
		if err := tx.BarCertificate(ctx, device.Certificate, device.Expires); err != nil {
			return nil, err
		}
	}
	return events, nil
}
