package authflow

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Getting back in without what was lost (NIST SP 800-63B-4 §4.2): the password
// and another second factor, a backup code or an administrator's code have the
// lost credential suspended at once, and its replacement enrolled.

// Losable returns the second factors of the person in a flow, of which they can
// say that they lost them.
func (e *Engine) Losable(ctx context.Context, f Flow) ([]credentials.Own, error) {
	active, err := e.losing(ctx, f)
	if err != nil {
		return nil, err
	}
	var held []credentials.Own
	for _, c := range active {
		if c.Kind != assurance.Password {
			held = append(held, credentials.Own{ID: c.ID, Kind: c.Kind, Name: c.Name, Created: c.Created, LastUsed: c.LastUsed})
		}
	}
	return held, nil
}

// losing returns the active credentials of the person in a flow in which they can
// say that they lost some, or ErrWrongStep.
func (e *Engine) losing(ctx context.Context, f Flow) ([]store.Credential, error) {
	if f.Kind != SignIn && f.Kind != StepUp {
		return nil, ErrWrongStep
	}
	return e.Vault.ActiveOf(ctx, f.UserID)
}

// Lose notes which credentials the person in a flow says they lost. Nothing
// happens to those before something else is shown. What was shown in another
// flow doesn't count for this: a step-up becomes a sign-in that asks for the
// password too. credentials.ErrUnknown where one of them isn't theirs.
func (e *Engine) Lose(ctx context.Context, f Flow, ids []string) error {
	return e.retried(ctx, f, func(f Flow) error { return e.lose(ctx, f, ids) })
}

func (e *Engine) lose(ctx context.Context, f Flow, ids []string) error {
	active, err := e.losing(ctx, f)
	if err != nil {
		return err
	}
	if replaces(f, active) || len(ids) == 0 {
		return ErrWrongStep
	}
	for _, id := range ids {
		if !slices.ContainsFunc(active, func(c store.Credential) bool { return c.ID == id && c.Kind != assurance.Password }) {
			return credentials.ErrUnknown
		}
	}
	if f.Kind == StepUp {
		f.signInAnew()
	}
	f.Lost, f.Replacing = nil, ""
	for _, lost := range credentials.WithHeld(active, func(c store.Credential) bool { return slices.Contains(ids, c.ID) }) {
		f.Lost = append(f.Lost, lost.ID)
	}
	f.Ask = assurance.Requirement{Level: assurance.Multi}
	f.Browser, f.Remember = "", ""
	return e.save(ctx, e.Store, &f)
}

// suspend takes out of use what a flow says is lost, ends all sign-ons and other
// flows of the user, and has the flow go on with the replacement.
func (e *Engine) suspend(ctx context.Context, tx store.Tx, f *Flow, c person.Client) ([]store.Event, error) {
	user := store.User{ID: f.UserID, Name: f.Name}
	all, err := tx.CredentialsOf(ctx, f.UserID)
	if err != nil {
		return nil, err
	}
	var events []store.Event
	for _, credential := range all {
		if !slices.Contains(f.Lost, credential.ID) || credential.State != store.CredentialActive {
			continue
		}
		event, err := e.People.Suspend(ctx, tx, user, credential, c)
		if err != nil {
			return nil, err
		}
		events = append(events, event)
		if !e.Vault.Factors.Traits(f.Replacing).Daily {
			f.Replacing = credential.Kind
		}
	}
	if !e.Vault.Factors.Traits(f.Replacing).Daily {
		f.Replacing = "" // what stands by is asked for anyhow
	}
	f.Lost = nil
	if err := e.noteLoss(ctx, tx, f.UserID); err != nil {
		return nil, err
	}
	ended, err := e.People.EndAll(ctx, tx, user, f.key(), session.EndedFactorLost, c)
	return append(events, ended...), err
}

// lossNamespace holds, for each user, that something was reported lost.
const lossNamespace = store.LossNamespace

// noteLoss remembers a loss for as long as what is enrolled after it counts for
// less.
func (e *Engine) noteLoss(ctx context.Context, tx store.Tx, userID string) error {
	if e.Rules.Hold <= 0 {
		return nil
	}
	if err := tx.DeleteRecordsOf(ctx, lossNamespace, userID, ""); err != nil {
		return err
	}
	return tx.PutRecord(ctx, store.Record{
		Namespace: lossNamespace, Key: userID, Owner: userID, Expires: e.Clock().Add(e.Rules.Hold),
	})
}

