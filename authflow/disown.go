package authflow

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// disown ends what came of a question that its person didn't ask for, whoever asked for it,
// and whatever else is under way in their name: somebody knows the password, so another one is
// asked for. Credentials of the kind are frozen, so that nobody is disturbed again
// until the person has signed in with another factor.
func (e *Engine) disown(ctx context.Context, q posed, v factors.Verdict) error {
	return e.People.Change(ctx, "disowning a question", func(tx store.Tx) ([]store.Event, error) {
		user, err := tx.UserByID(ctx, q.kept.Owner)
		if err != nil {
			return nil, err
		}
		reported := q.kept.Turned(*v.Next)
		if reported.Closed.IsZero() {
			reported.Closed, reported.Kept = e.Clock(), reported.KeptUntil
		}
		if err := e.book().Put(ctx, tx, reported); err != nil {
			return nil, err
		}
		if err := person.AbandonFlows(ctx, tx, user.ID); err != nil {
			return nil, err
		}
		if err := e.freeze(ctx, tx, user.ID, q.kept.Kind); err != nil {
			return nil, err
		}
		events := []store.Event{e.Audit.Event(audit.RequestReported, user.ID, audit.Fields{
			audit.User: user.Name, audit.Credential: q.rows[v.CredentialID].Name, audit.App: q.kept.Scene.Host,
			audit.Address: q.kept.Scene.Address, audit.UserAgent: q.kept.Scene.UserAgent,
		})}
		ended, err := e.endWhatCameOf(ctx, tx, q.kept, user)
		if err != nil {
			return nil, err
		}
		user.NewPassword = true
		return append(events, ended...), tx.UpdateUser(ctx, user)
	})
}

// endWhatCameOf ends what somebody may have come in by, if a question led to a sign-on or
// was put to raise one. A sign-on alone isn't enough: whoever had it may have another one
// by now, a known browser, an authenticator, a device or an app password. So all sign-ons end, and
// what was added since the question was put proves nothing any more.
func (e *Engine) endWhatCameOf(ctx context.Context, tx store.Tx, q ceremony.Question, user store.User) ([]store.Event, error) {
	if q.SignOn == "" {
		return nil, nil
	}
	c := person.Client{Address: q.Scene.Address}
	events, err := e.suspendSince(ctx, tx, user, q.Begun, c)
	if err != nil {
		return nil, err
	}
	revoked, err := e.People.RevokeAppPasswords(ctx, tx, user, session.EndedDisowned, c, func(t store.AccessToken) bool {
		return !t.Created.Before(q.Begun)
	})
	if err != nil {
		return nil, err
	}
	suspended, err := e.People.SuspendDevicesSince(ctx, tx, user, q.Begun, c)
	if err != nil {
		return nil, err
	}
	ended, err := e.People.EndAll(ctx, tx, user, "", session.EndedDisowned, c)
	if err != nil {
		return nil, err
	}
	return slices.Concat(events, revoked, suspended, ended), tx.DeleteBrowsersOf(ctx, user.ID)
}

// suspendSince suspends the second factors that a user has had no longer than since a
// time. They stay in the owner's list.
func (e *Engine) suspendSince(ctx context.Context, tx store.Tx, user store.User, since time.Time, c person.Client) ([]store.Event, error) {
	all, err := tx.CredentialsOf(ctx, user.ID)
	if err != nil {
		return nil, err
	}
	var events []store.Event
	for _, added := range all {
		if added.Kind == assurance.Password || added.State == store.CredentialSuspended || added.State == store.CredentialReplaced || added.Created.Before(since) {
			continue
		}
		event, err := e.People.Suspend(ctx, tx, user, added, c)
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	return events, nil
}

// freeze has a user's active credentials of a kind prove nothing until thaw.
func (e *Engine) freeze(ctx context.Context, tx store.Tx, userID string, kind assurance.Factor) error {
	return setStates(ctx, tx, userID, store.CredentialActive, store.CredentialFrozen, func(c store.Credential) bool { return c.Kind == kind })
}

// thaw has the frozen credentials of the person in a finished flow count again, if
// another second factor was shown in it.
func (e *Engine) thaw(ctx context.Context, tx store.Tx, f Flow) error {
	if !slices.ContainsFunc(assurance.Shown(f.Proofs), isSecond) {
		return nil
	}
	return setStates(ctx, tx, f.UserID, store.CredentialFrozen, store.CredentialActive, func(store.Credential) bool { return true })
}

func setStates(ctx context.Context, tx store.Tx, userID string, from, to store.CredentialState, meant func(store.Credential) bool) error {
	all, err := tx.CredentialsOf(ctx, userID)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.State != from || !meant(c) {
			continue
		}
		c.State = to
		if err := tx.UpdateCredential(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// noteSignOn tells the questions of a finished flow that are kept what came of it.
func (e *Engine) noteSignOn(ctx context.Context, tx store.Tx, f Flow, s store.SignOn) error {
	for _, ref := range f.Kept {
		q, err := e.book().Find(ctx, tx, ref)
		if errors.Is(err, ceremony.ErrNone) {
			continue
		}
		if err != nil {
			return err
		}
		q.SignOn = s.ID
		if err := e.book().Put(ctx, tx, q); err != nil {
			return err
		}
	}
	return nil
}
