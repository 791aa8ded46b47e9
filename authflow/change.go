package authflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// What people change about their own account. Everything here is done by
// somebody who is signed in; what could let another person in, or keep the
// owner out, asks for a fresh check, which is made once more in the transaction
// that changes it.

// BeginFreshCheck begins a flow that checks a person again before they change
// something, and then leads to a path of the portal's own.
func (e *Engine) BeginFreshCheck(ctx context.Context, s store.SignOn, u store.User, returnPath string, c Client) (Flow, error) {
	ask, err := e.Freshness(ctx, u.ID)
	if err != nil {
		return Flow{}, err
	}
	return e.BeginStepUp(ctx, Raise{SignOn: s, User: u, Ask: ask, Return: returnPath, Client: c})
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
// credential. ErrStale where they have to be checked first, ErrTooMany where
// they have as many of the kind as they may.
func (e *Engine) BeginEnrolment(ctx context.Context, s store.SignOn, u store.User, a Adding, c Client) (Flow, error) {
	factor, err := e.Factors.Get(a.Kind)
	if err != nil {
		return Flow{}, fmt.Errorf("%w: %w", ErrNoCredential, err)
	}
	err = e.Store.Atomically(ctx, func(tx store.Tx) error {
		_, _, credentials, err := e.checked(ctx, tx, s.ID)
		if err == nil && !hasRoom(factor, credentials) {
			return ErrTooMany
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

// maxCredentialName bounds what people may call a credential, in code points.
const maxCredentialName = 64

// credentialName brings what a person calls a credential to its kept form, or
// tells what to mend. Nothing is decided by such a name.
func credentialName(written string) (string, error) {
	name, err := identity.CheckDisplayName(written)
	switch {
	case err != nil:
		return "", err
	case name == "":
		return "", phrase{"credential_name.missing", "Give it a name, such as “Work phone”."}
	case utf8.RuneCountInString(name) > maxCredentialName:
		return "", phrase{"credential_name.too_long", "Use a shorter name, of at most 64 characters."}
	}
	return name, nil
}

// phrase is an error that tells people something by a text of the catalogues,
// and operators in English.
type phrase struct{ key, text string }

func (p phrase) Error() string { return p.text }

// Text tells operators.
func (p phrase) Text() string { return p.text }

// Phrase names the text that tells people.
func (p phrase) Phrase() (string, map[string]any) { return p.key, nil }

// Rename gives a credential another name. *Invalid with the field "name" says
// what to mend.
func (e *Engine) Rename(ctx context.Context, s store.SignOn, u store.User, id, name string, c Client) error {
	name, err := credentialName(name)
	if err != nil {
		return &Invalid{map[string]error{"name": err}}
	}
	return e.change(ctx, "renaming a credential", func(tx store.Tx) ([]store.Event, error) {
		_, user, _, err := e.checked(ctx, tx, s.ID)
		if err != nil {
			return nil, err
		}
		found, err := secondsOf(ctx, tx, user.ID, func(have store.Credential) bool { return have.ID == id })
		if err != nil || found[0].Name == name {
			return nil, err
		}
		credential := found[0]
		credential.Name = name
		return []store.Event{e.own(audit.FactorRenamed, user, c, audit.Fields{audit.Factor: string(credential.Kind)})},
			tx.UpdateCredential(ctx, credential)
	})
}

// secondsOf returns those of a user's credentials of second factors that are
// meant, suspended ones too, or ErrNoCredential where there is none.
func secondsOf(ctx context.Context, tx store.Tx, userID string, meant func(store.Credential) bool) ([]store.Credential, error) {
	all, err := tx.CredentialsOf(ctx, userID)
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(all, func(c store.Credential) bool { return !c.Kind.IsSecond() || !meant(c) })
	if len(found) == 0 {
		return nil, ErrNoCredential
	}
	return found, nil
}

// Remove deletes a credential of a second factor. All sign-ons of the user end,
// and the browser that asked goes on under a new one, with the proofs that
// still hold. The last way in stays: ErrLastWayIn.
func (e *Engine) Remove(ctx context.Context, s store.SignOn, u store.User, id string, c Client) (Granted, error) {
	return e.remove(ctx, s, u, c, func(have store.Credential) bool { return have.ID == id })
}

// RemoveAll deletes all that somebody has of a second factor, what they lost
// too, as Remove does one. All of it stays where no way in would be left.
func (e *Engine) RemoveAll(ctx context.Context, s store.SignOn, u store.User, kind assurance.Factor, c Client) (Granted, error) {
	return e.remove(ctx, s, u, c, func(have store.Credential) bool { return have.Kind == kind })
}

// remove deletes the credentials of second factors that are to go, all or none
// of them.
func (e *Engine) remove(ctx context.Context, s store.SignOn, u store.User, c Client, goes func(store.Credential) bool) (Granted, error) {
	return e.renew(ctx, u, c, session.EndedFactorRemoved, func(tx store.Tx) (store.SignOn, []store.Event, error) {
		current, user, credentials, err := e.checked(ctx, tx, s.ID)
		if err != nil {
			return current, nil, err
		}
		going, err := secondsOf(ctx, tx, user.ID, goes)
		if err != nil {
			return current, nil, err
		}
		remaining := slices.DeleteFunc(slices.Clone(credentials), goes)
		if len(remaining) < len(credentials) && !hasWayIn(remaining, e.Factors) {
			return current, nil, ErrLastWayIn
		}
		events := make([]store.Event, len(going))
		for i, gone := range going {
			current.Proofs = slices.DeleteFunc(slices.Clone(current.Proofs), func(p assurance.Proof) bool {
				return p.Credential == gone.ID || p.Remembered
			})
			events[i] = e.own(audit.FactorRemoved, user, c, audit.Fields{audit.Factor: string(gone.Kind)})
			if err := tx.DeleteCredential(ctx, gone.ID, gone.Version); err != nil {
				return current, nil, err
			}
		}
		return current, events, nil
	})
}

// hasWayIn reports whether a second factor is among the credentials that is
// meant to be used day by day: backup codes stand beside one.
func hasWayIn(active []store.Credential, set factors.Set) bool {
	return slices.ContainsFunc(active, func(c store.Credential) bool {
		return isDaily(c.Kind) && set.Enabled(c.Kind)
	})
}

// PasswordChange is what somebody types to have another password.
type PasswordChange struct {
	Current, New string
}

// ChangePassword replaces the password of somebody who knows the present one:
// *Refused or *Slowed where that isn't right, *Invalid with the field
// "password" where the new one can't be used. All sign-ons end, and the browser
// that asked goes on under a new one.
func (e *Engine) ChangePassword(ctx context.Context, s store.SignOn, u store.User, p PasswordChange, c Client) (Granted, error) {
	err := e.Store.Atomically(ctx, func(tx store.Tx) error {
		_, _, _, err := e.checked(ctx, tx, s.ID)
		return err
	})
	if err != nil {
		return Granted{}, fmt.Errorf("changing a password: %w", err)
	}
	if err := e.choosable(u, p.New); err != nil {
		return Granted{}, err
	}
	mark, err := e.provePassword(ctx, u, passwordTry{u.Name, p.Current, true}, c)
	if err != nil {
		return Granted{}, err
	}
	if p.New == p.Current {
		return Granted{}, sameAsBefore()
	}
	fresh, _, err := e.hashed(ctx, u.ID, p.New)
	if err != nil {
		return Granted{}, err
	}
	return e.renew(ctx, u, c, session.EndedPasswordChanged, func(tx store.Tx) (store.SignOn, []store.Event, error) {
		current, user, credentials, err := e.checked(ctx, tx, s.ID)
		if err != nil {
			return current, nil, err
		}
		stands, err := e.passwordStands(Flow{PasswordMark: mark}, credentials)
		if err == nil && !stands {
			err = store.ErrConflict
		}
		if err != nil {
			return current, nil, err
		}
		current.Proofs = assurance.Add(assurance.Shown(current.Proofs), assurance.Proof{
			Factor: assurance.Password, At: e.Clock(),
		})
		return current, []store.Event{e.own(audit.PasswordChanged, user, c, nil)}, replacePassword(ctx, tx, user, fresh)
	})
}

// choosable says as *Invalid why a password can't be a user's.
func (e *Engine) choosable(u store.User, password string) error {
	if err := e.Rules.Check(password, u.Name, u.DisplayName, u.Email); err != nil {
		return &Invalid{map[string]error{"password": err}}
	}
	return nil
}

func sameAsBefore() error {
	return &Invalid{map[string]error{"password": phrase{
		"new_password.same", "That is the password that you have. Choose another one.",
	}}}
}

// hashed returns a new credential of a password, and its mark.
func (e *Engine) hashed(ctx context.Context, userID, password string) (fresh store.Credential, mark string, err error) {
	hash, err := e.Passwords.Hash(waitingFor(ctx, userID), password)
	if err != nil {
		return store.Credential{}, "", fmt.Errorf("hashing a new password: %w", err)
	}
	fresh, err = e.newCredential(userID, assurance.Password, factors.Enrolment{Secret: []byte(hash)})
	return fresh, passwordMark([]byte(hash)), err
}

// replacePassword puts a new password in the place of the old one. What was
// failed so far is forgotten: whoever guessed at a second factor knew the old
// password, and gets no further.
func replacePassword(ctx context.Context, tx store.Tx, user store.User, fresh store.Credential) error {
	if err := deleteKind(ctx, tx, user.ID, assurance.Password); err != nil {
		return err
	}
	if err := tx.CreateCredential(ctx, fresh); err != nil {
		return err
	}
	if err := tx.DeleteAttempts(ctx, ScopeUser, user.ID+"/"); err != nil {
		return err
	}
	if !user.NewPassword {
		return nil
	}
	user.NewPassword = false
	return tx.UpdateUser(ctx, user)
}

// renew makes a change that ends all sign-ons of a user, and gives the browser
// that asked for it a new one: of the proofs that apply leaves, until the same
// absolute limit as before.
func (e *Engine) renew(ctx context.Context, u store.User, c Client, reason string, apply func(store.Tx) (store.SignOn, []store.Event, error)) (Granted, error) {
	prepared, err := e.prepare(Flow{UserID: u.ID}, c)
	if err != nil {
		return Granted{}, err
	}
	var made Granted
	err = e.change(ctx, "changing how a user signs in", func(tx store.Tx) ([]store.Event, error) {
		made = Granted{SignOn: prepared.SignOn, PortalSecret: prepared.PortalSecret}
		current, events, err := apply(tx)
		if err != nil {
			return nil, err
		}
		ended, err := e.endAll(ctx, tx, u, Flow{}, reason, c)
		if err != nil {
			return nil, err
		}
		made.SignOn.Expires, made.SignOn.Idle = current.Expires, current.Idle
		made.SignOn.Shared, made.SignOn.Proofs = current.Shared, current.Proofs
		return append(events, ended...), tx.CreateSignOn(ctx, made.SignOn)
	})
	if err != nil {
		return Granted{}, err
	}
	return made, nil
}

// endAll ends all of a user's sign-ons, and their flows but the one that is
// spared, if any: what somebody else has begun under what held before goes no
// further. It has none of their browsers remembered any more.
func (e *Engine) endAll(ctx context.Context, tx store.Tx, u store.User, spared Flow, reason string, c Client) ([]store.Event, error) {
	ids, err := tx.EndSignOnsOf(ctx, u.ID, e.Clock(), reason)
	if err != nil {
		return nil, err
	}
	events := make([]store.Event, len(ids))
	for i, id := range ids {
		events[i] = e.ended(u, id, reason, c)
	}
	if err := tx.DeleteRecordsOf(ctx, flowNamespace, u.ID, spared.key()); err != nil {
		return nil, err
	}
	return events, tx.ForgetBrowsersOf(ctx, u.ID)
}

func (e *Engine) ended(u store.User, id, reason string, c Client) store.Event {
	return e.Audit.Event(audit.SignOnEnded, u.ID, audit.Fields{
		audit.User: u.Name, audit.SignOn: audit.ShortID(id), audit.Reason: reason, audit.Address: c.Address,
	})
}

// own makes an event of something that somebody did to their own account.
func (e *Engine) own(what audit.Name, u store.User, c Client, more audit.Fields) store.Event {
	fields := audit.Fields{audit.User: u.Name, audit.Address: c.Address, audit.UserAgent: c.UserAgent}
	for field, value := range more {
		fields[field] = value
	}
	return e.Audit.Event(what, u.ID, fields)
}

// change runs apply in one transaction with the events that it makes.
func (e *Engine) change(ctx context.Context, doing string, apply func(store.Tx) ([]store.Event, error)) error {
	var events []store.Event
	err := e.Store.Atomically(ctx, func(tx store.Tx) (err error) {
		if events, err = apply(tx); err != nil {
			return err
		}
		return appendAll(ctx, tx, events)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	e.Audit.Written(events...)
	return nil
}

// EndSignOn ends one of the person's own sign-ons, by its short id. It takes
// away alone, so it asks for no fresh check.
func (e *Engine) EndSignOn(ctx context.Context, u store.User, short string, c Client) error {
	return e.change(ctx, "ending a sign-on", func(tx store.Tx) ([]store.Event, error) {
		rows, err := session.ListLive(ctx, tx, u.ID, e.Clock())
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(rows, func(s store.SignOn) bool { return audit.ShortID(s.ID) == short })
		if i < 0 {
			return nil, ErrNoSignOn
		}
		return []store.Event{e.ended(u, rows[i].ID, session.EndedByOwner, c)},
			tx.EndSignOn(ctx, rows[i].ID, e.Clock(), session.EndedByOwner)
	})
}

// EndOthers ends all of the person's sign-ons but the one that asks, and
// returns how many. What is under way ends, too, and browsers that skip the
// second step do so no more.
func (e *Engine) EndOthers(ctx context.Context, s store.SignOn, u store.User, c Client) (int, error) {
	ended := 0
	err := e.change(ctx, "ending other sign-ons", func(tx store.Tx) ([]store.Event, error) {
		rows, err := session.ListLive(ctx, tx, u.ID, e.Clock())
		if err != nil {
			return nil, err
		}
		var events []store.Event
		for _, row := range rows {
			if row.ID == s.ID {
				continue
			}
			if err := tx.EndSignOn(ctx, row.ID, e.Clock(), session.EndedByOwner); err != nil {
				return nil, err
			}
			events = append(events, e.ended(u, row.ID, session.EndedByOwner, c))
		}
		ended = len(events)
		if err := AbandonFlows(ctx, tx, u.ID); err != nil {
			return nil, err
		}
		return events, tx.ForgetBrowsersOf(ctx, u.ID)
	})
	return ended, err
}

// Disown is for somebody who finds in their account what they didn't do. It
// ends all sign-ons and what is under way, forgets all browsers, and has a new
// password asked for at the next sign-in, after two factors.
func (e *Engine) Disown(ctx context.Context, s store.SignOn, u store.User, c Client) error {
	return e.change(ctx, "ending everything of a user", func(tx store.Tx) ([]store.Event, error) {
		_, user, err := session.Check(ctx, tx, s.ID, e.Clock())
		if err != nil {
			return nil, err
		}
		ended, err := e.endAll(ctx, tx, user, Flow{}, session.EndedDisowned, c)
		if err != nil {
			return nil, err
		}
		if err := tx.DeleteBrowsersOf(ctx, user.ID); err != nil {
			return nil, err
		}
		if err := Abandon(ctx, tx, user.ID); err != nil {
			return nil, err
		}
		user.NewPassword = true
		return append([]store.Event{e.own(audit.ActivityDisowned, user, c, nil)}, ended...), tx.UpdateUser(ctx, user)
	})
}

// ChooseNewPassword replaces the password in a sign-in that asks for another
// one, once two factors are shown. *Invalid says what to mend.
func (e *Engine) ChooseNewPassword(ctx context.Context, f Flow, password string, c Client) error {
	step, err := e.Step(ctx, f, "")
	if err != nil {
		return err
	}
	if step.Kind != StepNewPassword {
		return ErrWrongStep
	}
	user, err := e.Store.UserByID(ctx, f.UserID)
	if err != nil {
		return fmt.Errorf("reading the user of a flow: %w", err)
	}
	if err := e.choosable(user, password); err != nil {
		return err
	}
	hash, _, err := e.passwordOf(ctx, user)
	if err != nil {
		return err
	}
	if same, err := e.verify(ctx, hash, password); err != nil {
		return err
	} else if same {
		return sameAsBefore()
	}
	fresh, mark, err := e.hashed(ctx, user.ID, password)
	if err != nil {
		return err
	}
	f.PasswordMark = mark
	err = e.change(ctx, "choosing a new password", func(tx store.Tx) ([]store.Event, error) {
		current, err := tx.UserByID(ctx, user.ID)
		if err != nil {
			return nil, err
		}
		changed := f
		if err := e.save(ctx, tx, &changed); err != nil {
			return nil, err
		}
		ended, err := e.endAll(ctx, tx, current, changed, session.EndedPasswordChanged, c)
		if err != nil {
			return nil, err
		}
		return append([]store.Event{e.own(audit.PasswordChanged, current, c, nil)}, ended...),
			replacePassword(ctx, tx, current, fresh)
	})
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("%w: %w", ErrWrongStep, err)
	}
	return err
}

// Extend gives a flow more time, as far as its whole time allows, and returns
// how long is left: people may need longer (WCAG 2.2, success criterion 2.2.1).
func (e *Engine) Extend(ctx context.Context, f Flow) (time.Duration, error) {
	err := e.save(ctx, e.Store, &f)
	if errors.Is(err, store.ErrConflict) {
		f, err = e.Load(ctx, f.ID) // what changed it gave it its time
	}
	return e.Left(f), err
}

// Left returns how long a flow waits if nothing more comes of it now.
func (e *Engine) Left(f Flow) time.Duration { return f.expires.Sub(e.Clock()) }
