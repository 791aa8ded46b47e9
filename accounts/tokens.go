package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	// ErrNoAppPassword says that a user has no app password with the name that isn't
	// revoked.
	ErrNoAppPassword = errors.New("the user has no app password with this name")
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

// ListedToken is a token with the sign-in names of the people it belongs to.
type ListedToken struct {
	store.AccessToken
	User  string // whose app password it is; empty: it is a service token
	Owner string // who answers for a service token; empty: nobody, or somebody who was deleted
}

// listed adds the names to a token.
func listed(t store.AccessToken, users map[string]store.User) ListedToken {
	return ListedToken{AccessToken: t, User: users[t.UserID].Name, Owner: users[t.OwnerID].Name}
}

// TokenName identifies a token.
type TokenName struct {
	Name string
	// User is the sign-in name of the person whose app password it is; empty: it is a
	// service token.
	User string
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
			list[i] = listed(t, users)
		}
		return nil
	})
	return list, err
}

// Listed adds to a token the names of the people it belongs to.
func (d *Desk) Listed(ctx context.Context, t store.AccessToken) (shown ListedToken, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		users, err := usersByID(ctx, r)
		shown = listed(t, users)
		return err
	})
	return shown, err
}

// Token returns the token with a name. It returns ErrNoToken or ErrNoAppPassword if there
// is none, and ErrNobody if there is no such user.
func (d *Desk) Token(ctx context.Context, n TokenName) (found store.AccessToken, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		found, _, err = findToken(ctx, r, n)
		return err
	})
	return found, err
}

// findToken returns the token with a name, and the user whose app password it is.
func findToken(ctx context.Context, r store.Reader, n TokenName) (t store.AccessToken, u store.User, err error) {
	if n.User == "" {
		t, err = r.AccessTokenByName(ctx, strings.ToLower(n.Name))
		if errors.Is(err, store.ErrNotFound) {
			err = ErrNoToken
		}
		return t, u, err
	}
	if u, err = findIn(ctx, r, n.User); err != nil {
		return t, u, err
	}
	own, err := r.AccessTokensOf(ctx, u.ID)
	if err != nil {
		return t, u, err
	}
	i := slices.IndexFunc(own, func(t store.AccessToken) bool { return t.Revoked.IsZero() && t.Name == n.Name })
	if i < 0 {
		return t, u, ErrNoAppPassword
	}
	return own[i], u, nil
}

// RevokeToken revokes a token, and ends everything in progress with it. Its errors are
// those of Token.
func (d *Desk) RevokeToken(ctx context.Context, n TokenName) (store.AccessToken, error) {
	return d.changeToken(ctx, n, audit.TokenRevoked, func(tx store.Tx, t *store.AccessToken) error {
		t.Revoked = d.clock()
		return tx.RevokeAccessToken(ctx, t.ID, t.Revoked)
	})
}

// ResumeToken resumes a token that was suspended when the store was restored. Its errors
// are those of Token.
func (d *Desk) ResumeToken(ctx context.Context, n TokenName) (store.AccessToken, error) {
	return d.changeToken(ctx, n, audit.TokenResumed, func(tx store.Tx, t *store.AccessToken) error {
		t.Suspended = false
		return tx.ResumeAccessToken(ctx, t.ID)
	})
}

func (d *Desk) changeToken(ctx context.Context, n TokenName, what audit.Name, change func(store.Tx, *store.AccessToken) error) (changed store.AccessToken, err error) {
	err = d.audit.Change(ctx, d.store, "changing an access token", func(tx store.Tx) ([]store.Event, error) {
		var user store.User
		if changed, user, err = findToken(ctx, tx, n); err != nil {
			return nil, err
		}
		fields := audit.Fields{audit.Token: changed.Name, audit.By: by}
		if n.User != "" {
			fields[audit.User] = user.Name
		}
		return []store.Event{d.audit.Event(what, user.ID, fields)}, change(tx, &changed)
	})
	return changed, err
}
