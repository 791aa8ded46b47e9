// Package undo lets the recipient of a notice end what the notice reports, through a
// link in it.
//
// Mail is forwarded, and scanners open links and submit forms. So a link ends no more
// than it names, works only once, and only together with the sign-in name.
//
// The package must not know how notices are written, or HTTP.
package undo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

const (
	// Lifetime is how long a link works.
	Lifetime = 72 * time.Hour
	// mostWrong is how many wrong names a link takes.
	mostWrong = 5
	// namespace holds what links end.
	namespace = "undo"
)

var (
	// ErrGone says that a link was used, has expired or never existed.
	ErrGone = errors.New("the link was used or has expired")
	// ErrWrongName says that the name given isn't that of the notice's recipient.
	ErrWrongName = errors.New("the notice was for somebody else")
)

// Target is what a link ends: a sign-on, credentials or app passwords.
type Target struct {
	SignOn      string   `json:"sign_on,omitempty"`
	Credentials []string `json:"credentials,omitempty"`
	// Kinds are those of the credentials. If people have only one credential of a kind at
	// a time, the link also ends those that replaced it later.
	Kinds []assurance.Factor `json:"kinds,omitempty"`
	// Restored are the credentials that the others replaced. They are brought back, and
	// all that came after them ends, too.
	Restored []string `json:"restored,omitempty"`
	// AppPasswords are the ids of app passwords, which are revoked.
	AppPasswords []string `json:"app_passwords,omitempty"`
}

// IsEmpty reports whether there is nothing to end.
func (t Target) IsEmpty() bool {
	return t.SignOn == "" && len(t.Credentials) == 0 && len(t.AppPasswords) == 0
}

// kept is a target with the wrong names that were given.
type kept struct {
	Target
	Wrong int `json:"wrong,omitempty"`
}

// Keep keeps what a link ends, under its token, in the transaction that the notice is
// about.
func Keep(ctx context.Context, tx store.Tx, userID, value string, t Target, now time.Time) error {
	content, err := json.Marshal(kept{Target: t})
	if err != nil {
		return err
	}
	return tx.PutRecord(ctx, store.Record{
		Namespace: namespace, Key: token.Hash(value), Owner: userID, Value: content, Expires: now.Add(Lifetime),
	})
}

// Settings are what a Service is made of. All fields are needed.
type Settings struct {
	Store interface {
		GetRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error)
	}
	People *person.Keeper
	Clock  func() time.Time
}

// Service follows links. It is safe for concurrent use.
type Service struct{ Settings }

// New returns a Service.
func New(s Settings) *Service { return &Service{s} }

// Look returns what a link would end, and changes nothing. ErrGone is definite.
func (s *Service) Look(ctx context.Context, value string) (Target, error) {
	record, err := s.Store.GetRecord(ctx, namespace, token.Hash(value), s.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return Target{}, ErrGone
	}
	if err != nil {
		return Target{}, fmt.Errorf("reading a link of a notice: %w", err)
	}
	k, err := parse(record)
	return k.Target, err
}

func parse(r store.Record) (k kept, err error) {
	if err := json.Unmarshal(r.Value, &k); err != nil {
		return k, fmt.Errorf("reading what a link of a notice ends: %w", err)
	}
	return k, nil
}

// Undo ends what a link names, for whoever gives the sign-in name or the e-mail address
// of the user. ErrGone and ErrWrongName are definite.
func (s *Service) Undo(ctx context.Context, value, name string, c person.Client) error {
	var refused error
	err := s.People.Change(ctx, "undoing what a notice told of", func(tx store.Tx) (events []store.Event, err error) {
		refused = nil
		record, err := tx.GetRecord(ctx, namespace, token.Hash(value), s.Clock())
		if errors.Is(err, store.ErrNotFound) {
			return nil, ErrGone
		}
		if err != nil {
			return nil, err
		}
		k, err := parse(record)
		if err != nil {
			return nil, err
		}
		user, err := tx.UserByID(ctx, record.Owner)
		if err != nil {
			return nil, err
		}
		if !isNamed(user, name) {
			refused = ErrWrongName
			return nil, s.countWrong(ctx, tx, record, k)
		}
		if _, err := tx.TakeRecord(ctx, namespace, record.Key, s.Clock()); err != nil {
			return nil, err
		}
		return s.end(ctx, tx, user, k.Target, record.Expires.Add(-Lifetime), c)
	})
	return errors.Join(err, refused)
}

