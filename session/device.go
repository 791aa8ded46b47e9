package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

// Device is a machine's certificate, as the store has it.
type Device = store.Device

// DeviceRefusal says why a device doesn't count. It is a definite no; texts for
// people are made at the edge.
type DeviceRefusal string

// The reasons why a device is refused.
const (
	// DeviceUnknown: nobody has a device with that certificate.
	DeviceUnknown DeviceRefusal = "unknown_device"
	// DeviceRevoked: it was revoked.
	DeviceRevoked DeviceRefusal = "revoked"
	// DevicePending: nobody has approved it yet.
	DevicePending DeviceRefusal = "pending_device"
	// DeviceSuspended: its owner or an administrator has to decide about it.
	DeviceSuspended DeviceRefusal = "suspended_device"
	// DeviceExpired: its certificate is over its time.
	DeviceExpired DeviceRefusal = "expired"
	// DeviceOfNobody: its user may not sign in.
	DeviceOfNobody DeviceRefusal = "disabled_user"
	// DeviceOfFormerHolder: its certificate is from a time when somebody else had
	// the name that it names its user by.
	DeviceOfFormerHolder DeviceRefusal = "former_holder"
)

// Error returns the reason.
func (r DeviceRefusal) Error() string { return "device: " + string(r) }

// RefusedDevice is a DeviceRefusal with what is known of the device.
type RefusedDevice struct {
	DeviceRefusal
	Name   string
	UserID string
	User   string // sign-in name
}

// Unwrap returns the reason.
func (r RefusedDevice) Unwrap() error { return r.DeviceRefusal }

// EndedDevice is the reason why sign-ons end with a device.
const EndedDevice = "device_revoked"

// maxDevices bounds how many devices are kept in memory.
const maxDevices = 100_000

// keptDevice is what is needed of a device with each request. One that doesn't
// count is kept like any other, since it may be there later: the feed tells.
type keptDevice struct {
	id, user, name string
	expires        time.Time
	refusal        DeviceRefusal // empty: it counts
	seen           *sighting     // nil where it doesn't
}

// LiveDevice is a device that counted when it was looked up.
type LiveDevice struct {
	ID      string
	Name    string
	Expires time.Time // with its certificate
	User    *Profile
	// Vouched asks the certificate's CA whether it took it back, and returns an
	// error unless it says no; nil: the CA isn't asked.
	Vouched func() error

	keeper      *Keeper
	certificate string
	device      *row[keptDevice]
	owner       *row[Profile]
}

// DeviceLookup says which device is asked about, and how.
type DeviceLookup struct {
	// Certificate is the SHA-256 of the certificate (DER), in lower-case hex.
	Certificate string
	// MaxStaleness is as in SignOnLookup.
	MaxStaleness time.Duration
}

// LiveDevice returns the device with the certificate, and its user, if both
// count now, and notes that it was seen. A DeviceRefusal is a definite no, and a
// RefusedDevice where the device is known; any other error means that it could
// not be told.
func (k *Keeper) LiveDevice(ctx context.Context, l DeviceLookup) (LiveDevice, error) {
	now := k.clock()
	if k.stale(now, l.MaxStaleness) {
		return LiveDevice{}, ErrCutOff
	}
	d, err := k.findDevice(ctx, l.Certificate, now)
	if err != nil {
		return LiveDevice{}, k.refusing(ctx, d, err)
	}
	owner, err := k.findOwner(ctx, d.value.user)
	if err != nil {
		return LiveDevice{}, k.refusing(ctx, d, err)
	}
	if !d.value.seen.raise(now.UnixNano()) {
		k.deviceActivity.note(d.value.id, now)
	}
	return LiveDevice{
		ID: d.value.id, Name: d.value.name, Expires: d.value.expires, User: &owner.value,
		keeper: k, certificate: l.Certificate, device: d, owner: owner,
	}, nil
}

// refusing adds to the refusal of a device what is known of it.
func (k *Keeper) refusing(ctx context.Context, d *row[keptDevice], err error) error {
	known := RefusedDevice{}
	if !errors.As(err, &known.DeviceRefusal) || d == nil || d.value.id == "" {
		return err
	}
	known.Name, known.UserID = d.value.name, d.value.user
	if owner, err := k.profiles.find(ctx, d.value.user); err == nil {
		known.User = owner.value.Name
	}
	return known
}

func (k *Keeper) readDevice(ctx context.Context, certificate string) (keptDevice, error) {
	d, err := k.store.DeviceByCertificate(ctx, certificate)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return keptDevice{refusal: DeviceUnknown}, nil
	case err != nil:
		return keptDevice{}, fmt.Errorf("reading a device: %w", err)
	}
	if refusal := refusalOf(d); refusal != "" {
		return keptDevice{id: d.ID, user: d.UserID, name: d.Name, refusal: refusal}, nil
	}
	return keptDevice{
		id: d.ID, user: d.UserID, name: d.Name, expires: d.Expires, seen: k.deviceActivity.learn(d.ID, d.LastSeen),
	}, nil
}

