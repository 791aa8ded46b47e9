package authflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Granted is what a finished flow yields.
type Granted struct {
	person.Granted
	// Browser is the token of this browser, to be kept in its cookie; empty
	// where the cookie is to be left as it is.
	Browser string
	Request string
	// OfferPasskey says that the person is to be offered a passkey before they
	// go on.
	OfferPasskey bool
}

// Grant finishes a flow, exactly once: it reads the user, the password and the
// rule again and makes or raises the sign-on, all in one transaction.
// previous is the sign-on that the browser had before, which a new one
// replaces; empty where it had none. ErrWrongStep where something is still
// missing, ErrFlowGone where the flow was finished, or the user may not sign
// in any more.
func (e *Engine) Grant(ctx context.Context, f Flow, previous string, c person.Client) (Granted, error) {
	prepared, err := e.prepare(f.UserID, c)
	if err != nil {
		return Granted{}, err
	}
	var made Granted
	err = e.People.Change(ctx, "granting a sign-on", func(tx store.Tx) ([]store.Event, error) {
		made = prepared
		finished, user, err := e.finish(ctx, tx, f)
		if err != nil {
			return nil, err
		}
		made.SignOn.Proofs, made.Request = finished.Proofs, finished.Request
		if made.SignOn.Shared = finished.Shared; finished.Shared {
			made.SignOn.Idle = min(made.SignOn.Idle, SharedIdle)
		}
		name, events := audit.SignInSucceeded, []store.Event(nil)
		if finished.Kind == StepUp {
			name = audit.StepUpSucceeded
			made.SignOn, err = e.raise(ctx, tx, finished, made.SignOn)
		} else {
			events, err = e.replace(ctx, tx, made.SignOn, previous, c)
		}
		if err != nil {
			return nil, err
		}
		if err := e.noteSignOn(ctx, tx, finished, made.SignOn); err != nil {
			return nil, err
		}
		if err := e.thaw(ctx, tx, finished); err != nil {
			return nil, err
		}
		if err := credentials.DropReplaced(ctx, tx, user.ID, e.Clock()); err != nil {
			return nil, err
		}
		var known bool
		made.Browser, known, err = e.keepBrowser(ctx, tx, finished, made.SignOn, c.Browser, prepared.Browser)
		if err != nil {
			return nil, err
		}
		if err = keepReading(ctx, tx, user, c); err != nil {
			return nil, err
		}
		if made.OfferPasskey, err = e.offerPasskey(ctx, tx, finished); err != nil {
			return nil, err
		}
		events = append(events, e.granted(name, user, made.SignOn, known, c))
		if finished.Remember != "" {
			events = append(events, e.remembering(user, finished.Remember, c))
		}
		return events, e.forgetFailures(ctx, tx, finished)
	})
	if err != nil {
		return Granted{}, err
	}
	return made, nil
}

// keepReading notes in which language and time zone somebody reads, for the messages
// that they get.
func keepReading(ctx context.Context, tx store.Tx, user store.User, c person.Client) error {
	before := user
	user.Language, user.Zone = cmp.Or(c.Language, user.Language), cmp.Or(c.Zone, user.Zone)
	if user.Language == before.Language && user.Zone == before.Zone {
		return nil
	}
	return tx.UpdateUser(ctx, user)
}

// prepare makes what is random, ahead of the transaction that may be retried.
func (e *Engine) prepare(userID string, c person.Client) (Granted, error) {
	made, err := e.People.NewSignOn(userID, c)
	if err != nil {
		return Granted{}, err
	}
	browser, err := token.New(e.Random)
	return Granted{Granted: made, Browser: browser}, err
}

// finish takes the flow and checks once more, from what the store holds now,
// that it has reached what it must.
func (e *Engine) finish(ctx context.Context, tx store.Tx, f Flow) (Flow, store.User, error) {
	record, err := tx.TakeRecord(ctx, person.Flows, f.key(), e.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return Flow{}, store.User{}, ErrFlowGone
	}
	if err != nil {
		return Flow{}, store.User{}, err
	}
	finished := Flow{ID: f.ID}
	if err := json.Unmarshal(record.Value, &finished); err != nil {
		return Flow{}, store.User{}, fmt.Errorf("reading a flow: %w", err)
	}
	finished, user, step, err := e.judge(ctx, tx, finished, "")
	if err != nil {
		return Flow{}, store.User{}, err
	}
	if step.Kind != StepGrant {
		return Flow{}, store.User{}, ErrWrongStep
	}
	if e.RememberFor(finished, finished.Remember) <= 0 {
		finished.Remember = ""
	}
	return finished, user, nil
}

