package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/portcullis-mfa/portcullis/enrolment"
)

// shortestFleet and longestFleet bound how long fleet tokens work.
const (
	shortestFleet = time.Hour
	longestFleet  = 366 * 24 * time.Hour
)

// NewFleet is a fleet token that an administrator asks for.
type NewFleet struct {
	Name     string
	Most     int // devices
	Lifetime time.Duration
	From     []netip.Prefix // empty: it works everywhere
}

// CreateFleetToken makes a fleet token, which enrols many machines. It returns ErrNoCA if
// no certificates are issued, and a *DeviceError if the request can't be met.
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
		return enrolment.Token{}, &DeviceError{fmt.Sprintf("A fleet token can make from 1 to %d devices.", enrolment.MostOfFleet)}
	case n.Lifetime < shortestFleet || n.Lifetime > longestFleet:
		return enrolment.Token{}, &DeviceError{"A fleet token can work for an hour to 366 days."}
	}
	made, err := d.Enrolment.NewFleet(ctx, enrolment.Fleet{
		Name: name, Most: n.Most, From: n.From, Expires: d.clock().Add(n.Lifetime),
	}, by)
	if errors.Is(err, enrolment.ErrFleetTaken) {
		return enrolment.Token{}, &DeviceError{"Another fleet token has this name. Revoke it, or choose another name."}
	}
	return made, err
}

// FleetTokens lists the fleet tokens. It returns ErrNoCA if no certificates are issued.
func (d *Desk) FleetTokens(ctx context.Context) ([]enrolment.Fleet, error) {
	if d.Enrolment == nil {
		return nil, ErrNoCA
	}
	return d.Enrolment.Fleets(ctx)
}

// RevokeFleetToken revokes a fleet token. The devices that it made stay. It returns
// ErrNoCA if no certificates are issued, and enrolment.ErrNoFleet if there is no such
// token.
func (d *Desk) RevokeFleetToken(ctx context.Context, name string) error {
	if d.Enrolment == nil {
		return ErrNoCA
	}
	return d.Enrolment.RevokeFleet(ctx, name, by)
}
