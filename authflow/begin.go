package authflow

import (
	"context"
	"fmt"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// Flows of people who are signed in already.

// Raise says to what a live sign-on is to be raised, and where to go then.
type Raise struct {
	SignOn store.SignOn
	User   store.User // as the store has them now
	Ask    assurance.Requirement
	// Rank is as in Flow.
	Rank int
	// Request and Return are as in Flow.
	Request, Return string
	Client          person.Client
}

// BeginStepUp begins a flow that raises a live sign-on to what is asked. Whoever
// was let in by a certificate, and is due to choose another password, signs in
// for it.
func (e *Engine) BeginStepUp(ctx context.Context, r Raise) (Flow, error) {
	f := Flow{
		Kind: StepUp, UserID: r.User.ID, Name: r.User.Name, DisplayName: r.User.DisplayName,
		Ask: r.Ask, Rank: r.Rank, Request: r.Request, Return: r.Return,
		Proofs: r.SignOn.Proofs, SignOn: r.SignOn.ID, Shared: r.SignOn.Shared, Platform: r.Client.Platform,
	}
	if r.User.NewPassword && assurance.Of(r.SignOn.Proofs, e.Vault.Factors.Weights()) < assurance.Single {
		f.signInAnew()
	}
	return e.begin(ctx, f)
}

// signInAnew makes a step-up a sign-in in which nothing has been shown yet.
func (f *Flow) signInAnew() {
	f.Kind, f.SignOn, f.Proofs, f.PasswordMark, f.Rank = SignIn, "", nil, "", 0
}

// BeginFreshCheck begins a flow that checks a person again before they change
// something, and then leads to a path of the portal's own.
func (e *Engine) BeginFreshCheck(ctx context.Context, s store.SignOn, u store.User, returnPath string, c person.Client) (Flow, error) {
	check, err := e.People.FreshCheck(ctx, u.ID)
	if err != nil {
		return Flow{}, err
	}
	return e.BeginStepUp(ctx, Raise{SignOn: s, User: u, Ask: check.Ask, Rank: check.Rank, Return: returnPath, Client: c})
}

// Adding says which kind of credential is added, and where the person goes then.
type Adding struct {
	Kind assurance.Factor
	// Request and Return are as in Flow.
	Request, Return string
	// Offered says that the person was offered it on their way.
	Offered bool
}

// BeginEnrolment begins a flow in which somebody who is signed in adds a
// credential. person.ErrStale where they have to be checked first, credentials.ErrTooMany where
// they have as many of the kind as they may.
func (e *Engine) BeginEnrolment(ctx context.Context, s store.SignOn, u store.User, a Adding, c person.Client) (Flow, error) {
	factor, err := e.Vault.Factors.Get(a.Kind)
	if err != nil {
		return Flow{}, fmt.Errorf("%w: %w", credentials.ErrUnknown, err)
	}
	err = e.Store.Atomically(ctx, func(tx store.Tx) error {
		_, _, active, err := e.People.Checked(ctx, tx, s.ID)
		if err == nil && !e.Vault.HasRoom(factor, active) {
			return credentials.ErrTooMany
		}
		return err
	})
	if err != nil {
		return Flow{}, fmt.Errorf("beginning to add a %s credential: %w", a.Kind, err)
	}
	return e.begin(ctx, Flow{
		Kind: Enrol, UserID: u.ID, Name: u.Name, DisplayName: u.DisplayName, Enrol: a.Kind,
		Request: a.Request, Return: a.Return, Offered: a.Offered, SignOn: s.ID, Shared: s.Shared, Platform: c.Platform,
	})
}