// refusalOf is why a device doesn't count, whatever the time; empty: it does.
func refusalOf(d Device) DeviceRefusal {
	switch {
	case !d.Revoked.IsZero():
		return DeviceRevoked
	case d.State == store.DeviceSuspended:
		return DeviceSuspended
	case d.State != store.DeviceActive || d.UserID == "":
		return DevicePending
	}
	return ""
}

// findDevice returns a device that counts at the time now, or with a
// DeviceRefusal what is known of one that doesn't.
func (k *Keeper) findDevice(ctx context.Context, certificate string, now time.Time) (*row[keptDevice], error) {
	d, err := k.devices.find(ctx, certificate)
	switch {
	case err != nil:
		return nil, err
	case d.value.refusal != "":
		return d, d.value.refusal
	case !now.Before(d.value.expires):
		return d, DeviceExpired
	}
	return d, nil
}

// findOwner returns the user of a device.
func (k *Keeper) findOwner(ctx context.Context, id string) (*row[Profile], error) {
	owner, err := active(k.profiles.find(ctx, id))
	if errors.Is(err, ErrEnded) {
		return nil, DeviceOfNobody
	}
	return owner, err
}

// Key implements Anchor: it is the SHA-256 of the certificate.
func (d *LiveDevice) Key() string { return d.certificate }

// Speaker implements Anchor.
func (d *LiveDevice) Speaker() *Profile { return d.User }

// Until implements Anchor.
func (d *LiveDevice) Until() time.Time { return d.Expires }

// IsAbout implements Anchor.
func (d *LiveDevice) IsAbout(change store.Change) bool {
	switch change.Kind {
	case store.DeviceChanged:
		return change.ID == d.certificate
	case store.UserChanged:
		return change.ID == d.User.ID
	}
	return false
}

// Use implements Anchor. A device doesn't go idle.
func (d *LiveDevice) Use(now time.Time, _ bool) bool {
	d.keeper.deviceActivity.note(d.ID, now)
	return true
}

// Check implements Anchor.
func (d *LiveDevice) Check(ctx context.Context, _ bool) (*Profile, error) {
	k := d.keeper
	if !k.devices.isCurrent(d.device) {
		if _, err := k.findDevice(ctx, d.certificate, k.clock()); err != nil {
			return nil, err
		}
	}
	if k.profiles.isCurrent(d.owner) {
		return d.User, nil
	}
	owner, err := k.findOwner(ctx, d.User.ID)
	if err != nil {
		return nil, err
	}
	return &owner.value, nil
}

func (d *LiveDevice) vouching() func() error { return d.Vouched }

var (
	_ Anchor  = (*LiveDevice)(nil)
	_ voucher = (*LiveDevice)(nil)
)

// flushDevices writes down when devices were seen, as Flush does for sign-ons.
func (k *Keeper) flushDevices(ctx context.Context) error {
	pending := k.deviceActivity.takePending(k.clock())
	if len(pending) == 0 {
		return nil
	}
	seen := make([]store.DeviceActivity, len(pending))
	for i, p := range pending {
		seen[i] = store.DeviceActivity{Device: p.SignOn, Seen: p.Seen}
	}
	err := k.store.TouchDevices(ctx, seen)
	if err != nil {
		k.deviceActivity.putBack(pending)
	}
	return err
}

// DeviceEnder is what EndOpenedBy needs of a transaction.
type DeviceEnder interface {
	Lister
	EndSignOn(ctx context.Context, id string, at time.Time, reason string) error
}

// EndOpenedBy ends the sign-ons of a user that were opened by the certificate of
// a device, and returns their ids.
func EndOpenedBy(ctx context.Context, tx DeviceEnder, d Device, at time.Time) (ended []string, err error) {
	if d.UserID == "" {
		return nil, nil // it can't have opened anything
	}
	signOns, err := listAll(ctx, tx, d.UserID, at)
	if err != nil {
		return nil, err
	}
	for _, s := range signOns {
		if !OpenedBy(s, d.ID) {
			continue
		}
		if err := tx.EndSignOn(ctx, s.ID, at, EndedDevice); err != nil {
			return ended, fmt.Errorf("ending a sign-on of a device: %w", err)
		}
		ended = append(ended, s.ID)
	}
	return ended, nil
}

// OpenedBy reports whether a sign-on was opened by the certificate of a device.
func OpenedBy(s SignOn, device string) bool {
	for _, p := range s.Proofs {
		if p.Factor == assurance.Certificate && p.Credential == device {
			return true
		}
	}
	return false
}
