package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/importing"
	"github.com/portcullis-mfa/portcullis/store"
)

// Sealing makes credentials of what another program kept. An error says what is wrong,
// and quotes nothing secret.
type Sealing interface {
	// SealPassword makes one of a password's hash.
	SealPassword(userID, hash string) (store.Credential, error)
	// SealApp makes one of an authenticator app.
	SealApp(userID string, app importing.TOTP) (store.Credential, error)
}

// Import asks for users to be added.
type Import struct {
	Users []importing.User
	// SkipBad adds the other users if some can't be added. Without it, nobody is added.
	SkipBad bool
}

// ImportDone says who was added.
type ImportDone struct {
	Added int
	// WithoutPassword have been invited, but have no invitation yet.
	WithoutPassword []string
	// WithoutSecond have only a password, and need an access code to sign in.
	WithoutSecond []string
	Problems      []importing.Problem
}

// imported is a user who can be added, and what they sign in with.
type imported struct {
	line        int
	user        store.User
	credentials []store.Credential
}

// Import adds users in one transaction. Those who have a password are active, unless they
// were disabled; all others are invited.
func (d *Desk) Import(ctx context.Context, in Import, sealing Sealing) (ImportDone, error) {
	done := ImportDone{WithoutPassword: []string{}, WithoutSecond: []string{}, Problems: []importing.Problem{}}
	var ready []imported
	for _, given := range in.Users {
		one, err := d.sealed(given, sealing)
		if err != nil {
			done.Problems = append(done.Problems, importing.Problem{Line: given.Line, Error: textOf(err)})
			continue
		}
		ready = append(ready, one)
	}
	if err := d.keepImported(ctx, in, ready, &done); err != nil {
		return ImportDone{}, err
	}
	slices.SortStableFunc(done.Problems, func(a, b importing.Problem) int { return cmp.Compare(a.Line, b.Line) })
	return done, nil
}

// errNotAll rolls back an import of which not all can be added.
var errNotAll = errors.New("not all users can be added")

func (d *Desk) keepImported(ctx context.Context, in Import, ready []imported, done *ImportDone) error {
	sealed := *done
	err := d.audit.Change(ctx, d.store, "importing users", func(tx store.Tx) ([]store.Event, error) {
		*done = sealed // a transaction may run again
		done.Problems = slices.Clone(sealed.Problems)
		var events []store.Event
		for _, one := range ready {
			err := keep(ctx, tx, one)
			if errors.Is(err, store.ErrConflict) {
				done.Problems = append(done.Problems, importing.Problem{Line: one.line, Error: ErrTaken.Error()})
				continue
			}
			if err != nil {
				return nil, err
			}
			done.note(one)
			events = append(events, d.event(audit.UserCreated, one.user, nil))
		}
		if len(done.Problems) > 0 && !in.SkipBad {
			return nil, errNotAll
		}
		return events, nil
	})
	if errors.Is(err, errNotAll) {
		*done = ImportDone{WithoutPassword: []string{}, WithoutSecond: []string{}, Problems: done.Problems}
		return nil
	}
	return err
}

// note counts a user who was added.
func (done *ImportDone) note(one imported) {
	done.Added++
	switch len(one.credentials) {
	case 0:
		done.WithoutPassword = append(done.WithoutPassword, one.user.Name)
	case 1:
		done.WithoutSecond = append(done.WithoutSecond, one.user.Name)
	}
}

func keep(ctx context.Context, tx store.Tx, one imported) error {
	if err := tx.CreateUser(ctx, one.user); err != nil {
		return err
	}
	for _, c := range one.credentials {
		if err := tx.CreateCredential(ctx, c); err != nil {
			return fmt.Errorf("adding a credential: %w", err)
		}
	}
	return nil
}

// sealed checks a user, and seals what they sign in with.
func (d *Desk) sealed(given importing.User, sealing Sealing) (imported, error) {
	user, err := d.checked(NewUser{Name: given.Name, DisplayName: given.DisplayName, Email: given.Email, Groups: given.Groups})
	if err != nil {
		return imported{}, err
	}
	one := imported{line: given.Line, user: user}
	if given.PasswordHash == "" && len(given.TOTP) > 0 {
		return imported{}, errAppAlone
	}
	if given.PasswordHash != "" {
		one.user.Status = store.UserActive
		sealed, err := sealing.SealPassword(user.ID, given.PasswordHash)
		if err != nil {
			return imported{}, err
		}
		one.credentials = append(one.credentials, sealed)
	}
	for _, app := range given.TOTP {
		sealed, err := sealing.SealApp(user.ID, app)
		if err != nil {
			return imported{}, err
		}
		one.credentials = append(one.credentials, sealed)
	}
	if given.Disabled {
		one.user.Status = store.UserDisabled
	}
	return one, nil
}

// errAppAlone refuses somebody whose second factor would be the only one: whoever set up
// the account from an invitation would have to show it.
var errAppAlone = errors.New("there is an authenticator app, but no password hash")

// textOf says for people what is wrong.
func textOf(err error) string {
	var speaks interface{ Text() string }
	if errors.As(err, &speaks) {
		return speaks.Text()
	}
	return err.Error()
}