// isNamed reports whether what was typed is the sign-in name or the e-mail address of a
// user.
func isNamed(u store.User, typed string) bool {
	typed = token.Trimmed(typed)
	if name, err := identity.CanonicalName(typed); err == nil && name == u.Name {
		return true
	}
	email, err := identity.CanonicalEmail(typed)
	return err == nil && email == u.Email
}

// countWrong counts a wrong name. The last one that is allowed ends the link.
func (s *Service) countWrong(ctx context.Context, tx store.Tx, r store.Record, k kept) (err error) {
	k.Wrong++
	if k.Wrong >= mostWrong {
		_, err = tx.TakeRecord(ctx, namespace, r.Key, s.Clock())
		return err
	}
	if r.Value, err = json.Marshal(k); err != nil {
		return err
	}
	return tx.UpdateRecord(ctx, r, s.Clock())
}

// end ends the sign-on and those that began later, or suspends the credentials and ends the
// sign-ons that rest on them. The link was made at a time.
func (s *Service) end(ctx context.Context, tx store.Tx, u store.User, t Target, made time.Time, c person.Client) (events []store.Event, err error) {
	if t.Credentials, err = s.withLater(ctx, tx, u, t, made); err != nil {
		return nil, err
	}
	if events, err = s.suspend(ctx, tx, u, t.Credentials, c); err != nil {
		return nil, err
	}
	restored, err := s.restore(ctx, tx, u, t.Restored, c)
	if err != nil {
		return nil, err
	}
	events = append(events, restored...)
	since, err := startOf(ctx, tx, t.SignOn)
	if err != nil {
		return nil, err
	}
	live, err := session.ListLive(ctx, tx, u.ID, s.Clock())
	if err != nil {
		return nil, err
	}
	for _, signOn := range live {
		rests := slices.ContainsFunc(signOn.Proofs, func(p assurance.Proof) bool {
			return p.Credential != "" && slices.Contains(t.Credentials, p.Credential)
		})
		if !isSince(signOn.Started, since) && !rests {
			continue
		}
		if err := tx.EndSignOn(ctx, signOn.ID, s.Clock(), session.EndedDisowned); err != nil {
			return nil, err
		}
		events = append(events, s.People.SignOnEnded(u, signOn.ID, session.EndedDisowned, c))
	}
	revoked, err := s.People.RevokeAppPasswords(ctx, tx, u, session.EndedDisowned, c, func(a store.AccessToken) bool {
		return isSince(a.Created, since) || slices.Contains(t.AppPasswords, a.ID)
	})
	if err != nil {
		return nil, err
	}
	machines, err := s.endMachines(ctx, tx, u, since, c)
	if err != nil {
		return nil, err
	}
	forgotten, err := s.forget(ctx, tx, u, since, c)
	return slices.Concat(events, revoked, machines, forgotten), err
}

// endMachines suspends the devices that a user has had since a sign-on began. Machines that
// were only confirmed can no longer enrol.
func (s *Service) endMachines(ctx context.Context, tx store.Tx, u store.User, since time.Time, c person.Client) ([]store.Event, error) {
	if since.IsZero() {
		return nil, nil
	}
	if err := tx.DeleteRecordsOf(ctx, person.Enrolments, u.ID, ""); err != nil {
		return nil, err
	}
	return s.People.SuspendDevicesSince(ctx, tx, u, since, c)
}

