// Package credentials opens and seals what the store keeps of people's
// credentials: the password, and whatever each second factor has enrolled. A
// secret is sealed to its row, so that it opens nowhere else, and sealed again
// when keys change. It must not know flows, sign-ons or limits.
package credentials

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Store keeps the rows.
type Store interface {
	CredentialsOf(ctx context.Context, userID string) ([]store.Credential, error)
	Atomically(ctx context.Context, fn func(tx store.Tx) error) error
	View(ctx context.Context, fn func(r store.Reader) error) error
}

// Sealer seals secrets at rest, bound to where they belong.
type Sealer interface {
	Seal(plaintext, associated []byte) ([]byte, error)
	Open(sealed, associated []byte) ([]byte, error)
}

// Vault opens and seals credentials. It is safe for concurrent use. All fields
// are needed.
type Vault struct {
	Store   Store
	Factors factors.Set
	Sealer  Sealer
	Clock   func() time.Time
	Random  io.Reader
}

// Of returns all of a user's credentials, lost ones too, still sealed; nobody
// has none.
func (v *Vault) Of(ctx context.Context, userID string) ([]store.Credential, error) {
	if userID == "" {
		return nil, nil
	}
	all, err := v.Store.CredentialsOf(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	return all, nil
}

// ActiveOf returns the user's usable credentials, still sealed.
func (v *Vault) ActiveOf(ctx context.Context, userID string) ([]store.Credential, error) {
	all, err := v.Of(ctx, userID)
	return v.Active(all), err
}

// Active returns those credentials that can be used.
func (v *Vault) Active(all []store.Credential) []store.Credential {
	return slices.DeleteFunc(slices.Clone(all), func(c store.Credential) bool {
		return c.State != store.CredentialActive || !v.Works(c)
	})
}

// Works reports whether a credential could be shown under this configuration: a
// security key can't, once the RP ID is another.
func (v *Vault) Works(c store.Credential) bool { return v.Factors.Works(c.Kind, c.Realm) }

// Open opens the credentials of one kind for its factor, and returns their rows
// by id beside them.
func (v *Vault) Open(all []store.Credential, kind assurance.Factor) ([]factors.Credential, map[string]store.Credential, error) {
	var opened []factors.Credential
	rows := make(map[string]store.Credential)
	for _, c := range all {
		if c.Kind != kind {
			continue
		}
		secret, err := v.secret(c)
		if err != nil {
			return nil, nil, err
		}
		opened = append(opened, factors.Credential{
			ID: c.ID, Name: c.Name, Secret: secret, Created: c.Created, LastUsed: c.LastUsed,
		})
		rows[c.ID] = c
	}
	return opened, rows, nil
}

// Address returns where messages for a credential go; empty: its kind sends none.
func (v *Vault) Address(row store.Credential) (string, error) {
	factor, err := v.Factors.Get(row.Kind)
	if err != nil {
		return "", nil // it isn't configured any more
	}
	addressed, ok := factor.(factors.Addressed)
	if !ok {
		return "", nil
	}
	secret, err := v.secret(row)
	if err != nil {
		return "", err
	}
	return addressed.Address(factors.Credential{ID: row.ID, Name: row.Name, Secret: secret})
}

func (v *Vault) secret(c store.Credential) ([]byte, error) {
	secret, err := v.Sealer.Open(c.Secret, sealedTo(c))
	if err != nil {
		return nil, fmt.Errorf("opening a %s credential: %w", c.Kind, err)
	}
	return secret, nil
}

// sealedTo binds a credential's secret to its row.
func sealedTo(c store.Credential) []byte {
	return []byte("credential\x00" + c.ID + "\x00" + c.UserID + "\x00" + string(c.Kind))
}

// New seals a fresh credential, which isn't kept yet. What is unique about it
// makes its id, so that no second one with the same can be kept.
func (v *Vault) New(userID string, kind assurance.Factor, made factors.Made) (store.Credential, error) {
	id, err := token.New(v.Random)
	if err != nil {
		return store.Credential{}, err
	}
	if made.Unique != "" {
		id = ID(kind, made.Unique)
	}
	c := store.Credential{
		ID: id, UserID: userID, Kind: kind, Name: made.Name, Realm: made.Realm,
		State: store.CredentialActive, Created: v.Clock(),
	}
	return c, v.SetSecret(&c, made.Secret)
}

// NewAll seals the fresh credentials of an enrolment, as New does: that of the kind
// first, then those which the same thing holds.
func (v *Vault) NewAll(userID string, kind assurance.Factor, made factors.Verdict) ([]store.Credential, error) {
	first, err := v.New(userID, kind, made.Made)
	if err != nil {
		return nil, err
	}
	all := []store.Credential{first}
	for _, also := range made.Also {
		also.Name = made.Made.Name
		c, err := v.New(userID, also.Kind, also)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) > 1 {
		for i := range all {
			all[i].Holder = first.ID
		}
	}
	return all, nil
}

// WithHeld returns those of a user's credentials that are meant, and those that the
// same things hold.
func WithHeld(all []store.Credential, meant func(store.Credential) bool) []store.Credential {
	var found []store.Credential
	for _, c := range all {
		if meant(c) || c.Holder != "" && slices.ContainsFunc(all, func(other store.Credential) bool { return meant(other) && other.Holder == c.Holder }) {
			found = append(found, c)
		}
	}
	return found
}

// SetSecret puts a new secret into a credential's row; nil leaves the old one.
func (v *Vault) SetSecret(c *store.Credential, secret []byte) error {
	if secret == nil {
		return nil
	}
	sealed, err := v.Sealer.Seal(secret, sealedTo(*c))
	if err != nil {
		return fmt.Errorf("sealing a %s credential: %w", c.Kind, err)
	}
	c.Secret = sealed
	return nil
}

// Update writes a credential that was changed since it was read, or returns
// store.ErrConflict where somebody else changed it first.
func (v *Vault) Update(ctx context.Context, c store.Credential) error {
	return v.Store.Atomically(ctx, func(tx store.Tx) error { return tx.UpdateCredential(ctx, c) })
}

// VersionOf returns the present version of a credential that is as it was read,
// but that Reseal may have sealed it by another key; else it returns
// store.ErrConflict.
func (v *Vault) VersionOf(ctx context.Context, tx store.Credentials, read store.Credential) (int64, error) {
	current, err := tx.CredentialByID(ctx, read.ID)
	if err != nil || current.Version == read.Version {
		return current.Version, err
	}
	was, err := v.secret(read)
	if err != nil {
		return 0, err
	}
	is, err := v.secret(current)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(was, is) || current.State != read.State || current.Name != read.Name || !current.LastUsed.Equal(read.LastUsed) {
		return 0, store.ErrConflict
	}
	return current.Version, nil
}

// ID is the id of a credential of which something is unique.
func ID(kind assurance.Factor, unique string) string {
	return token.Hash("credential\x00" + string(kind) + "\x00" + unique)
}

// The errors on which callers decide.
var (
	// ErrUnknown says that the person has no such credential, or that its kind
	// isn't configured.
	ErrUnknown = errors.New("no such credential of this user")
	// ErrTooMany says that the person has as many of a kind as they may.
	ErrTooMany = errors.New("no more of this kind")
)

// KeepAll writes the fresh credentials of an enrolment, as Keep does.
func KeepAll(ctx context.Context, tx store.Credentials, all []store.Credential, made factors.Verdict) error {
	for i, c := range all {
		parts := append([]factors.Made{made.Made}, made.Also...)
		if err := Keep(ctx, tx, c, parts[i]); err != nil {
			return err
		}
	}
	return nil
}

// Keep writes a fresh credential, or returns *factors.Refused where another has
// the same that may be there once only.
func Keep(ctx context.Context, tx store.Credentials, c store.Credential, made factors.Made) error {
	err := tx.CreateCredential(ctx, c)
	if made.Unique != "" && errors.Is(err, store.ErrConflict) {
		return &factors.Refused{Reason: factors.Taken}
	}
	return err
}

// DeleteKind deletes all of a user's credentials of one kind, and returns how
// many there were.
func DeleteKind(ctx context.Context, tx store.Credentials, userID string, kind assurance.Factor) (deleted int, err error) {
	all, err := tx.CredentialsOf(ctx, userID)
	if err != nil {
		return 0, err
	}
	for _, c := range all {
		if c.Kind != kind {
			continue
		}
		if err := tx.DeleteCredential(ctx, c.ID, c.Version); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}

// Replace makes room for a credential of a kind of which a user has one at a time. The
// present one can be brought back until a time, and so can those that were replaced
// lately. It returns how many were replaced.
func Replace(ctx context.Context, tx store.Credentials, userID string, kind assurance.Factor, until, now time.Time) (replaced int, err error) {
	all, err := tx.CredentialsOf(ctx, userID)
	if err != nil {
		return 0, err
	}
	for _, c := range all {
		switch {
		case c.Kind != kind || IsRestorable(c, now):
			continue
		case c.State == store.CredentialActive:
			replaced++
			c.State, c.ProbationUntil = store.CredentialReplaced, until
			err = tx.UpdateCredential(ctx, c)
		default:
			err = tx.DeleteCredential(ctx, c.ID, c.Version)
		}
		if err != nil {
			return replaced, err
		}
	}
	return replaced, nil
}

// IsRestorable reports whether a credential was replaced, and can be brought back.
func IsRestorable(c store.Credential, now time.Time) bool {
	return c.State == store.CredentialReplaced && now.Before(c.ProbationUntil)
}

// Restore brings a replaced credential back, and reports whether it could be. It is on
// probation for as long as it could have been brought back: it may have been before, and
// whoever brings it back may not be the owner.
func Restore(ctx context.Context, tx store.Credentials, c store.Credential, now time.Time) (bool, error) {
	if !IsRestorable(c, now) {
		return false, nil
	}
	c.State = store.CredentialActive
	return true, tx.UpdateCredential(ctx, c)
}

// DropReplaced deletes a user's credentials that were replaced, and can't be brought back
// any more.
func DropReplaced(ctx context.Context, tx store.Credentials, userID string, now time.Time) error {
	all, err := tx.CredentialsOf(ctx, userID)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.State != store.CredentialReplaced || IsRestorable(c, now) {
			continue
		}
		if err := tx.DeleteCredential(ctx, c.ID, c.Version); err != nil {
			return err
		}
	}
	return nil
}

// HasRoom reports whether somebody with these active credentials may enrol one
// more of a factor, and of the kinds that its enrolment makes besides.
func (v *Vault) HasRoom(f factors.Factor, active []store.Credential) bool {
	if compound, ok := f.(factors.Compound); ok {
		for _, kind := range compound.Beside() {
			beside, err := v.Factors.Get(kind)
			if err != nil || !hasRoom(beside, active) {
				return false
			}
		}
	}
	return hasRoom(f, active)
}

// hasRoom is HasRoom for one kind: where there may be one alone, it is replaced.
func hasRoom(f factors.Factor, active []store.Credential) bool {
	have := 0
	for _, c := range active {
		if c.Kind == f.Kind() {
			have++
		}
	}
	return f.Most() == 1 || have < f.Most()
}
