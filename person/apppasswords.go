package person

import (
	"context"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
)

// RevokedByOwner is the reason of an app password that its owner revoked.
const RevokedByOwner = "owner"

// IsInForce reports whether a token is neither revoked nor expired at the time now.
func IsInForce(t store.AccessToken, now time.Time) bool {
	return t.Revoked.IsZero() && now.Before(t.Expires)
}

// All chooses all app passwords.
func All(store.AccessToken) bool { return true }

// RevokeAppPasswords revokes those of a user's app passwords that are chosen and not
// revoked yet, and returns the events.
func (k *Keeper) RevokeAppPasswords(ctx context.Context, tx store.Tx, u store.User, reason string, c Client, chosen func(store.AccessToken) bool) ([]store.Event, error) {
	revoked, err := RevokeAppPasswords(ctx, tx, u.ID, k.Clock(), chosen)
	events := make([]store.Event, len(revoked))
	for i, t := range revoked {
		events[i] = k.Own(audit.TokenRevoked, u, c, audit.Fields{audit.Token: t.Name, audit.Reason: reason})
	}
	return events, err
}

// RevokeAppPasswords revokes those of a user's app passwords that are chosen and not
// revoked yet, and returns them.
func RevokeAppPasswords(ctx context.Context, tx store.Tx, userID string, at time.Time, chosen func(store.AccessToken) bool) ([]store.AccessToken, error) {
	all, err := tx.AccessTokensOf(ctx, userID)
	if err != nil {
		return nil, err
	}
	var revoked []store.AccessToken
	for _, t := range all {
		if !t.Revoked.IsZero() || !chosen(t) {
			continue
		}
		if err := tx.RevokeAccessToken(ctx, t.ID, at); err != nil {
			return revoked, err
		}
		revoked = append(revoked, t)
	}
	return revoked, nil
}
