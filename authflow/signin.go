package authflow

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Login is what somebody typed into the sign-in form, and where they go.
type Login struct {
	Name     string // sign-in name or e-mail address
	Password string
	Client   Client
	Shared   bool // at a computer that others use
	Ask      assurance.Requirement
	// Request and Return are as in Flow.
	Request, Return string
}

// SignIn checks name and password and begins a flow. Whoever is unknown,
// disabled or has no password gets the answer of a wrong password, after the
// same work: *Refused. *Slowed says that nothing was looked at; every other
// error means that it could not be told.
func (e *Engine) SignIn(ctx context.Context, in Login) (Flow, error) {
	in.Name = strings.TrimSpace(in.Name) // phones put a space behind a word
	user, err := e.find(ctx, in.Name)
	if err != nil {
		return Flow{}, err
	}
	mark, err := e.provePassword(ctx, user, passwordTry{name: in.Name, password: in.Password}, in.Client)
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
func (e *Engine) AnswerPassword(ctx context.Context, f Flow, password string, c Client) error {
	step, err := e.Step(ctx, f, "")
	if err != nil {
		return err
	}
	if step.Kind != StepPassword {
		return ErrWrongStep
	}
	user, err := e.Store.UserByID(ctx, f.UserID)
	if err != nil {
		return fmt.Errorf("reading the user of a flow: %w", err)
	}
	mark, err := e.provePassword(ctx, user, passwordTry{f.Name, password, f.SignOn != ""}, c)
	if err != nil {
		return err
	}
	for tries := 1; ; tries++ {
		f.PasswordMark = mark
		f.Proofs = assurance.Add(f.Proofs, assurance.Proof{Factor: assurance.Password, At: e.Clock()})
		err := e.save(ctx, e.Store, &f)
		if !errors.Is(err, store.ErrConflict) || tries == answerTries {
			return err
		}
		// Another tab changed the flow meanwhile: the password is right all the same.
		if f, err = e.Load(ctx, f.ID); err != nil {
			return err
		}
		if step, err = e.Step(ctx, f, ""); err != nil {
			return err
		} else if step.Kind != StepPassword {
			return ErrWrongStep
		}
	}
}

// Raise says to what a live sign-on is to be raised, and where to go then.
type Raise struct {
	SignOn store.SignOn
	User   store.User // as the store has them now
	Ask    assurance.Requirement
	// Request and Return are as in Flow.
	Request, Return string
	Client          Client
}

// BeginStepUp begins a flow that raises a live sign-on to what is asked. Whoever
// was let in by a certificate, and is due to choose another password, signs in
// for it.
func (e *Engine) BeginStepUp(ctx context.Context, r Raise) (Flow, error) {
	f := Flow{
		Kind: StepUp, UserID: r.User.ID, Name: r.User.Name, DisplayName: r.User.DisplayName,
		Ask: r.Ask, Request: r.Request, Return: r.Return,
		Proofs: r.SignOn.Proofs, SignOn: r.SignOn.ID, Shared: r.SignOn.Shared, Platform: r.Client.Platform,
	}
	if r.User.NewPassword && assurance.Of(r.SignOn.Proofs, e.Factors.Enabled) < assurance.Single {
		f.signInAnew()
	}
	return e.begin(ctx, f)
}

// signInAnew makes a step-up a sign-in in which nothing has been shown yet.
func (f *Flow) signInAnew() { f.Kind, f.SignOn, f.Proofs, f.PasswordMark = SignIn, "", nil, "" }

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

// passwordTry is a password that somebody shows.
type passwordTry struct {
	name, password string
	// signedIn says that it is shown under a sign-on.
	signedIn bool
}

// provePassword counts, verifies exactly one hash, and reports the result as
// SignIn does. It returns a mark of the password that was proven. Whoever has to
// wait, or finds too many waiting, costs no write.
func (e *Engine) provePassword(ctx context.Context, user store.User, try passwordTry, c Client) (string, error) {
	browser, err := e.knownBrowser(ctx, user.ID, c)
	if err != nil {
		return "", err
	}
	at := attemptOf(user, assurance.Password, browser, c)
	if user.ID == "" {
		at.scope, at.key = ScopeName, token.Hash(madeUpName(try.name))
	}
	counted, err := e.mayTry(ctx, at)
	if err != nil {
		return "", err
	}
	entered, leave, err := e.enter(ctx, at, counted, try.signedIn)
	if err != nil {
		return "", err
	}
	defer leave()
	hash, mark, err := e.passwordOf(ctx, user)
	if err != nil {
		return "", err
	}
	if err := e.reserve(ctx, at); err != nil {
		return "", err
	}
	right, err := e.verify(entered, hash, try.password)
	if err != nil {
		return "", errors.Join(err, e.refund(ctx, at, err))
	}
	if !right {
		return "", e.failed(ctx, at, &Refused{Reason: factors.Wrong})
	}
	err = e.Store.Atomically(ctx, func(tx store.Tx) error { return e.succeeded(ctx, tx, at) })
	if err != nil {
		return "", fmt.Errorf("forgetting failed attempts: %w", err)
	}
	if e.Passwords.Outdated(hash) {
		return e.rehash(ctx, user.ID, hash, try.password), nil
	}
	return mark, nil
}

// rehash replaces the hash of a password that was found to be right by one
// made in the present way, and returns the mark of the one that is kept. Where
// it fails, the old one goes on serving, and the next sign-in tries again.
func (e *Engine) rehash(ctx context.Context, userID, old, password string) string {
	fresh, err := e.Passwords.Hash(waitingFor(ctx, userID), password)
	if err != nil {
		return passwordMark([]byte(old))
	}
	err = e.Store.Atomically(ctx, func(tx store.Tx) error {
		all, err := tx.CredentialsOf(ctx, userID)
		if err != nil {
			return err
		}
		opened, rows, err := e.ofKind(e.active(all), assurance.Password)
		if err != nil {
			return err
		}
		if len(opened) == 0 || string(opened[0].Secret) != old {
			return store.ErrConflict // changed meanwhile
		}
		credential := rows[opened[0].ID]
		if err := e.reseal(&credential, []byte(fresh)); err != nil {
			return err
		}
		return tx.UpdateCredential(ctx, credential)
	})
	if err != nil {
		return passwordMark([]byte(old))
	}
	return passwordMark([]byte(fresh))
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

// passwordOf returns the user's password hash and its mark; both are empty for
// whoever may not sign in by one.
func (e *Engine) passwordOf(ctx context.Context, user store.User) (hash, mark string, err error) {
	credentials, err := e.activeCredentials(ctx, user.ID)
	if err != nil || user.Status != store.UserActive {
		return "", "", err
	}
	opened, _, err := e.ofKind(credentials, assurance.Password)
	if err != nil || len(opened) == 0 {
		return "", "", err
	}
	return string(opened[0].Secret), passwordMark(opened[0].Secret), nil
}

// passwordMark changes when the password does, and not when its hash is sealed
// again by another key.
func passwordMark(hash []byte) string { return token.Hash(string(hash)) }

func (e *Engine) verify(ctx context.Context, hash, password string) (bool, error) {
	if hash == "" {
		return false, e.Passwords.Burn(ctx, password)
	}
	return e.Passwords.Verify(ctx, hash, password)
}
