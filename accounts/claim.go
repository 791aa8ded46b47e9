package accounts

import (
	"context"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// FormerNamesKept is for how long names are remembered that were given up. A
// device whose certificate was issued longer ago isn't adopted any more: nobody
// could tell whose it was.
const FormerNamesKept = 10 * 365 * 24 * time.Hour

// claim is a device that comes for the first time, whose certificate names its
// user.
type claim struct {
	device store.Device
	issued time.Time // the certificate counts from then on
	owner  devices.Owner
}

// adopters is where the users are found whose devices are adopted.
type adopters interface {
	UserByName(ctx context.Context, name string) (store.User, error)
	UserByEmail(ctx context.Context, email string) (store.User, error)
	IsBarred(ctx context.Context, certificate string) (bool, error)
	ListFormerNames(ctx context.Context, name string) ([]store.FormerName, error)
}

// adopter finds the user whose a device becomes; store.ErrNotFound: nobody's, or
// it was the device of a user who is deleted. session.DeviceOfFormerHolder says
// that somebody else may have had the name or the address when the certificate
// was issued.
func (c claim) adopter(ctx context.Context, from adopters, now time.Time) (store.User, error) {
	barred, err := from.IsBarred(ctx, c.device.Certificate)
	if barred {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.User{}, err
	}
	user, err := c.named(ctx, from)
	if err != nil {
		return store.User{}, err
	}
	former, err := from.ListFormerNames(ctx, c.owner.Name+c.owner.Email) // one of them is empty
	if err != nil {
		return store.User{}, err
	}
	if c.issued.Before(now.Add(-FormerNamesKept)) || slices.ContainsFunc(former, func(n store.FormerName) bool {
		return n.UserID != user.ID && !n.GivenUp.Before(c.issued)
	}) {
		return store.User{}, session.RefusedDevice{
			DeviceRefusal: session.DeviceOfFormerHolder, Name: c.device.Name, UserID: user.ID, User: user.Name,
		}
	}
	return user, nil
}

func (c claim) named(ctx context.Context, from adopters) (store.User, error) {
	if c.owner.Email != "" {
		return from.UserByEmail(ctx, c.owner.Email)
	}
	return from.UserByName(ctx, c.owner.Name)
}

// giveUp notes the name and the address that a user has no more, so that a
// device whose certificate was issued to them under these becomes nobody else's.
// It belongs into the transaction in which they lose them.
func (d *Desk) giveUp(ctx context.Context, tx store.Tx, before, after store.User) error {
	for had, has := range map[string]string{before.Name: after.Name, before.Email: after.Email} {
		if had == "" || had == has {
			continue
		}
		if err := tx.GiveUpName(ctx, store.FormerName{Name: had, UserID: before.ID, GivenUp: d.clock()}); err != nil {
			return err
		}
	}
	return nil
}
