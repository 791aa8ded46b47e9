package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/portcullis-mfa/portcullis/enrolment"
)

// shortestFleet and longestFleet bound how long tokens for many machines work.
const (
	shortestFleet = time.Hour
	longestFleet  = 366 * 24 * time.Hour
)

// NewFleet is a token for many machines that an administrator asks for.
type NewFleet struct {
	Name     string
	Most     int // devices
	Lifetime time.Duration
	From     []netip.Prefix // empty: it works everywhere
}

// CreateFleetToken makes a token for many machines. ErrNoCA where no certificates are
// issued; what can't be used is an error whose method Text says so to people.
func (d *Desk) CreateFleetToken(ctx context.Context, n NewFleet) (enrolment.Token, error) {
	if d.Enrolment == nil {
		return enrolment.Token{}, ErrNoCA
	}
	name, err := deviceName(n.Name)
	if err != nil {
		return enrolment.Token{}, err
	}
	switch {
	case n.Most < 1 || n.Most > enrolment.MostOfFleet:
		return enrolment.Token{}, &DeviceError{fmt.Sprintf("A fleet token makes from 1 to %d devices.", enrolment.MostOfFleet)}
	case n.Lifetime < shortestFleet || n.Lifetime > longestFleet:
		return enrolment.Token{}, &DeviceError{"A fleet token works for at least an hour, and for at most 366 days."}
	}
	made, err := d.Enrolment.NewFleet(ctx, enrolment.Fleet{
		Name: name, Most: n.Most, From: n.From, Expires: d.clock().Add(n.Lifetime),
	}, by)
	if errors.Is(err, enrolment.ErrFleetTaken) {
		return enrolment.Token{}, &DeviceError{"Another fleet token has this name. Revoke it, or choose another name."}
	}
	return made, err
}

// FleetTokens lists the tokens for many machines. ErrNoCA where no certificates are
// issued.
func (d *Desk) FleetTokens(ctx context.Context) ([]enrolment.Fleet, error) {
	if d.Enrolment == nil {
		return nil, ErrNoCA
	}
	return d.Enrolment.Fleets(ctx)
}

// RevokeFleetToken revokes a token for many machines. The devices that it made stay.
// ErrNoCA where no certificates are issued, enrolment.ErrNoFleet if there is none.
func (d *Desk) RevokeFleetToken(ctx context.Context, name string) error {
	if d.Enrolment == nil {
		return ErrNoCA
	}
	return d.Enrolment.RevokeFleet(ctx, name, by)
}
