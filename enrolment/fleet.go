package enrolment

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Fleet tokens enrol many machines, and are installed along with the agent, so anyone who
// can read one machine's settings has them. They make only pending devices, which open
// nothing until somebody confirms them on the machine, or an administrator assigns them.

const (
	// fleets is the namespace of the tokens, under their hash, and also their owner, by
	// which they are listed. No user has such an id.
	fleets = "device_fleet"

	// ViaFleet begins store.Device.Via of devices that enrolled with such a token, whose
	// name follows.
	ViaFleet = "fleet:"
	// MostOfFleet bounds how many devices such a token can make.
	MostOfFleet = 10_000
)

// ErrFleetTaken says that another fleet token has the name, and ErrNoFleet that none has.
var (
	ErrFleetTaken = errors.New("another fleet token has this name")
	ErrNoFleet    = errors.New("no fleet token has this name")
)

// Fleet describes a fleet token, without the token itself.
type Fleet struct {
	Name string `json:"name"`
	Most int    `json:"most"` // devices
	Used int    `json:"used"`
	// From are the networks that it works from; empty: all.
	From    []netip.Prefix `json:"from,omitempty"`
	Expires time.Time      `json:"expires"`
}

// NewFleet makes a fleet token. It returns ErrFleetTaken if the name is taken.
func (r *Registrar) NewFleet(ctx context.Context, f Fleet, by string) (Token, error) {
	secret, err := token.New(r.Random)
	if err != nil {
		return Token{}, err
	}
	f.Used = 0
	err = r.Audit.Change(ctx, r.Store, "making a fleet token", func(tx store.Tx) ([]store.Event, error) {
		if _, _, err := r.fleet(ctx, tx, f.Name); !errors.Is(err, ErrNoFleet) {
			return nil, cmp.Or(err, ErrFleetTaken)
		}
		value, err := json.Marshal(f)
		if err != nil {
			return nil, fmt.Errorf("encoding a fleet token: %w", err)
		}
		event := r.Audit.Event(audit.FleetTokenMade, "", audit.Fields{audit.Token: f.Name, audit.By: by, audit.Until: f.Expires.UTC().Format(time.RFC3339)})
		return []store.Event{event}, tx.PutRecord(ctx, store.Record{
			Namespace: fleets, Key: token.Hash(secret), Owner: fleets, Value: value, Expires: f.Expires,
		})
	})
	return Token{Secret: secret, Expires: f.Expires}, err
}

// Fleets lists the fleet tokens by name.
func (r *Registrar) Fleets(ctx context.Context) ([]Fleet, error) {
	var all []Fleet
	err := r.Store.Atomically(ctx, func(tx store.Tx) error {
		records, err := tx.RecordsOf(ctx, fleets, fleets, r.Clock())
		if err != nil {
			return err
		}
		all = make([]Fleet, len(records))
		for i, record := range records {
			if err := json.Unmarshal(record.Value, &all[i]); err != nil {
				return fmt.Errorf("reading a fleet token: %w", err)
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Fleet) int { return cmp.Compare(a.Name, b.Name) })
	return all, err
}

// RevokeFleet revokes a fleet token. The devices that it made stay.
func (r *Registrar) RevokeFleet(ctx context.Context, name, by string) error {
	return r.Audit.Change(ctx, r.Store, "revoking a fleet token", func(tx store.Tx) ([]store.Event, error) {
		record, _, err := r.fleet(ctx, tx, name)
		if err != nil {
			return nil, err
		}
		_, err = tx.TakeRecord(ctx, record.Namespace, record.Key, r.Clock())
		return []store.Event{r.Audit.Event(audit.FleetTokenRevoked, "", audit.Fields{audit.Token: name, audit.By: by})}, err
	})
}

// fleet finds a fleet token by its name.
func (r *Registrar) fleet(ctx context.Context, tx store.Tx, name string) (store.Record, Fleet, error) {
	records, err := tx.RecordsOf(ctx, fleets, fleets, r.Clock())
	if err != nil {
		return store.Record{}, Fleet{}, err
	}
	for _, record := range records {
		var f Fleet
		if err := json.Unmarshal(record.Value, &f); err != nil {
			return record, f, fmt.Errorf("reading a fleet token: %w", err)
		}
		if f.Name == name {
			return record, f, nil
		}
	}
	return store.Record{}, Fleet{}, ErrNoFleet
}

// enrolOfFleet makes a pending device of a machine that shows a fleet token. The device
// belongs to nobody, whatever the machine says. It returns ErrRefused if the token
// doesn't count, or no longer does.
func (r *Registrar) enrolOfFleet(ctx context.Context, tx store.Tx, a applicant) (Issued, []store.Event, error) {
	record, err := tx.GetRecord(ctx, fleets, a.hash, r.Clock())
	if err != nil {
		return Issued{}, nil, refusing(err)
	}
	var f Fleet
	if err := json.Unmarshal(record.Value, &f); err != nil {
		return Issued{}, nil, fmt.Errorf("reading a fleet token: %w", err)
	}
	switch known, err := tx.DeviceByKey(ctx, a.key); {
	case err == nil && known.Via == ViaFleet+f.Name && known.State == store.DevicePending && known.Revoked.IsZero():
		issued, err := again(known)
		return issued, nil, err
	case err == nil:
		return Issued{}, nil, ErrKeyTaken
	case !errors.Is(err, store.ErrNotFound):
		return Issued{}, nil, err
	}
	if f.Used >= f.Most || !f.worksFrom(a.says.Address) {
		return Issued{}, nil, ErrRefused
	}
	device := store.Device{ID: a.id, Name: cmp.Or(shown(a.says.Name), defaultName), State: store.DevicePending, Via: ViaFleet + f.Name}
	a.says.describe(&device)
	issued, err := r.issue(ctx, tx, device, a.request, store.Tx.CreateDevice)
	if err != nil {
		return Issued{}, nil, err
	}
	f.Used++
	return issued, []store.Event{r.event(audit.DeviceIssued, issued.Device, store.User{}, a.says)}, r.rewrite(ctx, tx, record, f)
}

func (f Fleet) worksFrom(address string) bool {
	at, err := netip.ParseAddr(address)
	at = at.Unmap().WithZone("")
	return len(f.From) == 0 || err == nil && slices.ContainsFunc(f.From, func(p netip.Prefix) bool { return p.Contains(at) })
}

// claim gives a pending device to the user who confirmed it on its machine. It finds the
// device by its own key, which the confirmation names.
func (r *Registrar) claim(ctx context.Context, tx store.Tx, device store.Device, user store.User, says Claims) (Issued, []store.Event, error) {
	device.UserID, device.State = user.ID, store.DeviceActive
	says.describe(&device)
	if err := tx.UpdateDevice(ctx, device); err != nil {
		return Issued{}, nil, err
	}
	issued, err := again(device)
	return issued, []store.Event{r.event(audit.DeviceAssigned, device, user, says)}, err
}
