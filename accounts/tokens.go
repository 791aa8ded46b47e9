package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

var (
	// ErrNoToken says that there is no token with the name, except revoked ones.
	ErrNoToken = errors.New("no token has this name")
	// ErrTokenTaken says that a token with the name exists.
	ErrTokenTaken = errors.New("a token with this name exists: revoke it first, or choose another name")
	// ErrNoOwner says that the user who is to answer for a token can't sign in.
	ErrNoOwner = errors.New("the owner can't sign in: name somebody else with --owner")
	// ErrTokenSuspended says that a suspended token can't be renewed.
	ErrTokenSuspended = errors.New("the token is suspended: resume it first")
)

// DefaultTokenLifetime is how long tokens work unless another lifetime is given.
const DefaultTokenLifetime = 90 * 24 * time.Hour

// NewToken describes a service token to create.
type NewToken struct {
	Name   string
	Groups []string
	Scope  accesstoken.Scope
	// Lifetime is how long the token works; zero: DefaultTokenLifetime.
	Lifetime time.Duration
	// Owner is the sign-in name of the user who answers for the token; empty: nobody
	// does.
	Owner string
}

// CreateToken creates a service token, and returns it this once. If a setting can't
// be used, the method Text of the error says so to people.
func (d *Desk) CreateToken(ctx context.Context, n NewToken) (store.AccessToken, string, error) {
	made, err := d.checkedToken(n)
	if err != nil {
		return store.AccessToken{}, "", err
	}
	if made.OwnerID, err = d.findOwner(ctx, n.Owner); err != nil {
		return store.AccessToken{}, "", err
	}
	secret, selector, err := accesstoken.New(d.random, accesstoken.Service)
	if err != nil {
		return store.AccessToken{}, "", err
	}
	made.Selector, made.Hash = selector, token.Hash(secret)
	if made.ID, err = token.New(d.random); err != nil {
		return store.AccessToken{}, "", err
	}
	err = d.audit.Change(ctx, d.store, "creating an access token", func(tx store.Tx) ([]store.Event, error) {
		event := d.audit.Event(audit.TokenCreated, "", audit.Fields{
			audit.Token: made.Name, audit.Hosts: strings.Join(n.Scope.Hosts, ","), audit.Groups: strings.Join(made.Groups, ","), audit.Owner: strings.ToLower(n.Owner), audit.By: by,
		})
		return []store.Event{event}, tx.CreateAccessToken(ctx, made)
	})
	if errors.Is(err, store.ErrConflict) {
		return store.AccessToken{}, "", ErrTokenTaken
	}
	return made, secret, err
}

// checkedToken returns all of a token but what makes it one.
func (d *Desk) checkedToken(n NewToken) (made store.AccessToken, err error) {
	lifetime, err := checkedLifetime(n.Lifetime)
	if err != nil {
		return made, err
	}
	if made.Name, err = accesstoken.CheckName(n.Name); err != nil {
		return made, err
	}
	for _, written := range n.Groups {
		group, err := identity.CheckGroup(written)
		if err != nil {
			return made, err
		}
		made.Groups = append(made.Groups, group)
	}
	scope, err := n.Scope.Checked()
	if err != nil {
		return made, err
	}
	if made.Scope, err = json.Marshal(scope); err != nil {
		return made, fmt.Errorf("writing the scope of a token: %w", err)
	}
	made.Created = d.clock()
	made.Expires = made.Created.Add(lifetime)
	return made, nil
}

// checkedLifetime returns how long a token is to work.
func checkedLifetime(asked time.Duration) (time.Duration, error) {
	if asked == 0 {
		return DefaultTokenLifetime, nil
	}
	if asked < time.Hour || asked > accesstoken.MaxLifetime {
		return 0, accesstoken.ScopeError("A token works for at least an hour and at most 366 days: write --expires 90d, for example.")
	}
	return asked, nil
}

// findOwner returns the id of the user who is to answer for a token.
func (d *Desk) findOwner(ctx context.Context, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	owner, err := d.find(ctx, name)
	if err != nil {
		return "", err
	}
	if owner.Status != store.UserActive {
		return "", ErrNoOwner
	}
	return owner.ID, nil
}

// ListedToken is a token with whose it is.
type ListedToken struct {
	store.AccessToken
	User string // sign-in name of the person whose app password it is; empty: it is a service token
}

// Tokens lists all tokens by name, including revoked and expired ones.
func (d *Desk) Tokens(ctx context.Context) (list []ListedToken, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		all, err := r.ListAccessTokens(ctx)
		if err != nil {
			return fmt.Errorf("listing access tokens: %w", err)
		}
		users, err := usersByID(ctx, r)
		if err != nil {
			return err
		}
		list = make([]ListedToken, len(all))
		for i, t := range all {
			list[i] = ListedToken{AccessToken: t, User: users[t.UserID].Name}
		}
		return nil
	})
	return list, err
}

// Token returns the token with a name.
func (d *Desk) Token(ctx context.Context, name string) (found store.AccessToken, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		found, err = r.AccessTokenByName(ctx, strings.ToLower(name))
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return store.AccessToken{}, ErrNoToken
	}
	return found, err
}

// RevokeToken revokes a token, and ends everything in progress with it.
func (d *Desk) RevokeToken(ctx context.Context, name string) (store.AccessToken, error) {
	return d.changeToken(ctx, name, audit.TokenRevoked, func(tx store.Tx, t *store.AccessToken) error {
		t.Revoked = d.clock()
		return tx.RevokeAccessToken(ctx, t.ID, t.Revoked)
	})
}

// ResumeToken resumes a token that was suspended when the store was restored.
func (d *Desk) ResumeToken(ctx context.Context, name string) (store.AccessToken, error) {
	return d.changeToken(ctx, name, audit.TokenResumed, func(tx store.Tx, t *store.AccessToken) error {
		t.Suspended = false
		return tx.ResumeAccessToken(ctx, t.ID)
	})
}

func (d *Desk) changeToken(ctx context.Context, name string, what audit.Name, change func(store.Tx, *store.AccessToken) error) (changed store.AccessToken, err error) {
	err = d.audit.Change(ctx, d.store, "changing an access token", func(tx store.Tx) ([]store.Event, error) {
		if changed, err = tx.AccessTokenByName(ctx, strings.ToLower(name)); err != nil {
			return nil, err
		}
		event := d.audit.Event(what, "", audit.Fields{audit.Token: changed.Name, audit.By: by})
		return []store.Event{event}, change(tx, &changed)
	})
	if errors.Is(err, store.ErrNotFound) {
		return store.AccessToken{}, ErrNoToken
	}
	return changed, err
}
