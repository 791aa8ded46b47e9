package authflow

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Login is what somebody typed into the sign-in form, and where they go.
type Login struct {
	Name     string // sign-in name or e-mail address
	Password string
	Client   person.Client
	Shared   bool // at a computer that others use
	Ask      assurance.Requirement
	// Request and Return are as in Flow.
	Request, Return string
}

// errNoName says that no name was typed.
var errNoName = &person.Invalid{Fields: map[string]error{"name": person.Phrase{
	Key: "portal.wrong.name_missing", English: "Enter a name or e-mail address.",
}}}

// SignIn checks name and password and begins a flow. Whoever is unknown,
// disabled or has no password gets the answer of a wrong password, after the
// same work: *factors.Refused. *guess.Slowed says that nothing was looked at, and
// *person.Invalid that no name was typed; every other error means that it could
// not be told.
func (e *Engine) SignIn(ctx context.Context, in Login) (Flow, error) {
	in.Name = token.Trimmed(in.Name) // phones put a space behind a word
	if in.Name == "" {
		return Flow{}, errNoName
	}
	user, err := e.find(ctx, in.Name)
	if err != nil {
		return Flow{}, err
	}
	mark, err := e.People.ProvePassword(ctx, user, person.PasswordTry{Name: in.Name, Password: in.Password}, in.Client)
	if err != nil {
		return Flow{}, err
	}
	f := signingIn(in, user)
	f.Proofs = []assurance.Proof{{Factor: assurance.Password, At: e.Clock()}}
	f.PasswordMark = mark
	return e.begin(ctx, f)
}

// signingIn is a flow in which nothing has been shown yet.
func signingIn(in Login, user store.User) Flow {
	f := Flow{
		Kind: SignIn, UserID: user.ID, Name: user.Name, DisplayName: user.DisplayName, Ask: in.Ask, Request: in.Request, Return: in.Return, Shared: in.Shared,
		Platform: in.Client.Platform,
	}
	if in.Client.Browser != "" {
		f.Browser = token.Hash(in.Client.Browser)
	}
	return f
}

// AnswerPassword checks the password in a flow that asks for it again.
func (e *Engine) AnswerPassword(ctx context.Context, f Flow, password string, c person.Client) error {
	if err := e.checkStep(ctx, f, StepPassword, ""); err != nil {
		return err
	}
	user, err := e.Store.UserByID(ctx, f.UserID)
	if err != nil {
		return fmt.Errorf("reading the user of a flow: %w", err)
	}
	mark, err := e.People.ProvePassword(ctx, user, person.PasswordTry{Name: f.Name, Password: password, SignedIn: f.SignOn != ""}, c)
	if err != nil {
		return err
	}
	return e.retried(ctx, f, func(f Flow) error {
		if err := e.checkStep(ctx, f, StepPassword, ""); err != nil {
			return err
		}
		f.PasswordMark = mark
		f.Proofs = assurance.Add(f.Proofs, assurance.Proof{Factor: assurance.Password, At: e.Clock()})
		return e.save(ctx, e.Store, &f)
	})
}

// find returns the user whom a typed name or address means, or the zero User.
func (e *Engine) find(ctx context.Context, typed string) (store.User, error) {
	var (
		user store.User
		err  error
	)
	if strings.Contains(typed, "@") {
		email, bad := identity.CanonicalEmail(typed)
		if bad != nil {
			return store.User{}, nil
		}
		user, err = e.Store.UserByEmail(ctx, email)
	} else {
		name, bad := identity.CanonicalName(typed)
		if bad != nil {
			return store.User{}, nil
		}
		user, err = e.Store.UserByName(ctx, name)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.User{}, fmt.Errorf("looking for a user: %w", err)
	}
	return user, nil
}
