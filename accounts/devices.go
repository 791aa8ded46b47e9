package accounts

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

var (
	// ErrNoDevice says that no device has the id.
	ErrNoDevice = errors.New("no device has this ID")
	// ErrRevoked says that a device is revoked already.
	ErrRevoked = errors.New("the device has already been revoked")
	// ErrNoCA says that no certificates are issued here.
	ErrNoCA = errors.New("no certificates are issued here: write certificate { ca NAME } in the global option mfa, and name a CA of the pki option")
)

// ViaCommand says of a device that an administrator issued its certificate.
const ViaCommand = "command"

// Issuer makes certificates; *devices.Authority does.
type Issuer interface {
	Issue(d store.Device, request []byte) (store.Device, []*x509.Certificate, error)
}

// Enrolment makes the tokens by which machines enrol; package enrolment offers it.
type Enrolment interface {
	NewToken(ctx context.Context, userID, name, by string) (enrolment.Token, error)
	NewFleet(ctx context.Context, f enrolment.Fleet, by string) (enrolment.Token, error)
	Fleets(ctx context.Context) ([]enrolment.Fleet, error)
	RevokeFleet(ctx context.Context, name, by string) error
}

// Device is a device with the name of its user, and whether they may sign in.
type Device struct {
	store.Device
	User       string
	UserStatus store.UserStatus
}

// DeviceError says what about a device can't be, and what to do.
type DeviceError struct{ text string }

func (e *DeviceError) Error() string { return e.text }

// Text says it to operators.
func (e *DeviceError) Text() string { return e.text }

// maxCommonName is how long the common name of a certificate may be, in
// characters (RFC 5280, appendix A.1).
const maxCommonName = 64

func deviceName(written string) (string, error) {
	name, err := identity.CheckDisplayName(written)
	switch {
	case err != nil:
		return "", err
	case name == "":
		return "", &DeviceError{"The device needs a name."}
	case utf8.RuneCountInString(name) > maxCommonName:
		return "", &DeviceError{"Use a shorter name for the device, of at most 64 characters."}
	}
	return name, nil
}

// IssueDevice makes a certificate for a device of a user's, for the key of a
// signing request (PEM or DER). It returns the certificate, followed by those
// between it and the CA's root. ErrNoCA where none is issued here; what can't be
// used is an error whose method Text says so to people. The store keeps what is
// between as well, for devices that don't send it.
func (d *Desk) IssueDevice(ctx context.Context, user, name string, request []byte) (Device, []*x509.Certificate, error) {
	if d.issuer == nil {
		return Device{}, nil, ErrNoCA
	}
	name, err := deviceName(name)
	if err != nil {
		return Device{}, nil, err
	}
	id, err := token.New(d.random)
	if err != nil {
		return Device{}, nil, err
	}
	var issued Device
	var chain []*x509.Certificate
	err = d.change(ctx, user, func(tx store.Tx, owner store.User) ([]store.Event, error) {
		if owner.Status == store.UserDisabled {
			return nil, &DeviceError{"The user is disabled: enable them first."}
		}
		made, certificates, err := d.issuer.Issue(store.Device{
			ID: id, UserID: owner.ID, Name: name, State: store.DeviceActive, Via: ViaCommand,
		}, request)
		if err != nil {
			return nil, err
		}
		if _, err := tx.DeviceByKey(ctx, made.Key); err == nil {
			return nil, &DeviceError{"Another device has that key. Make a new key on this device."}
		} else if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		issued, chain = Device{made, owner.Name, owner.Status}, certificates
		for _, above := range certificates[1:] {
			if err := tx.KeepIssuer(ctx, devices.IssuerRow(above)); err != nil {
				return nil, err
			}
		}
		return []store.Event{d.deviceEvent(audit.DeviceIssued, issued, "")}, tx.CreateDevice(ctx, made)
	})
	return issued, chain, err
}

