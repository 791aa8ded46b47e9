package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// SignOn and User are the rows that this package decides on.
type (
	SignOn = store.SignOn
	User   = store.User
)

// ErrEnded says that a sign-on doesn't count any more: ended, over one of its
// limits, unknown, or its user may not sign in. It is a definite no, unlike
// every other error.
var ErrEnded = errors.New("the sign-on has ended")

// The limits of a sign-on where the operator says nothing (NIST SP 800-63B-4
// §2.2.3 allows 24 h and 1 h at AAL2).
const (
	DefaultLifetime = 12 * time.Hour
	DefaultIdle     = time.Hour
)

// Granularity is how exactly the time of last activity is kept.
const Granularity = time.Minute

// The reasons why sign-ons end, as they are stored.
const (
	EndedSignOut  = "signed_out"
	EndedIdle     = "idle"
	EndedExpired  = "expired"
	EndedDisabled = "user_disabled"
	EndedByAdmin  = "ended_by_administrator"
	EndedSwitched = "another_sign_in"
	EndedByOwner  = "ended_by_owner"
	EndedDisowned = "activity_disowned"
	EndedByReset  = "factors_reset"
	EndedDeleted  = "user_deleted"

	EndedPasswordChanged = "password_changed"
	EndedPasswordReset   = "password_reset"
	EndedFactorRemoved   = "factor_removed"
	EndedFactorLost      = "factor_lost"
)

// Reader is what Check needs of the store, alone or inside a transaction.
type Reader interface {
	SignOnByID(ctx context.Context, id string) (SignOn, error)
	UserByID(ctx context.Context, id string) (User, error)
}

// WentIdle reports whether nobody has used the sign-on for longer than its idle
// limit. Activity is written down once a Granularity, so what is known may be
// older than what was: nobody is cut off early for it.
func WentIdle(s SignOn, now time.Time) bool {
	return now.Sub(s.LastSeen) > s.Idle+Granularity
}

// Lister lists the sign-ons of a user that have neither ended nor reached their
// absolute limit, or everybody's for the empty id.
type Lister interface {
	ListSignOns(ctx context.Context, userID string, now time.Time, page store.Page[SignOn]) ([]SignOn, error)
}

// listAll lists all of them.
func listAll(ctx context.Context, r Lister, userID string, now time.Time) ([]SignOn, error) {
	all, err := store.All(ctx, func(ctx context.Context, page store.Page[SignOn]) ([]SignOn, error) {
		return r.ListSignOns(ctx, userID, now, page)
	})
	if err != nil {
		return nil, fmt.Errorf("listing sign-ons: %w", err)
	}
	return all, nil
}

// ListLive returns those of them that count at the time now: the store lists
// those that went idle, too.
func ListLive(ctx context.Context, r Lister, userID string, now time.Time) ([]SignOn, error) {
	all, err := listAll(ctx, r, userID, now)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(s SignOn) bool { return WentIdle(s, now) }), nil
}

// ErrTerminated is the ErrEnded of a sign-on that somebody ended: its owner, an
// administrator, or a change of how its owner signs in. Who signs in again gets
// another one, so there is nothing wrong with a session of it.
var ErrTerminated = fmt.Errorf("%w before its time", ErrEnded)

// ErrSignedOut is the ErrTerminated of somebody who signed out.
var ErrSignedOut = fmt.Errorf("%w: signed out", ErrTerminated)

// Check reads the sign-on and its user and decides whether both count at the
// time now; see Keeper.LiveSignOn for its errors.
func Check(ctx context.Context, r Reader, id string, now time.Time) (SignOn, User, error) {
	s, err := readLive(ctx, r, id, now)
	if err != nil {
		return SignOn{}, User{}, err
	}
	if WentIdle(s, now) {
		return SignOn{}, User{}, ErrEnded
	}
	u, err := readActive(ctx, r, s.UserID)
	if err != nil {
		return SignOn{}, User{}, err
	}
	return s, u, nil
}

// readLive reads a sign-on that has neither ended nor reached its absolute
// limit.
func readLive(ctx context.Context, r Reader, id string, now time.Time) (SignOn, error) {
	s, err := r.SignOnByID(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return SignOn{}, ErrEnded
	case err != nil:
		return SignOn{}, fmt.Errorf("reading a sign-on: %w", err)
	case s.EndReason == EndedSignOut:
		return SignOn{}, ErrSignedOut
	case !s.Ended.IsZero() && s.EndReason != EndedExpired && s.EndReason != EndedIdle:
		return SignOn{}, ErrTerminated
	case !s.Ended.IsZero() || !now.Before(s.Expires):
		return SignOn{}, ErrEnded
	}
	return s, nil
}

// readActive reads a user who may sign in.
func readActive(ctx context.Context, r Reader, id string) (User, error) {
	u, err := r.UserByID(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return User{}, ErrEnded
	case err != nil:
		return User{}, fmt.Errorf("reading the user of a sign-on: %w", err)
	case u.Status != store.UserActive:
		return User{}, ErrEnded
	}
	return u, nil
}

// joinGroups joins groups by commas. A group that could not be told from two,
// or from none, is left out; such groups are refused where groups are made.
func joinGroups(groups []string) string {
	var listable []string
	for _, group := range groups {
		if isListable(group) {
			listable = append(listable, group)
		}
	}
	return strings.Join(listable, ",")
}

func isListable(group string) bool {
	for i := range len(group) {
		if c := group[i]; c == ',' || c < ' ' || c == 0x7f {
			return false
		}
	}
	return group != "" && group[0] != ' ' && group[len(group)-1] != ' '
}
