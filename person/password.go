package person

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// AttemptOf returns an attempt at a user's factor; browser is the id of their
// known browser that it comes from, or empty.
func AttemptOf(user store.User, kind assurance.Factor, browser string, c Client) guess.Attempt {
	return guess.Attempt{User: user, Factor: kind, Browser: browser, Address: c.Address, UserAgent: c.UserAgent}
}

// PasswordTry is a password that somebody shows.
type PasswordTry struct {
	Name, Password string
	// SignedIn says that it is shown under a sign-on.
	SignedIn bool
}

// ProvePassword counts an attempt at a user's password and verifies exactly one
// hash. It returns a mark of the password that was proven. Whoever is unknown,
// disabled or has no password gets the answer of a wrong password, after the
// same work: *factors.Refused. *guess.Slowed says that nothing was looked at;
// every other error means that it could not be told. Whoever has to wait, or
// finds too many waiting, costs no write. An empty password is no attempt: it is
// refused as Malformed, whoever it is for, and leaves no trace.
func (k *Keeper) ProvePassword(ctx context.Context, user store.User, try PasswordTry, c Client) (string, error) {
	if try.Password == "" {
		return "", &factors.Refused{Reason: factors.Malformed}
	}
	browser, err := k.KnownBrowser(ctx, user.ID, c)
	if err != nil {
		return "", err
	}
	at := AttemptOf(user, assurance.Password, browser, c)
	if user.ID == "" {
		at.Nobody = token.Hash(madeUpName(try.Name))
	}
	entered, leave, err := k.Guesses.Enter(ctx, at, try.SignedIn)
	if err != nil {
		return "", err
	}
	defer leave()
	hash, err := k.passwordOf(ctx, user)
	if err != nil {
		return "", err
	}
	if err := k.Guesses.Reserve(ctx, at); err != nil {
		return "", err
	}
	right, err := k.verify(entered, hash, try.Password)
	if err != nil {
		return "", k.Guesses.Refund(ctx, at, err)
	}
	if !right {
		if err := k.Guesses.Failed(ctx, at, string(factors.Wrong)); err != nil {
			return "", err
		}
		return "", &factors.Refused{Reason: factors.Wrong}
	}
	err = k.Store.Atomically(ctx, func(tx store.Tx) error { return k.Guesses.Succeeded(ctx, tx, at) })
	if err != nil {
		return "", fmt.Errorf("forgetting failed attempts: %w", err)
	}
	if k.Passwords.Outdated(hash) {
		hash = k.rehash(ctx, user.ID, hash, try.Password)
	}
	return passwordMark([]byte(hash)), nil
}

// rehash replaces the hash of a password that was found to be right by one
// made in the present way, and returns the one that is kept. Where it fails, the
// old one goes on serving, and the next sign-in tries again.
func (k *Keeper) rehash(ctx context.Context, userID, old, password string) string {
	fresh, err := k.Passwords.Hash(guess.WaitingFor(ctx, userID), password)
	if err != nil {
		return old
	}
	err = k.Store.Atomically(ctx, func(tx store.Tx) error {
		all, err := tx.CredentialsOf(ctx, userID)
		if err != nil {
			return err
		}
		opened, rows, err := k.Vault.Open(k.Vault.Active(all), assurance.Password)
		if err != nil {
			return err
		}
		if len(opened) == 0 || string(opened[0].Secret) != old {
			return store.ErrConflict // changed meanwhile
		}
		credential := rows[opened[0].ID]
		if err := k.Vault.SetSecret(&credential, []byte(fresh)); err != nil {
			return err
		}
		return tx.UpdateCredential(ctx, credential)
	})
	if err != nil {
		return old
	}
	return fresh
}

// madeUpName folds what was typed as far as a real name would be, so that
// another case doesn't start another count.
func madeUpName(typed string) string {
	if name, err := identity.CanonicalName(typed); err == nil {
		return name
	}
	if email, err := identity.CanonicalEmail(typed); err == nil {
		return email
	}
	return strings.ToLower(strings.TrimSpace(typed))
}