// suspend suspends credentials: those that work, and those that could be made to work
// again because they are frozen or were replaced recently.
func (s *Service) suspend(ctx context.Context, tx store.Tx, u store.User, ids []string, c person.Client) (events []store.Event, err error) {
	for _, id := range ids {
		credential, err := tx.CredentialByID(ctx, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && (credential.UserID != u.ID || credential.State == store.CredentialSuspended) {
			continue // it was removed or suspended in the meantime
		}
		if err != nil {
			return nil, err
		}
		event, err := s.People.SuspendKeepingRank(ctx, tx, u, credential, s.Clock().Add(Lifetime), c)
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	return events, nil
}

// withLater returns the credentials of a target, and those that took their place, or the
// place of what it restores, after its link was made: whoever changed an address may have
// changed it again.
func (s *Service) withLater(ctx context.Context, tx store.Tx, u store.User, t Target, made time.Time) ([]string, error) {
	all, err := tx.CredentialsOf(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	ids := slices.Clone(t.Credentials)
	for _, c := range all {
		if slices.Contains(t.Kinds, c.Kind) && s.hasOne(c.Kind) && !c.Created.Before(made) && !slices.Contains(ids, c.ID) {
			ids = append(ids, c.ID)
		}
	}
	for _, former := range all {
		if !slices.Contains(t.Restored, former.ID) || !credentials.IsRestorable(former, s.Clock()) {
			continue
		}
		for _, later := range all {
			if later.Kind == former.Kind && later.ID != former.ID && !later.Created.Before(former.Created) {
				ids = append(ids, later.ID)
			}
		}
	}
	return ids, nil
}

// hasOne reports whether people have one credential of a kind at a time.
func (s *Service) hasOne(kind assurance.Factor) bool {
	factor, err := s.People.Vault.Factors.Get(kind)
	return err == nil && factor.Most() == 1
}

// restore brings credentials back that were replaced.
func (s *Service) restore(ctx context.Context, tx store.Tx, u store.User, ids []string, c person.Client) (events []store.Event, err error) {
	for _, id := range ids {
		credential, err := tx.CredentialByID(ctx, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && credential.UserID != u.ID {
			continue
		}
		if err != nil {
			return nil, err
		}
		restored, err := credentials.Restore(ctx, tx, credential, s.Clock())
		if err != nil {
			return nil, err
		}
		if restored {
			events = append(events, s.People.Own(audit.FactorRestored, u, c, audit.Fields{audit.Factor: string(credential.Kind)}))
		}
	}
	return events, nil
}

// startOf returns when a sign-on began, be it over by now; zero: there is none. Whoever had
// it could have another one since: by changing the password, or by signing in again where
// the browser is remembered. So those that began later end with it.
func startOf(ctx context.Context, tx store.Tx, signOn string) (time.Time, error) {
	if signOn == "" {
		return time.Time{}, nil
	}
	s, err := tx.SignOnByID(ctx, signOn)
	if errors.Is(err, store.ErrNotFound) {
		return time.Time{}, nil
	}
	return s.Started, err
}

// isSince reports whether a time is a start or later; nothing is after the zero one.
func isSince(at, start time.Time) bool { return !start.IsZero() && !at.Before(start) }

// forget has the browsers remembered no more that a user has had since a sign-on began.
func (s *Service) forget(ctx context.Context, tx store.Tx, u store.User, since time.Time, c person.Client) (events []store.Event, err error) {
	all, err := tx.BrowsersOf(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if !isSince(b.Created, since) || !person.IsRemembered(b, s.Clock()) {
			continue
		}
		if err := tx.RememberBrowser(ctx, u.ID, b.ID, time.Time{}, ""); err != nil {
			return nil, err
		}
		events = append(events, s.People.BrowserForgotten(u, b, c))
	}
	return events, nil
}
