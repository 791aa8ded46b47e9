package selfservice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

var (
	// ErrNoAppPassword says that the person has no such working app password.
	ErrNoAppPassword = errors.New("no such app password of this user")
	// ErrTooManyAppPasswords says that the person has as many for an app as they may.
	ErrTooManyAppPasswords = errors.New("as many app passwords for the app as a person may have")
)

// NewAppPassword describes an app password to create.
type NewAppPassword struct {
	Name string // what the person calls it
	Host string // the only one where it works
	// Lifetime is how long it works, and Most how many a person may have for the host.
	Lifetime time.Duration
	Most     int
}

// AppPassword is an app password as its owner sees it.
type AppPassword struct {
	store.AccessToken
	Hosts []string // where it works
}

// AppPasswordsOf returns a user's app passwords that work, and those that wait for an
// administrator.
func (s *Service) AppPasswordsOf(ctx context.Context, userID string) ([]AppPassword, error) {
	all, err := s.Store.AccessTokensOf(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("reading a user's app passwords: %w", err)
	}
	var own []AppPassword
	for _, t := range all {
		if !person.IsInForce(t, s.Clock()) {
			continue
		}
		var scope accesstoken.Scope
		if err := json.Unmarshal(t.Scope, &scope); err != nil {
			return nil, fmt.Errorf("reading the scope of an app password: %w", err)
		}
		own = append(own, AppPassword{t, scope.Hosts})
	}
	return own, nil
}

// CreateAppPassword creates an app password, and returns it this once. Without a fresh
// check, it returns person.ErrStale. A *person.Invalid with the field "name" says what
// to correct, and ErrTooManyAppPasswords that another one must be revoked first.
func (s *Service) CreateAppPassword(ctx context.Context, by store.SignOn, u store.User, n NewAppPassword, c person.Client) (string, error) {
	name, err := person.CredentialName(n.Name)
	if err != nil {
		return "", err
	}
	scope, err := accesstoken.Scope{Hosts: []string{n.Host}}.Checked()
	if err != nil {
		return "", err
	}
	written, err := json.Marshal(scope)
	if err != nil {
		return "", fmt.Errorf("writing the scope of an app password: %w", err)
	}
	secret, selector, err := accesstoken.New(s.People.Random, accesstoken.Personal)
	if err != nil {
		return "", err
	}
	id, err := token.New(s.People.Random)
	if err != nil {
		return "", err
	}
	now := s.Clock()
	made := store.AccessToken{
		ID: id, UserID: u.ID, Name: name, Selector: selector, Hash: token.Hash(secret), Scope: written,
		Created: now, Expires: now.Add(n.Lifetime),
	}
	err = s.People.Change(ctx, "creating an app password", func(tx store.Tx) ([]store.Event, error) {
		_, user, _, err := s.People.Checked(ctx, tx, by.ID)
		if err != nil {
			return nil, err
		}
		if err := s.hasRoom(ctx, tx, made, n); err != nil {
			return nil, err
		}
		event := s.People.Own(audit.TokenCreated, user, c, audit.Fields{audit.Token: name, audit.Hosts: n.Host})
		return []store.Event{event}, tx.CreateAccessToken(ctx, made)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// hasRoom returns why somebody can't have one more app password; nil: they can.
func (s *Service) hasRoom(ctx context.Context, tx store.Tx, made store.AccessToken, n NewAppPassword) error {
	all, err := tx.AccessTokensOf(ctx, made.UserID)
	if err != nil {
		return err
	}
	same := 0
	for _, t := range all {
		if !t.Revoked.IsZero() {
			continue
		}
		if t.Name == made.Name {
			if person.IsInForce(t, s.Clock()) {
				return &person.Invalid{Fields: map[string]error{"name": person.Phrase{
					Key: "app_passwords.taken", English: "An app password of that name exists. Choose another name.",
				}}}
			}
			// The name of one that has expired is free again.
			if err := tx.RevokeAccessToken(ctx, t.ID, s.Clock()); err != nil {
				return err
			}
			continue
		}
		if person.IsInForce(t, s.Clock()) && string(t.Scope) == string(made.Scope) {
			same++
		}
	}
	if same >= n.Most {
		return ErrTooManyAppPasswords
	}
	return nil
}

// RevokeAppPassword revokes one of the person's own app passwords. That only takes
// something away, so it asks for no fresh check.
func (s *Service) RevokeAppPassword(ctx context.Context, u store.User, id string, c person.Client) error {
	return s.People.Change(ctx, "revoking an app password", func(tx store.Tx) ([]store.Event, error) {
		events, err := s.People.RevokeAppPasswords(ctx, tx, u, person.RevokedByOwner, c, func(t store.AccessToken) bool { return t.ID == id })
		if err == nil && len(events) == 0 {
			err = ErrNoAppPassword
		}
		return events, err
	})
}

// among returns what chooses the tokens with these ids.
func among(ids []string) func(store.AccessToken) bool {
	return func(t store.AccessToken) bool { return slices.Contains(ids, t.ID) }
}