// judge decides in a transaction, from what the store holds now, what comes next
// in a flow of somebody who exists. ErrFlowGone where they may not sign in any
// more, or have another password than the flow saw.
func (e *Engine) judge(ctx context.Context, tx store.Tx, f Flow, prefer assurance.Factor) (Flow, store.User, Step, error) {
	user, err := tx.UserByID(ctx, f.UserID)
	if errors.Is(err, store.ErrNotFound) || err == nil && user.Status != store.UserActive {
		return f, user, Step{}, ErrFlowGone
	}
	if err != nil {
		return f, user, Step{}, err
	}
	credentials, err := tx.CredentialsOf(ctx, user.ID)
	if err != nil {
		return f, user, Step{}, err
	}
	credentials = e.Vault.Active(credentials)
	if f.PasswordMark != "" { // else it was shown in an earlier flow, whose sign-on is checked
		isCurrent, err := e.People.IsCurrent(f.PasswordMark, credentials)
		if err != nil {
			return f, user, Step{}, err
		}
		if !isCurrent {
			return f, user, Step{}, ErrFlowGone
		}
	}
	f, step, err := e.next(ctx, tx, f, credentials, prefer)
	return f, user, step, err
}

// stillAt returns ErrWrongStep unless a flow, judged once more, asks for that of
// a factor.
func (e *Engine) stillAt(ctx context.Context, tx store.Tx, f Flow, asked StepKind, of assurance.Factor) error {
	_, _, step, err := e.judge(ctx, tx, f, of)
	if err == nil && (step.Kind != asked || step.Factor != of) {
		err = ErrWrongStep
	}
	return err
}

// raise adds a step-up's proofs to the sign-on that it began with.
func (e *Engine) raise(ctx context.Context, tx store.Tx, f Flow, made store.SignOn) (store.SignOn, error) {
	current, err := e.signOnOf(ctx, tx, f)
	if err != nil {
		return store.SignOn{}, err
	}
	for _, p := range f.Proofs {
		current.Proofs = assurance.Add(current.Proofs, p)
	}
	current.PortalSession = made.PortalSession
	if err := tx.UpdateSignOn(ctx, current); err != nil {
		return store.SignOn{}, err
	}
	current.Version++
	return current, nil
}

// replace makes a new sign-on in place of the one that the browser had, and
// returns the event of that one's end.
func (e *Engine) replace(ctx context.Context, tx store.Tx, made store.SignOn, previous string, c person.Client) ([]store.Event, error) {
	events, err := e.endPrevious(ctx, tx, previous, c)
	if err != nil {
		return nil, err
	}
	return events, tx.CreateSignOn(ctx, made)
}

// endPrevious ends the sign-on that a browser had, even another user's, unless
// it had none or that has ended.
func (e *Engine) endPrevious(ctx context.Context, tx store.Tx, previous string, c person.Client) ([]store.Event, error) {
	if previous == "" {
		return nil, nil
	}
	s, err := tx.SignOnByID(ctx, previous)
	if errors.Is(err, store.ErrNotFound) || err == nil && !s.Ended.IsZero() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	user, err := tx.UserByID(ctx, s.UserID)
	if err != nil {
		return nil, err
	}
	return []store.Event{e.People.SignOnEnded(user, s.ID, session.EndedSwitched, c)},
		tx.EndSignOn(ctx, s.ID, e.Clock(), session.EndedSwitched)
}

// forgetFailures forgives the user's failures after a full sign-in: who shows two
// factors lifts the locks on the others. A right password alone has cleared its
// own count and clears no more, in a remembered browser neither, and a step-up
// clears nothing here.
func (e *Engine) forgetFailures(ctx context.Context, tx store.Tx, f Flow) error {
	if f.Kind == StepUp || assurance.Of(assurance.Shown(f.Proofs), e.Vault.Factors.Weights()) < assurance.Multi {
		return nil
	}
	return e.Guesses.Forgive(ctx, tx, store.User{ID: f.UserID, Name: f.Name})
}

func (e *Engine) granted(name audit.Name, user store.User, s store.SignOn, known bool, c person.Client) store.Event {
	shown := assurance.Shown(s.Proofs)
	kinds := make([]string, len(shown))
	for i, p := range shown {
		kinds[i] = string(p.Factor)
	}
	fields := audit.Fields{
		audit.User: user.Name, audit.Factors: strings.Join(kinds, ","), audit.SignOn: audit.ShortID(s.ID),
		audit.Address: c.Address, audit.UserAgent: c.UserAgent,
	}
	if name == audit.SignInSucceeded {
		fields[audit.Browser] = audit.UnknownBrowser
		if known {
			fields[audit.Browser] = audit.KnownBrowser
		}
		if len(shown) < len(s.Proofs) {
			fields[audit.Browser] = audit.RememberedBrowser
		}
	}
	return e.Audit.Event(name, user.ID, fields)
}

func (e *Engine) remembering(user store.User, kind assurance.Factor, c person.Client) store.Event {
	return e.Audit.Event(audit.BrowserRemembered, user.ID, audit.Fields{
		audit.User: user.Name, audit.Factor: string(kind), audit.Address: c.Address, audit.UserAgent: c.UserAgent,
	})
}