// passwordOf returns the user's password hash; empty for whoever may not sign in
// by one.
func (k *Keeper) passwordOf(ctx context.Context, user store.User) (string, error) {
	active, err := k.Vault.ActiveOf(ctx, user.ID)
	if err != nil || user.Status != store.UserActive {
		return "", err
	}
	opened, _, err := k.Vault.Open(active, assurance.Password)
	if err != nil || len(opened) == 0 {
		return "", err
	}
	return string(opened[0].Secret), nil
}

// passwordMark changes when the password does, and not when its hash is sealed
// again by another key.
func passwordMark(hash []byte) string { return token.Hash(string(hash)) }

// PasswordMark returns the mark of the password among a user's active credentials; empty:
// there is none.
func (k *Keeper) PasswordMark(active []store.Credential) (string, error) {
	passwords, _, err := k.Vault.Open(active, assurance.Password)
	if err != nil || len(passwords) == 0 {
		return "", err
	}
	return passwordMark(passwords[0].Secret), nil
}

// IsCurrent reports whether the password that a mark is of is still among the
// user's active credentials.
func (k *Keeper) IsCurrent(mark string, active []store.Credential) (bool, error) {
	passwords, _, err := k.Vault.Open(active, assurance.Password)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(passwords, func(c factors.Credential) bool { return passwordMark(c.Secret) == mark }), nil
}

func (k *Keeper) verify(ctx context.Context, hash, password string) (bool, error) {
	if hash == "" {
		return false, k.Passwords.Burn(ctx, password)
	}
	return k.Passwords.Verify(ctx, hash, password)
}

// JudgePassword says what choosing a password would come to for a user, apart
// from being the one that they have. Forms and the meter beside them both
// decide by it.
func (k *Keeper) JudgePassword(u store.User, password string) Judgement {
	return k.Rules.Judge(password, u.Name, u.DisplayName, u.Email)
}

// CheckNewPassword says as *Invalid with the field "password" why a password
// can't be a user's, apart from being the one that they have.
func (k *Keeper) CheckNewPassword(u store.User, password string) error {
	if err := k.JudgePassword(u, password).Refusal; err != nil {
		return &Invalid{map[string]error{"password": err}}
	}
	return nil
}

// CheckOtherPassword is CheckNewPassword that also refuses the password that
// they have.
func (k *Keeper) CheckOtherPassword(ctx context.Context, u store.User, password string) error {
	if err := k.CheckNewPassword(u, password); err != nil {
		return err
	}
	hash, err := k.passwordOf(ctx, u)
	if err != nil {
		return err
	}
	same, err := k.verify(ctx, hash, password)
	if err == nil && same {
		err = ErrSamePassword
	}
	return err
}

// ErrSamePassword says as *Invalid that a new password is the present one.
var ErrSamePassword = &Invalid{map[string]error{"password": Phrase{
	"new_password.same", "That's your current password. Choose a different one.",
}}}

// HashPassword returns a new credential of a password, and its mark.
func (k *Keeper) HashPassword(ctx context.Context, userID, password string) (fresh store.Credential, mark string, err error) {
	hash, err := k.Passwords.Hash(guess.WaitingFor(ctx, userID), password)
	if err != nil {
		return store.Credential{}, "", fmt.Errorf("hashing a new password: %w", err)
	}
	return k.PasswordCredential(userID, []byte(hash))
}

// PasswordCredential returns a new credential of a hashed password, and its
// mark.
func (k *Keeper) PasswordCredential(userID string, hash []byte) (fresh store.Credential, mark string, err error) {
	fresh, err = k.Vault.New(userID, assurance.Password, factors.Made{Secret: hash})
	return fresh, passwordMark(hash), err
}

// ReplacePassword puts a new password in the place of the old one. What was
// failed so far is forgotten: whoever guessed at a second factor knew the old
// password, and gets no further.
func ReplacePassword(ctx context.Context, tx store.Tx, user store.User, fresh store.Credential) error {
	if _, err := credentials.DeleteKind(ctx, tx, user.ID, assurance.Password); err != nil {
		return err
	}
	if err := tx.CreateCredential(ctx, fresh); err != nil {
		return err
	}
	if err := guess.Forget(ctx, tx, user.ID); err != nil {
		return err
	}
	if !user.NewPassword {
		return nil
	}
	user.NewPassword = false
	return tx.UpdateUser(ctx, user)
}
