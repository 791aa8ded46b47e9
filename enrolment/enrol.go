package enrolment

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// defaultName is what a device is called that says nothing usable about itself.
const defaultName = "Device"

// Enrol makes a device of a machine that shows a token, or a code with a dot and its PKCE
// verifier, and issues its certificate for the key of a signing request (PKCS #10, PEM or
// DER). A machine that asks again with the same token and key, because an answer was lost,
// gets the same certificate. A machine that was one of the user's devices, and shows its
// newest certificate, becomes the same device again. ErrRefused, ErrKeyTaken and
// ErrInactive are definite, and so is a *devices.RequestError; ErrWaiting isn't.
func (r *Registrar) Enrol(ctx context.Context, secret string, request []byte, says Claims) (Issued, error) {
	secret, verifier, _ := strings.Cut(secret, ".")
	hash := token.Hash(secret)
	// What a stranger sends costs reads, and no transaction or signature check: neither a
	// guess nor asking again and again about a code that nobody has typed.
	record, err := r.Store.GetRecord(ctx, namespace, hash, r.Clock())
	ofFleet := errors.Is(err, store.ErrNotFound)
	if ofFleet {
		_, err = r.Store.GetRecord(ctx, fleets, hash, r.Clock())
	}
	if err != nil {
		return Issued{}, refusing(err)
	}
	if isWaiting(record) {
		return Issued{}, ErrWaiting
	}
	key, err := devices.RequestedKey(request)
	if err != nil {
		return Issued{}, err
	}
	id, err := token.New(r.Random)
	if err != nil {
		return Issued{}, err
	}
	var issued Issued
	err = r.Audit.Change(ctx, r.Store, "enrolling a device", func(tx store.Tx) (events []store.Event, err error) {
		if ofFleet {
			issued, events, err = r.enrolOfFleet(ctx, tx, hash, key, id, request, says)
			return events, err
		}
		record, allowed, err := r.permitted(ctx, tx, hash, verifier, key)
		if err != nil {
			return nil, err
		}
		user, err := activeUser(ctx, tx, record.Owner)
		if err != nil {
			return nil, err
		}
		switch known, err := tx.DeviceByKey(ctx, key); {
		case err == nil && allowed.Device == known.ID && known.Revoked.IsZero():
			issued, err = again(known)
			return nil, err
		case err == nil && allowed.Device == "" && allowed.Key == key && known.UserID == "" && known.State == store.DevicePending && known.Revoked.IsZero():
			if issued, events, err = r.claim(ctx, tx, known, user, says); err != nil {
				return nil, err
			}
			allowed.Device = known.ID
			return events, put(ctx, tx, record, allowed, r)
		case err == nil:
			return nil, ErrKeyTaken
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
		device, rejoins, err := r.rejoining(ctx, tx, user, says)
		if err != nil {
			return nil, err
		}
		if rejoins {
			issued, err = r.reissue(ctx, tx, device, request, says)
		} else {
			issued, err = r.create(ctx, tx, store.Device{
				ID: id, UserID: user.ID, Name: cmp.Or(allowed.Name, shown(says.Name), defaultName), State: store.DeviceActive, Via: allowed.Via,
			}, request, says)
		}
		if err != nil {
			return nil, err
		}
		allowed.Key, allowed.Device = key, issued.Device.ID
		return []store.Event{r.event(audit.DeviceIssued, issued.Device, user, says)}, put(ctx, tx, record, allowed, r)
	})
	return issued, err
}

// create makes a new device.
func (r *Registrar) create(ctx context.Context, tx store.Tx, device store.Device, request []byte, says Claims) (issued Issued, err error) {
	says.describe(&device)
	if device.Replaces, err = replaced(ctx, tx, device); err != nil {
		return Issued{}, err
	}
	return r.issue(ctx, tx, device, request, store.Tx.CreateDevice)
}

// rejoining returns the device that a machine was until its certificate expired, if it
// may be the same one again: the user's own, active, and by its newest certificate.
func (r *Registrar) rejoining(ctx context.Context, tx store.Tx, user store.User, says Claims) (store.Device, bool, error) {
	if says.Former == "" {
		return store.Device{}, false, nil
	}
	found, err := tx.DeviceByCertificate(ctx, says.Former)
	if errors.Is(err, store.ErrNotFound) {
		return store.Device{}, false, nil
	}
	if err != nil {
		return store.Device{}, false, err
	}
	device, err := tx.DeviceByID(ctx, found.ID)
	same := device.UserID == user.ID && device.State == store.DeviceActive && device.Revoked.IsZero() && device.Issuer == "" &&
		device.Certificate == says.Former
	return device, same, err
}

// isWaiting reports whether nobody has confirmed yet what a record stands for.
func isWaiting(record store.Record) bool {
	var allowed permit
	return json.Unmarshal(record.Value, &allowed) == nil && allowed.Waiting
}

func refusing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrRefused
	}
	return err
}

// permitted reads what a token or a code stands for, if it counts for a key.
func (r *Registrar) permitted(ctx context.Context, tx store.Tx, hash, verifier, key string) (store.Record, permit, error) {
	var allowed permit
	record, err := tx.GetRecord(ctx, namespace, hash, r.Clock())
	if err != nil {
		return record, allowed, refusing(err)
	}
	if err := json.Unmarshal(record.Value, &allowed); err != nil {
		return record, allowed, fmt.Errorf("reading an enrolment token: %w", err)
	}
	sum := sha256.Sum256([]byte(verifier))
	proof := base64.RawURLEncoding.EncodeToString(sum[:])
	if allowed.Challenge != "" && subtle.ConstantTimeCompare([]byte(proof), []byte(allowed.Challenge)) != 1 ||
		allowed.Key != "" && allowed.Key != key {
		return record, allowed, ErrRefused
	}
	if allowed.Waiting {
		return record, allowed, ErrWaiting
	}
	return record, allowed, nil
}

// put notes what a token was used for: of several who use it at once, one wins.
func put(ctx context.Context, tx store.Tx, record store.Record, p permit, r *Registrar) error {
	value, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encoding an enrolment token: %w", err)
	}
	record.Value = value
	return tx.UpdateRecord(ctx, record, r.Clock())
}

// replaced returns the newest device of the user's that the same machine was before;
// empty: none.
func replaced(ctx context.Context, tx store.Tx, d store.Device) (string, error) {
	if d.Machine == "" {
		return "", nil
	}
	all, err := tx.DevicesOf(ctx, d.UserID)
	for _, other := range all {
		if other.Machine == d.Machine && other.Revoked.IsZero() {
			return other.ID, err
		}
	}
	return "", err
}

// issue makes a certificate for a device and has it kept.
func (r *Registrar) issue(ctx context.Context, tx store.Tx, d store.Device, request []byte, keepDevice func(store.Tx, context.Context, store.Device) error) (Issued, error) {
	made, chain, err := r.Issuer.Issue(d, request)
	if err != nil {
		return Issued{}, err
	}
	if err := keep(ctx, tx, chain); err != nil {
		return Issued{}, err
	}
	return Issued{made, chain[0]}, keepDevice(tx, ctx, made)
}

func (r *Registrar) event(what audit.Name, d store.Device, user store.User, says Claims) store.Event {
	return r.Audit.Event(what, user.ID, audit.Fields{
		audit.User: user.Name, audit.Device: d.Name, audit.Serial: d.Serial, audit.Address: says.Address,
	})
}