// deviceEvent makes an event about a device, done by an administrator.
func (d *Desk) deviceEvent(what audit.Name, device Device, reason string) store.Event {
	fields := audit.Fields{audit.Device: device.Name, audit.Serial: device.Serial}
	if reason != "" {
		fields[audit.Reason] = reason
	}
	return d.event(what, store.User{ID: device.UserID, Name: device.User}, fields)
}

// Devices lists the devices of a user, or everybody's for the empty name, newest
// first, those revoked and expired included.
func (d *Desk) Devices(ctx context.Context, name string) ([]Device, error) {
	if name != "" {
		user, err := d.find(ctx, name)
		if err != nil {
			return nil, err
		}
		rows, err := d.store.DevicesOf(ctx, user.ID)
		return named(rows, map[string]store.User{user.ID: user}), err
	}
	var all []Device
	err := d.store.View(ctx, func(r store.Reader) error {
		users, err := usersByID(ctx, r)
		if err != nil {
			return err
		}
		rows, err := store.All(ctx, r.ListDevices)
		all = named(rows, users)
		return err
	})
	return all, err
}

func named(rows []store.Device, users map[string]store.User) []Device {
	all := make([]Device, len(rows))
	for i, row := range rows {
		user := users[row.UserID]
		all[i] = Device{row, user.Name, user.Status}
	}
	return all
}

// Device returns the device of an id, as lists show it or as its certificate
// does.
func (d *Desk) Device(ctx context.Context, id string) (Device, error) {
	all, err := d.Devices(ctx, "")
	if err != nil {
		return Device{}, err
	}
	matching := slices.DeleteFunc(all, func(one Device) bool { return one.ID != id && audit.ShortID(one.ID) != id })
	if len(matching) != 1 {
		return Device{}, ErrNoDevice
	}
	return matching[0], nil
}

// RenameDevice gives a device another name. Its certificate keeps the old one.
func (d *Desk) RenameDevice(ctx context.Context, id, name string) (Device, error) {
	name, err := deviceName(name)
	if err != nil {
		return Device{}, err
	}
	return d.onDevice(ctx, id, func(tx store.Tx, device Device) ([]store.Event, error) {
		device.Name = name
		return []store.Event{d.deviceEvent(audit.DeviceRenamed, device, "")}, tx.UpdateDevice(ctx, device.Device)
	})
}

// RevokeDevice revokes a device for one of devices.Reasons, or the empty one for
// the default, and ends the sign-ons that it opened. ErrRevoked where it is
// revoked.
func (d *Desk) RevokeDevice(ctx context.Context, id, reason string) (Device, error) {
	if reason == "" {
		reason = devices.DefaultReason
	}
	if !slices.Contains(devices.Reasons(), reason) {
		return Device{}, &DeviceError{"There is no such reason. There are " + strings.Join(devices.Reasons(), ", ") + "."}
	}
	return d.onDevice(ctx, id, func(tx store.Tx, device Device) ([]store.Event, error) {
		if !device.Revoked.IsZero() {
			return nil, ErrRevoked
		}
		ended, err := person.RevokeDevice(ctx, tx, device.Device, d.clock(), reason)
		events := d.endedBecause(session.EndedDevice, device.User, device.UserID, ended...)
		return append(events, d.deviceEvent(audit.DeviceRevoked, device, reason)), err
	})
}

// onDevice changes a device in one transaction, with the events that apply
// makes of it, and returns it as it is then.
func (d *Desk) onDevice(ctx context.Context, id string, apply func(store.Tx, Device) ([]store.Event, error)) (Device, error) {
	found, err := d.Device(ctx, id)
	if err != nil {
		return Device{}, err
	}
	var changed Device
	err = d.audit.Change(ctx, d.store, "changing a device", func(tx store.Tx) ([]store.Event, error) {
		row, err := tx.DeviceByID(ctx, found.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil, ErrNoDevice
		}
		if err != nil {
			return nil, err
		}
		events, err := apply(tx, Device{row, found.User, found.UserStatus})
		if err != nil {
			return nil, err
		}
		row, err = tx.DeviceByID(ctx, found.ID)
		changed = Device{row, found.User, found.UserStatus}
		return events, err
	})
	return changed, err
}