// isOnProbation reports whether a loss is remembered, or a user has something that
// is held.
func (e *Engine) isOnProbation(ctx context.Context, tx store.Tx, userID string) (bool, error) {
	now := e.Clock()
	_, err := tx.GetRecord(ctx, lossNamespace, userID, now)
	if !errors.Is(err, store.ErrNotFound) {
		return err == nil, err
	}
	all, err := tx.CredentialsOf(ctx, userID)
	return slices.ContainsFunc(all, func(c store.Credential) bool { return now.Before(c.ProbationUntil) }), err
}

const (
	// AccessCodeLifetime is how long an access code counts.
	AccessCodeLifetime = time.Hour

	// accessCodeLength is the length of an access code: 80 bits.
	accessCodeLength = 16
)

// accessCodeKey is where a user's access code is kept.
func accessCodeKey(userID, code string) string { return token.Hash(userID + "\x00" + code) }

// NewAccessCode returns a code by which a user who can show no second factor
// enrols a new one, beside the password; any code made before is void.
// ErrNotActive where the user can't sign in.
func (e *Engine) NewAccessCode(ctx context.Context, u store.User) (string, error) {
	code, err := token.NewCode(e.Random, accessCodeLength)
	if err != nil {
		return "", err
	}
	err = e.People.Change(ctx, "keeping a new access code", func(tx store.Tx) ([]store.Event, error) {
		user, err := tx.UserByID(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		if user.Status != store.UserActive {
			return nil, ErrNotActive
		}
		if err := tx.DeleteRecordsOf(ctx, person.AccessCodes, user.ID, ""); err != nil {
			return nil, err
		}
		event := e.Audit.Event(audit.AccessCodeCreated, user.ID, audit.Fields{audit.User: user.Name, audit.By: "administrator"})
		return []store.Event{event}, tx.PutRecord(ctx, store.Record{
			Namespace: person.AccessCodes, Key: accessCodeKey(user.ID, code), Owner: user.ID,
			Expires: e.Clock().Add(AccessCodeLifetime),
		})
	})
	return token.Grouped(code), err
}

// ErrNotActive says that a user has not set up yet, or is disabled.
var ErrNotActive = errors.New("the user hasn't set up their account yet, or is disabled")

// AnswerAccessCode takes the code that an administrator gave: it stands in for
// a second factor, once, to enrol one and for nothing else. *factors.Refused, ErrWrongStep
// and ErrFlowGone are definite. Nobody guesses such a code, so wrong ones slow
// nobody down.
func (e *Engine) AnswerAccessCode(ctx context.Context, f Flow, typed string, c person.Client) error {
	return e.retried(ctx, f, func(f Flow) error { return e.answerAccessCode(ctx, f, typed, c) })
}

func (e *Engine) answerAccessCode(ctx context.Context, f Flow, typed string, c person.Client) error {
	if err := e.checkStep(ctx, f, StepAccessCode, AccessCode); err != nil {
		return err
	}
	code, ok := token.ReadCode(typed, accessCodeLength)
	if !ok {
		return &factors.Refused{Reason: factors.Malformed}
	}
	browser, err := e.People.KnownBrowser(ctx, f.UserID, c)
	if err != nil {
		return err
	}
	at := person.AttemptOf(store.User{ID: f.UserID, Name: f.Name}, AccessCode, browser, c)
	err = e.takeAccessCode(ctx, f, code, at, c)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	f.Refusals++
	if err := e.keepRefusals(ctx, f); err != nil {
		return err
	}
	return e.noteWrong(ctx, at, &factors.Refused{Reason: factors.Wrong}, nil)
}

// takeAccessCode spends a code and has the flow go on with the replacement, or
// returns store.ErrNotFound where there is no such code.
func (e *Engine) takeAccessCode(ctx context.Context, f Flow, code string, at guess.Attempt, c person.Client) error {
	return e.advance(ctx, f, "taking an access code", func(tx store.Tx) ([]store.Event, error) {
		_, _, step, err := e.judge(ctx, tx, f, AccessCode)
		if err != nil {
			return nil, err
		}
		if step.Kind != StepAccessCode {
			return nil, ErrWrongStep
		}
		if _, err := tx.TakeRecord(ctx, person.AccessCodes, accessCodeKey(f.UserID, code), e.Clock()); err != nil {
			return nil, err
		}
		changed := f
		changed.Helped = true
		events, err := e.suspend(ctx, tx, &changed, c)
		if err != nil {
			return nil, err
		}
		if changed.Replacing == "" {
			changed.Replacing = e.Vault.Factors.First(isDaily)
		}
		if err := e.save(ctx, tx, &changed); err != nil {
			return nil, err
		}
		used := e.People.Own(audit.AccessCodeUsed, at.User, c, nil)
		return append([]store.Event{used}, events...), e.Guesses.Succeeded(ctx, tx, at)
	})
}
