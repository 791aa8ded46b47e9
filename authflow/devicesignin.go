package authflow

import (
	"context"
	"errors"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// DeviceLogin is a device whose certificate was verified on the connection that
// a request came by.
type DeviceLogin struct {
	ID      string
	Expires time.Time // when the certificate, or its CA, does
}

// SignInDevice makes a sign-on of the owner of a device, by the certificate
// alone and without a flow, since there is nothing to ask. It ends with the
// certificate at the latest. previous is as in Grant. The device and its user
// are read again in the same transaction: person.ErrNoDevice where they don't count any
// more.
func (e *Engine) SignInDevice(ctx context.Context, in DeviceLogin, previous string, c person.Client) (Granted, error) {
	prepared, err := e.prepare("", c)
	if err != nil {
		return Granted{}, err
	}
	var made Granted
	err = e.People.Change(ctx, "signing a device in", func(tx store.Tx) ([]store.Event, error) {
		device, user, err := e.deviceIn(ctx, tx, in.ID)
		if err != nil {
			return nil, err
		}
		made = prepared
		made.SignOn.UserID = user.ID
		made.SignOn.Proofs = []assurance.Proof{{Factor: assurance.Certificate, At: made.SignOn.Started, Credential: device.ID}}
		for _, end := range []time.Time{device.Expires, in.Expires} {
			if end.Before(made.SignOn.Expires) {
				made.SignOn.Expires = end
			}
		}
		var known bool
		if made.Browser, known, err = e.keepBrowser(ctx, tx, Flow{}, made.SignOn, c.Browser, prepared.Browser); err != nil {
			return nil, err
		}
		events, err := e.replace(ctx, tx, made.SignOn, previous, c)
		if err != nil {
			return nil, err
		}
		event := e.granted(audit.SignInSucceeded, user, made.SignOn, known, c)
		event.Fields[string(audit.Device)] = device.Name
		return append(events, event), nil
	})
	if err != nil {
		return Granted{}, err
	}
	return made, nil
}

// deviceIn reads a device that counts, and its user.
func (e *Engine) deviceIn(ctx context.Context, tx store.Tx, id string) (store.Device, store.User, error) {
	device, err := e.People.ValidDevice(ctx, tx, id)
	if err != nil {
		return store.Device{}, store.User{}, err
	}
	if device.State != store.DeviceActive {
		return store.Device{}, store.User{}, person.ErrNoDevice
	}
	user, err := tx.UserByID(ctx, device.UserID)
	if errors.Is(err, store.ErrNotFound) || err == nil && user.Status != store.UserActive {
		return store.Device{}, store.User{}, person.ErrNoDevice
	}
	return device, user, err
}
