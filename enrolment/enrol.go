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
	enrol := r.enrolPermitted
	if ofFleet {
		enrol = r.enrolOfFleet
	}
	var issued Issued
	err = r.Audit.Change(ctx, r.Store, "enrolling a device", func(tx store.Tx) (events []store.Event, err error) {
		issued, events, err = enrol(ctx, tx, applicant{hash, verifier, key, id, request, says})
		return events, err
	})
	return issued, err
}

// applicant is a machine that wants to be enrolled.
type applicant struct {
	hash     string // of the token or code that it shows
	verifier string // of PKCE; empty: it shows none
	key      string // devices.KeyID of the key that it wants a certificate for
	id       string // of the device that it may become
	request  []byte
	says     Claims
}

// enrolPermitted makes a machine that shows a token for one enrolment, or a code, a device
// of the user whose it is.
func (r *Registrar) enrolPermitted(ctx context.Context, tx store.Tx, a applicant) (issued Issued, events []store.Event, err error) {
	record, allowed, err := r.permitted(ctx, tx, a)
	if err != nil {
		return Issued{}, nil, err
	}
	user, err := activeUser(ctx, tx, record.Owner)
	if err != nil {
		return Issued{}, nil, err
	}
	known, err := tx.DeviceByKey(ctx, a.key)
	switch isValid := err == nil && known.Revoked.IsZero(); {
	case isValid && allowed.Device == known.ID:
		issued, err = again(known)
		return issued, nil, err
	case isValid && allowed.Device == "" && allowed.Key == a.key && known.UserID == "" && known.State == store.DevicePending:
		issued, events, err = r.claim(ctx, tx, known, user, a.says)
	case err == nil:
		err = ErrKeyTaken
	case errors.Is(err, store.ErrNotFound):
		issued, events, err = r.admit(ctx, tx, user, allowed, a)
	}
	if err != nil {
		return Issued{}, nil, err
	}
	allowed.Key, allowed.Device = a.key, issued.Device.ID
	return issued, events, r.rewrite(ctx, tx, record, allowed)
}

// admit issues a certificate to a machine whose key isn't known: it becomes a new device of
// the user's, or the same one again.
func (r *Registrar) admit(ctx context.Context, tx store.Tx, user store.User, allowed permit, a applicant) (issued Issued, events []store.Event, err error) {
	device, rejoins, err := r.rejoining(ctx, tx, user, a.says)
	if err != nil {
		return Issued{}, nil, err
	}
	if rejoins {
		issued, err = r.reissue(ctx, tx, device, a.request, a.says)
	} else {
		issued, err = r.create(ctx, tx, store.Device{
			ID: a.id, UserID: user.ID, Name: cmp.Or(allowed.Name, shown(a.says.Name), defaultName), State: store.DeviceActive, Via: allowed.Via,
		}, a)
	}
	if err != nil {
		return Issued{}, nil, err
	}
	return issued, []store.Event{r.event(audit.DeviceIssued, issued.Device, user, a.says)}, nil
}

// create makes a new device.
func (r *Registrar) create(ctx context.Context, tx store.Tx, device store.Device, a applicant) (issued Issued, err error) {
	a.says.describe(&device)
	if device.Replaces, err = replaced(ctx, tx, device); err != nil {
		return Issued{}, err
	}
	return r.issue(ctx, tx, device, a.request, store.Tx.CreateDevice)
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

// permitted reads what a token or a code stands for, if it counts for the machine's key.
func (r *Registrar) permitted(ctx context.Context, tx store.Tx, a applicant) (store.Record, permit, error) {
	var allowed permit
	record, err := tx.GetRecord(ctx, namespace, a.hash, r.Clock())
	if err != nil {
		return record, allowed, refusing(err)
	}
	if err := json.Unmarshal(record.Value, &allowed); err != nil {
		return record, allowed, fmt.Errorf("reading an enrolment token: %w", err)
	}
	sum := sha256.Sum256([]byte(a.verifier))
	proof := base64.RawURLEncoding.EncodeToString(sum[:])
	if allowed.Challenge != "" && subtle.ConstantTimeCompare([]byte(proof), []byte(allowed.Challenge)) != 1 ||
		allowed.Key != "" && allowed.Key != a.key {
		return record, allowed, ErrRefused
	}
	if allowed.Waiting {
		return record, allowed, ErrWaiting
	}
	return record, allowed, nil
}

// rewrite notes what a token was used for: of several who use it at once, one wins.
func (r *Registrar) rewrite(ctx context.Context, tx store.Tx, record store.Record, by any) (err error) {
	if record.Value, err = json.Marshal(by); err != nil {
		return fmt.Errorf("encoding an enrolment token: %w", err)
	}
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
