package selfservice

import (
	"context"
	"fmt"
	"slices"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// DevicesOf returns a user's devices, newest first, without those that are of
// the past: revoked or expired.
func (s *Service) DevicesOf(ctx context.Context, userID string) ([]store.Device, error) {
	all, err := s.Store.DevicesOf(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("reading a user's devices: %w", err)
	}
	return slices.DeleteFunc(all, func(d store.Device) bool { return !s.People.IsValid(d) }), nil
}

// RenameDevice gives one of the person's own devices another name. Its certificate keeps
// the old one. *person.Invalid with the field "name" says what is wrong with the name.
func (s *Service) RenameDevice(ctx context.Context, by store.SignOn, id, name string, c person.Client) error {
	name, err := person.CredentialName(name)
	if err != nil {
		return err
	}
	return s.People.Change(ctx, "renaming a device", func(tx store.Tx) ([]store.Event, error) {
		user, device, err := s.ownDevice(ctx, tx, by, id)
		if err != nil {
			return nil, err
		}
		device.Name = name
		return []store.Event{s.People.Own(audit.DeviceRenamed, user, c, audit.Fields{
			audit.Device: device.Name, audit.Serial: device.Serial,
		})}, tx.UpdateDevice(ctx, device)
	})
}

// RevokeDevice revokes one of the person's own devices, and ends the sign-ons
// that it opened. person.ErrStale where they have to be checked first.
func (s *Service) RevokeDevice(ctx context.Context, by store.SignOn, u store.User, id string, c person.Client) error {
	return s.People.Change(ctx, "revoking a device", func(tx store.Tx) ([]store.Event, error) {
		user, device, err := s.ownDevice(ctx, tx, by, id)
		if err != nil {
			return nil, err
		}
		ended, err := person.RevokeDevice(ctx, tx, device, s.Clock(), session.EndedByOwner)
		if err != nil {
			return nil, err
		}
		events := []store.Event{s.People.Own(audit.DeviceRevoked, user, c, audit.Fields{
			audit.Device: device.Name, audit.Serial: device.Serial, audit.Reason: session.EndedByOwner,
		})}
		for _, id := range ended {
			events = append(events, s.People.SignOnEnded(user, id, session.EndedDevice, c))
		}
		return events, nil
	})
}

// ownDevice returns whoever wants to change one of their own devices, and the device. It
// returns person.ErrStale if they have to be checked first, and person.ErrNoDevice if they
// have no such device.
func (s *Service) ownDevice(ctx context.Context, tx store.Tx, by store.SignOn, id string) (store.User, store.Device, error) {
	_, user, _, err := s.People.Checked(ctx, tx, by.ID)
	if err != nil {
		return store.User{}, store.Device{}, err
	}
	device, err := s.People.ValidDevice(ctx, tx, id)
	if err == nil && device.UserID != user.ID {
		err = person.ErrNoDevice
	}
	return user, device, err
}
