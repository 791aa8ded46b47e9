package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// UnusedFor is how long an app password may go unused.
	UnusedFor = 30 * 24 * time.Hour
	// OwnerGrace is how long a service token still works once its owner can't sign in any
	// more, and warnEvery how often an event says so meanwhile.
	OwnerGrace = 14 * 24 * time.Hour
	warnEvery  = 24 * time.Hour
)

// The reasons for which a token ends by itself.
const (
	tokenUnused  = "unused"
	tokenUnowned = "owner_left"
)

// ReviewTokens revokes app passwords that went unused for UnusedFor. For each service
// token whose owner can't sign in, it records an event once a day, and it revokes the
// token after OwnerGrace.
func (d *Desk) ReviewTokens(ctx context.Context) error {
	var all []store.AccessToken
	err := d.store.View(ctx, func(r store.Reader) (err error) {
		all, err = r.ListAccessTokens(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("listing access tokens: %w", err)
	}
	for _, t := range all {
		if !person.IsInForce(t, d.clock()) || t.UserID == "" && t.OwnerID == "" {
			continue
		}
		if err := d.review(ctx, t.Selector); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// review looks after one token.
func (d *Desk) review(ctx context.Context, selector string) error {
	return d.audit.Change(ctx, d.store, "reviewing an access token", func(tx store.Tx) ([]store.Event, error) {
		t, err := tx.AccessTokenBySelector(ctx, selector)
		if err != nil || !t.Revoked.IsZero() {
			return nil, err
		}
		if t.UserID == "" {
			return d.reviewOwner(ctx, tx, t)
		}
		used := t.Created
		if t.LastUsed.After(used) {
			used = t.LastUsed
		}
		if d.clock().Sub(used) < UnusedFor {
			return nil, nil
		}
		user, err := tx.UserByID(ctx, t.UserID)
		if err != nil {
			return nil, err
		}
		event := d.audit.Event(audit.TokenRevoked, user.ID, audit.Fields{audit.User: user.Name, audit.Token: t.Name, audit.Reason: tokenUnused})
		return []store.Event{event}, tx.RevokeAccessToken(ctx, t.ID, d.clock())
	})
}

// reviewOwner looks whether the owner of a service token can sign in.
func (d *Desk) reviewOwner(ctx context.Context, tx store.Tx, t store.AccessToken) ([]store.Event, error) {
	now := d.clock()
	owner, isThere, err := ownerOf(ctx, tx, t)
	switch {
	case err != nil:
		return nil, err
	case isThere && t.Unowned.IsZero():
		return nil, nil
	case isThere:
		t.Unowned, t.Warned = time.Time{}, time.Time{}
		return nil, tx.UpdateAccessToken(ctx, t)
	case !t.Unowned.IsZero() && now.Sub(t.Unowned) >= OwnerGrace:
		event := d.audit.Event(audit.TokenRevoked, "", audit.Fields{audit.Token: t.Name, audit.Reason: tokenUnowned, audit.Owner: owner.Name})
		return []store.Event{event}, tx.RevokeAccessToken(ctx, t.ID, now)
	case !t.Warned.IsZero() && now.Sub(t.Warned) < warnEvery:
		return nil, nil
	}
	if t.Unowned.IsZero() {
		t.Unowned = now
	}
	t.Warned = now
	event := d.audit.Event(audit.TokenUnowned, "", audit.Fields{
		audit.Token: t.Name, audit.Owner: owner.Name, audit.Until: t.Unowned.Add(OwnerGrace).UTC().Format(time.RFC3339),
	})
	return []store.Event{event}, tx.UpdateAccessToken(ctx, t)
}

// ownerOf returns the owner of a service token, as far as they are known, and whether
// they can sign in.
func ownerOf(ctx context.Context, r store.Reader, t store.AccessToken) (owner store.User, isThere bool, err error) {
	owner, err = r.UserByID(ctx, t.OwnerID)
	if errors.Is(err, store.ErrNotFound) {
		return store.User{}, false, nil
	}
	return owner, err == nil && owner.Status == store.UserActive, err
}
