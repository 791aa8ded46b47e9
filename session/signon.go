package session

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
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

// The reasons for which sign-ons end, as they stand in the store.
const (
	EndedSignOut  = "signed_out"
	EndedIdle     = "idle"
	EndedDisabled = "user_disabled"
	EndedByAdmin  = "ended_by_administrator"
	EndedSwitched = "another_sign_in"
)

// Keeper answers whether a sign-on still counts, and notes activity.
type Keeper struct {
	store Store
	clock func() time.Time

	mu   sync.Mutex
	seen map[string]time.Time // when activity was last written, by sign-on
}

// NewKeeper returns a Keeper over a store.
func NewKeeper(s Store, clock func() time.Time) *Keeper {
	return &Keeper{store: s, clock: clock, seen: make(map[string]time.Time)}
}

// Live returns the sign-on and its user if both count now, and notes the
// activity. ErrEnded is a definite no; any other error means that it could not
// be told, and nobody may be let in on it.
func (k *Keeper) Live(ctx context.Context, id string) (SignOn, User, error) {
	s, u, err := k.check(ctx, id)
	if err != nil {
		return SignOn{}, User{}, err
	}
	k.touch(ctx, s)
	return s, u, nil
}

// LivePortal is Live for the portal's cookie: its secret must be the one that
// the sign-on names.
func (k *Keeper) LivePortal(ctx context.Context, p PortalSession) (SignOn, User, error) {
	s, u, err := k.check(ctx, p.SignOn)
	if err != nil {
		return SignOn{}, User{}, err
	}
	if subtle.ConstantTimeCompare([]byte(token.Hash(p.Secret)), []byte(s.PortalSession)) != 1 {
		return SignOn{}, User{}, ErrEnded
	}
	k.touch(ctx, s)
	return s, u, nil
}

// check is Check, and marks a sign-on that went idle as ended.
func (k *Keeper) check(ctx context.Context, id string) (SignOn, User, error) {
	s, u, err := Check(ctx, k.store, id, k.clock())
	if errors.Is(err, errIdle) {
		if endErr := k.store.EndSignOn(ctx, id, k.clock(), EndedIdle); endErr != nil {
			return SignOn{}, User{}, fmt.Errorf("ending an idle sign-on: %w", endErr)
		}
	}
	return s, u, err
}

// End ends a sign-on, once; ending an ended or unknown one changes nothing.
func (k *Keeper) End(ctx context.Context, id, reason string) error {
	err := k.store.EndSignOn(ctx, id, k.clock(), reason)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("ending a sign-on: %w", err)
	}
	return nil
}

// touch writes activity at most once a Granularity. A failure loses nothing
// but a minute of activity, so the request goes on.
func (k *Keeper) touch(ctx context.Context, s SignOn) {
	now := k.clock()
	if now.Sub(s.LastSeen) < Granularity || !k.claim(s.ID, now) {
		return
	}
	if err := k.store.TouchSignOn(ctx, s.ID, now); err != nil {
		k.mu.Lock()
		delete(k.seen, s.ID)
		k.mu.Unlock()
	}
}

// claim reports whether this caller is the one to write the activity.
func (k *Keeper) claim(id string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if last, ok := k.seen[id]; ok && now.Sub(last) < Granularity && !now.Before(last) {
		return false
	}
	if len(k.seen) > 10_000 {
		clear(k.seen) // costs one write each, and bounds the memory
	}
	k.seen[id] = now
	return true
}

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

// ErrSignedOut is the ErrEnded of somebody who signed out.
var ErrSignedOut = fmt.Errorf("%w: signed out", ErrEnded)

// errIdle is the ErrEnded of a sign-on that has yet to be marked as ended.
var errIdle = fmt.Errorf("%w: idle", ErrEnded)

// Check reads the sign-on and its user and decides whether both count at the
// time now; see Live for its errors.
func Check(ctx context.Context, r Reader, id string, now time.Time) (SignOn, User, error) {
	s, err := r.SignOnByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return SignOn{}, User{}, ErrEnded
	}
	if err != nil {
		return SignOn{}, User{}, fmt.Errorf("reading a sign-on: %w", err)
	}
	if s.EndReason == EndedSignOut {
		return SignOn{}, User{}, ErrSignedOut
	}
	if !s.Ended.IsZero() || !now.Before(s.Expires) {
		return SignOn{}, User{}, ErrEnded
	}
	if WentIdle(s, now) {
		return SignOn{}, User{}, errIdle
	}
	u, err := r.UserByID(ctx, s.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return SignOn{}, User{}, ErrEnded
	}
	if err != nil {
		return SignOn{}, User{}, fmt.Errorf("reading the user of a sign-on: %w", err)
	}
	if u.Status != store.UserActive {
		return SignOn{}, User{}, ErrEnded
	}
	return s, u, nil
}
