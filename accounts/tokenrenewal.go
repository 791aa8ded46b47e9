package accounts

import (
	"context"
	"crypto/subtle"
	"errors"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// RenewalOverlap is how long the replaced token still works after a renewal.
const RenewalOverlap = 7 * 24 * time.Hour

// revokedByHolder is the reason of a token that whoever held it revoked.
const revokedByHolder = "holder"

// TokenRenewal describes how to renew a service token.
type TokenRenewal struct {
	Name string
	// Lifetime and Owner are as in NewToken. If Owner is empty, the owner stays the same.
	Lifetime time.Duration
	Owner    string
}

// RenewToken gives a service token a new secret and returns the token, this once. The
// token that it replaces works for RenewalOverlap, or until it would have expired. A
// token that an earlier renewal replaced ends immediately. If the owner can't sign in
// and no other is given, it returns ErrNoOwner.
func (d *Desk) RenewToken(ctx context.Context, n TokenRenewal) (store.AccessToken, string, error) {
	lifetime, err := checkedLifetime(n.Lifetime)
	if err != nil {
		return store.AccessToken{}, "", err
	}
	owner, err := d.findOwner(ctx, n.Owner)
	if err != nil {
		return store.AccessToken{}, "", err
	}
	current, err := d.Token(ctx, TokenName{Name: n.Name})
	if err != nil {
		return store.AccessToken{}, "", err
	}
	secret, err := accesstoken.Renew(d.random, accesstoken.Service, current.Selector)
	if err != nil {
		return store.AccessToken{}, "", err
	}
	renewed, err := d.changeToken(ctx, TokenName{Name: n.Name}, audit.TokenRenewed, func(tx store.Tx, t *store.AccessToken) error {
		if t.Selector != current.Selector {
			return store.ErrConflict
		}
		if t.Suspended {
			return ErrTokenSuspended
		}
		if owner != "" {
			t.OwnerID, t.Unowned, t.Warned = owner, time.Time{}, time.Time{}
		}
		if t.OwnerID != "" {
			if _, isThere, err := ownerOf(ctx, tx, *t); err != nil || !isThere {
				return errors.Join(err, ErrNoOwner)
			}
		}
		now := d.clock()
		t.FormerHash, t.FormerUntil = t.Hash, now.Add(RenewalOverlap)
		if t.Expires.Before(t.FormerUntil) {
			t.FormerUntil = t.Expires
		}
		t.Hash, t.Expires = token.Hash(secret), now.Add(lifetime)
		return tx.UpdateAccessToken(ctx, *t)
	})
	if err != nil {
		return store.AccessToken{}, "", err
	}
	return renewed, secret, nil
}

// HeldToken returns the token that somebody holds, even if it is revoked, or ErrNoToken
// if there is none.
func (d *Desk) HeldToken(ctx context.Context, secret string) (found store.AccessToken, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		found, err = heldToken(ctx, r, secret)
		return err
	})
	return found, err
}

func heldToken(ctx context.Context, r store.Reader, secret string) (store.AccessToken, error) {
	secret = strings.TrimSpace(secret)
	selector, ok := accesstoken.Selector(secret)
	if !ok {
		return store.AccessToken{}, ErrNoToken
	}
	t, err := r.AccessTokenBySelector(ctx, selector)
	if errors.Is(err, store.ErrNotFound) {
		return store.AccessToken{}, ErrNoToken
	}
	if err != nil {
		return store.AccessToken{}, err
	}
	for _, hash := range []string{t.Hash, t.FormerHash} {
		if subtle.ConstantTimeCompare([]byte(token.Hash(secret)), []byte(hash)) == 1 {
			return t, nil
		}
	}
	return store.AccessToken{}, ErrNoToken
}

// RevokeHeldToken revokes the token that somebody holds (RFC 7009 §2), or returns
// ErrNoToken if there is none. It asks for nothing else: whoever holds a token that has
// leaked does its owner a favour.
func (d *Desk) RevokeHeldToken(ctx context.Context, secret string) (store.AccessToken, error) {
	// Looked up ahead of the transaction, so that nobody keeps writers busy with
	// tokens that don't exist.
	revoked, err := d.HeldToken(ctx, secret)
	if err != nil || !revoked.Revoked.IsZero() {
		return revoked, err
	}
	err = d.audit.Change(ctx, d.store, "revoking a token for its holder", func(tx store.Tx) ([]store.Event, error) {
		if revoked, err = heldToken(ctx, tx, secret); err != nil || !revoked.Revoked.IsZero() {
			return nil, err
		}
		fields := audit.Fields{audit.Token: revoked.Name, audit.Reason: revokedByHolder}
		if revoked.UserID != "" {
			user, err := tx.UserByID(ctx, revoked.UserID)
			if err != nil {
				return nil, err
			}
			fields[audit.User] = user.Name
		}
		revoked.Revoked = d.clock()
		event := d.audit.Event(audit.TokenRevoked, revoked.UserID, fields)
		return []store.Event{event}, tx.RevokeAccessToken(ctx, revoked.ID, revoked.Revoked)
	})
	return revoked, err
}