// EnrolmentToken makes a token that enrols one machine as a user's device. If the name is
// empty, the machine chooses its own. ErrNoCA where no certificates are issued here,
// enrolment.ErrInactive unless the user may sign in.
func (d *Desk) EnrolmentToken(ctx context.Context, user, name string) (enrolment.Token, error) {
	if d.Enrolment == nil {
		return enrolment.Token{}, ErrNoCA
	}
	if name != "" {
		var err error
		if name, err = deviceName(name); err != nil {
			return enrolment.Token{}, err
		}
	}
	found, err := d.find(ctx, user)
	if err != nil {
		return enrolment.Token{}, err
	}
	if found.Status != store.UserActive {
		return enrolment.Token{}, ErrNotSetUp
	}
	return d.Enrolment.NewToken(ctx, found.ID, name, by)
}

// SuspendDevice lets a device open nothing until it is approved, and ends what it
// opened.
func (d *Desk) SuspendDevice(ctx context.Context, id string) (Device, error) {
	return d.onDevice(ctx, id, func(tx store.Tx, device Device) ([]store.Event, error) {
		switch {
		case !device.Revoked.IsZero():
			return nil, ErrRevoked
		case device.State == store.DeviceSuspended:
			return nil, &DeviceError{"The device is suspended already."}
		}
		device.State = store.DeviceSuspended
		if err := tx.UpdateDevice(ctx, device.Device); err != nil {
			return nil, err
		}
		ended, err := session.EndOpenedBy(ctx, tx, device.Device, d.clock())
		events := d.endedBecause(session.EndedDevice, device.User, device.UserID, ended...)
		return append(events, d.deviceEvent(audit.DeviceSuspended, device, "")), err
	})
}

// ApproveDevice lets a pending or suspended device in, for the user that it belongs
// to.
func (d *Desk) ApproveDevice(ctx context.Context, id string) (Device, error) {
	return d.onDevice(ctx, id, func(tx store.Tx, device Device) ([]store.Event, error) {
		switch {
		case !device.Revoked.IsZero():
			return nil, ErrRevoked
		case device.UserID == "":
			return nil, &DeviceError{"The device belongs to nobody: use caddy mfa device assign."}
		case device.State == store.DeviceActive:
			return nil, &DeviceError{"The device is active already."}
		}
		device.State = store.DeviceActive
		return []store.Event{d.deviceEvent(audit.DeviceResumed, device, "")}, tx.UpdateDevice(ctx, device.Device)
	})
}

// AssignDevice assigns a device to a user and lets it in. It ends what the device opened
// for its previous user.
func (d *Desk) AssignDevice(ctx context.Context, id, user string) (Device, error) {
	owner, err := d.find(ctx, user)
	if err != nil {
		return Device{}, err
	}
	assigned, err := d.onDevice(ctx, id, func(tx store.Tx, device Device) ([]store.Event, error) {
		if !device.Revoked.IsZero() {
			return nil, ErrRevoked
		}
		if device.Issuer != "" {
			return nil, &DeviceError{"The device's CA says whose it is."}
		}
		ended, err := session.EndOpenedBy(ctx, tx, device.Device, d.clock())
		if err != nil {
			return nil, err
		}
		events := d.endedBecause(session.EndedDevice, device.User, device.UserID, ended...)
		device.UserID, device.State = owner.ID, store.DeviceActive
		device.User, device.UserStatus = owner.Name, owner.Status
		return append(events, d.deviceEvent(audit.DeviceAssigned, device, "")), tx.UpdateDevice(ctx, device.Device)
	})
	assigned.User, assigned.UserStatus = owner.Name, owner.Status
	return assigned, err
}
