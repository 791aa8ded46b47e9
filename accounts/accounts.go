// Package accounts is what administrators do to people: add, invite, change,
// disable, enable, unlock and delete them, help those who lost their factors,
// end their sign-ons, forget the browsers that skip the second factor for them,
// issue and revoke the certificates of their devices, and read what happened. It
// must not know how an administrator was authenticated, nor HTTP.
package accounts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// by is who did it, in audit events: whoever reaches the admin API.
const by = "administrator"

var (
	// ErrNobody says that no user has the name.
	ErrNobody = errors.New("no user has this name")
	// ErrTaken says that a name or an address belongs to somebody already.
	ErrTaken = errors.New("the name or the e-mail address is taken")
	// ErrNoAddress says that a user can't be sent anything.
	ErrNoAddress = errors.New("the user has no e-mail address: give one with --email, in `caddy mfa user add` or `caddy mfa user set`")
	// ErrNoSignOn says that no live sign-on has the id.
	ErrNoSignOn = errors.New("no live session has this ID")
	// ErrNoBrowser says that no remembered browser of the user has the id.
	ErrNoBrowser = errors.New("no remembered browser of this user has this ID")
)

// Store is what this package needs of the store.
type Store interface {
	UserByName(ctx context.Context, name string) (store.User, error)
	UserByEmail(ctx context.Context, email string) (store.User, error)
	CredentialsOf(ctx context.Context, userID string) ([]store.Credential, error)
	session.Lister
	BrowsersOf(ctx context.Context, userID string) ([]store.Browser, error)
	DevicesOf(ctx context.Context, userID string) ([]store.Device, error)
	IsBarred(ctx context.Context, certificate string) (bool, error)
	ListFormerNames(ctx context.Context, name string) ([]store.FormerName, error)
	GetAttempts(ctx context.Context, scope, key string) (store.Attempts, error)
	Atomically(ctx context.Context, fn func(tx store.Tx) error) error
	View(ctx context.Context, fn func(r store.Reader) error) error
}

// Links makes the links and codes by which people set up.
type Links interface {
	NewInvitation(ctx context.Context, u store.User) (string, error)
	// SendInvitation mails an invitation, if CheckMailed returns no error.
	SendInvitation(ctx context.Context, u store.User) error
	CheckMailed() error
	NewAccessCode(ctx context.Context, u store.User) (string, error)
}

// Desk does what administrators ask for. It is safe for concurrent use.
type Desk struct {
	// Enrolment makes the tokens by which machines enrol; nil: none can.
	Enrolment Enrolment

	store  Store
	links  Links
	issuer Issuer
	audit  *audit.Log
	clock  func() time.Time
	random io.Reader
}

// NewDesk returns a Desk. A nil issuer issues nothing.
func NewDesk(s Store, links Links, issuer Issuer, log *audit.Log, clock func() time.Time, random io.Reader) *Desk {
	return &Desk{store: s, links: links, issuer: issuer, audit: log, clock: clock, random: random}
}

// NewUser is who is to be added.
type NewUser struct {
	Name, DisplayName, Email string
	Groups                   []string
	// Send has the invitation mailed.
	Send bool
}

// Add creates an invited user and returns the token of the invitation, unless that is
// to be mailed. A value that can't be used is an error whose method Text explains that
// to people.
func (d *Desk) Add(ctx context.Context, n NewUser) (store.User, string, error) {
	user, err := d.checked(n)
	if err == nil && n.Send {
		err = d.checkMailed(user)
	}
	if err != nil {
		return store.User{}, "", err
	}
	err = d.audit.Change(ctx, d.store, "adding a user", func(tx store.Tx) ([]store.Event, error) {
		event := d.audit.Event(audit.UserCreated, user.ID, audit.Fields{audit.User: user.Name, audit.By: by})
		return []store.Event{event}, tx.CreateUser(ctx, user)
	})
	if errors.Is(err, store.ErrConflict) {
		return store.User{}, "", ErrTaken
	}
	if err != nil {
		return store.User{}, "", err
	}
	link, err := d.invite(ctx, user, n.Send)
	return user, link, err
}

// invite returns the token of a new invitation, or mails it.
func (d *Desk) invite(ctx context.Context, user store.User, send bool) (string, error) {
	if !send {
		return d.links.NewInvitation(ctx, user)
	}
	return "", d.links.SendInvitation(ctx, user)
}

// checkMailed returns an error if a user can't get an invitation by e-mail.
func (d *Desk) checkMailed(user store.User) error {
	if err := d.links.CheckMailed(); err != nil {
		return err
	}
	if user.Email == "" {
		return ErrNoAddress
	}
	return nil
}

func (d *Desk) checked(n NewUser) (store.User, error) {
	user := store.User{Status: store.UserInvited, Created: d.clock()}
	all := Changes{Name: &n.Name, DisplayName: &n.DisplayName, Email: &n.Email, Groups: &n.Groups}
	if err := all.apply(&user); err != nil {
		return store.User{}, err
	}
	var err error
	user.ID, err = token.New(d.random)
	return user, err
}

// List returns all users by name.
func (d *Desk) List(ctx context.Context) (users []store.User, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		users, err = listUsers(ctx, r)
		return err
	})
	return users, err
}

func listUsers(ctx context.Context, r store.Reader) ([]store.User, error) {
	users, err := store.All(ctx, r.ListUsers)
	if err != nil {
		return nil, fmt.Errorf("listing users: %w", err)
	}
	return users, nil
}

// usersByID returns all users by their ids.
func usersByID(ctx context.Context, r store.Reader) (map[string]store.User, error) {
	users, err := listUsers(ctx, r)
	byID := make(map[string]store.User, len(users))
	for _, u := range users {
		byID[u.ID] = u
	}
	return byID, err
}

// Person is a user with what belongs to them.
type Person struct {
	User     store.User
	Factors  []assurance.Factor // kinds that are set up, sorted
	SignOns  []store.SignOn     // live ones
	Browsers []store.Browser    // remembered ones
	// PausedUntil is until when unknown browsers accept no codes from them,
	// because so many were wrong; zero: they accept them.
	PausedUntil time.Time
}

// Show returns a user with what belongs to them.
func (d *Desk) Show(ctx context.Context, name string) (Person, error) {
	user, err := d.find(ctx, name)
	if err != nil {
		return Person{}, err
	}
	return d.person(ctx, d.store, user)
}

// belongings are what a person's are read from, alone or in a transaction.
type belongings interface {
	CredentialsOf(ctx context.Context, userID string) ([]store.Credential, error)
	session.Lister
	BrowsersOf(ctx context.Context, userID string) ([]store.Browser, error)
	GetAttempts(ctx context.Context, scope, key string) (store.Attempts, error)
}

func (d *Desk) person(ctx context.Context, rows belongings, user store.User) (Person, error) {
	credentials, err := rows.CredentialsOf(ctx, user.ID)
	if err != nil {
		return Person{}, fmt.Errorf("reading credentials: %w", err)
	}
	p := Person{User: user}
	for _, c := range credentials {
		if c.State == store.CredentialActive && !slices.Contains(p.Factors, c.Kind) {
			p.Factors = append(p.Factors, c.Kind)
		}
	}
	slices.Sort(p.Factors)
	if p.SignOns, err = session.ListLive(ctx, rows, user.ID, d.clock()); err != nil {
		return Person{}, err
	}
	if p.Browsers, err = d.remembered(ctx, rows, user.ID); err != nil {
		return Person{}, err
	}
	p.PausedUntil, err = guess.PausedUntil(ctx, rows, user.ID, d.clock())
	return p, err
}

func (d *Desk) find(ctx context.Context, name string) (store.User, error) {
	return findIn(ctx, d.store, name)
}

// userFinder has users by their canonical names.
type userFinder interface {
	UserByName(ctx context.Context, name string) (store.User, error)
}

// findIn returns the user with a name, or ErrNobody.
func findIn(ctx context.Context, users userFinder, name string) (store.User, error) {
	canonical, err := identity.CanonicalName(name)
	if err != nil {
		return store.User{}, ErrNobody
	}
	user, err := users.UserByName(ctx, canonical)
	if errors.Is(err, store.ErrNotFound) {
		return store.User{}, ErrNobody
	}
	if err != nil {
		return store.User{}, fmt.Errorf("looking for a user: %w", err)
	}
	return user, nil
}

// Invite returns the token of a new invitation, unless that is to be mailed, and the
// user. It returns authflow.ErrSetUp if they don't need one.
func (d *Desk) Invite(ctx context.Context, name string, send bool) (store.User, string, error) {
	user, err := d.find(ctx, name)
	if err == nil && send {
		err = d.checkMailed(user)
	}
	if err != nil {
		return store.User{}, "", err
	}
	link, err := d.invite(ctx, user, send)
	return user, link, err
}

// Disable bars a user, ends all their sign-ons, forgets their remembered
// browsers, and voids links and flows, so that enabling the user again doesn't
// revive them.
func (d *Desk) Disable(ctx context.Context, name string) error {
	return d.change(ctx, name, func(tx store.Tx, user store.User) ([]store.Event, error) {
		events, err := d.endAll(ctx, tx, user, session.EndedDisabled)
		if err != nil {
			return nil, err
		}
		if err := person.Abandon(ctx, tx, user.ID); err != nil {
			return nil, err
		}
		if err := tx.VoidMessagesOf(ctx, user.ID); err != nil {
			return nil, err
		}
		events = append(events, d.event(audit.UserDisabled, user, nil))
		user.Status = store.UserDisabled
		return events, tx.UpdateUser(ctx, user)
	})
}

// Enable lets a disabled user in again: to sign in, or to set up where that
// had not happened yet.
func (d *Desk) Enable(ctx context.Context, name string) error {
	return d.change(ctx, name, func(tx store.Tx, user store.User) ([]store.Event, error) {
		events := []store.Event{d.event(audit.UserEnabled, user, nil)}
		if user.Status != store.UserDisabled {
			return events, nil
		}
		credentials, err := tx.CredentialsOf(ctx, user.ID)
		if err != nil {
			return nil, err
		}
		user.Status = store.UserInvited
		if slices.ContainsFunc(credentials, func(c store.Credential) bool { return c.Kind == assurance.Password }) {
			user.Status = store.UserActive
		}
		return events, tx.UpdateUser(ctx, user)
	})
}

// Unlock forgets a user's failed attempts, in all browsers. It reports whether there
// were so many that unknown browsers had stopped accepting the user's codes.
func (d *Desk) Unlock(ctx context.Context, name string) (wasPaused bool, err error) {
	err = d.change(ctx, name, func(tx store.Tx, user store.User) ([]store.Event, error) {
		until, err := guess.PausedUntil(ctx, tx, user.ID, d.clock())
		if err != nil {
			return nil, err
		}
		wasPaused = !until.IsZero()
		return []store.Event{d.event(audit.UserUnlocked, user, nil)}, guess.Forget(ctx, tx, user.ID)
	})
	return wasPaused, err
}

// Delete deletes a user and all that belongs to them but the audit events, and
// returns what that was. It ends their sign-ons at once, and whatever they have
// under way.
func (d *Desk) Delete(ctx context.Context, name string) (Person, error) {
	var deleted Person
	err := d.change(ctx, name, func(tx store.Tx, user store.User) ([]store.Event, error) {
		var err error
		if deleted, err = d.person(ctx, tx, user); err != nil {
			return nil, err
		}
		events, err := d.endAll(ctx, tx, user, session.EndedDeleted)
		if err != nil {
			return nil, err
		}
		devices, err := d.dropDevices(ctx, tx, user)
		if err != nil {
			return nil, err
		}
		if err := d.giveUp(ctx, tx, user, store.User{}); err != nil {
			return nil, err
		}
		events = append(append(events, devices...), d.event(audit.UserDeleted, user, nil))
		return events, tx.DeleteUser(ctx, user.ID)
	})
	return deleted, err
}

// event makes an event about a user, done by an administrator.
func (d *Desk) event(what audit.Name, user store.User, more audit.Fields) store.Event {
	fields := audit.Fields{audit.User: user.Name, audit.By: by}
	maps.Copy(fields, more)
	return d.audit.Event(what, user.ID, fields)
}

// change reads a user and changes them in one transaction, with the events that
// apply makes of it.
func (d *Desk) change(ctx context.Context, name string, apply func(store.Tx, store.User) ([]store.Event, error)) error {
	found, err := d.find(ctx, name)
	if err != nil {
		return err
	}
	return d.audit.Change(ctx, d.store, "changing user "+found.Name, func(tx store.Tx) ([]store.Event, error) {
		user, err := tx.UserByID(ctx, found.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil, ErrNobody
		}
		if err != nil {
			return nil, err
		}
		return apply(tx, user)
	})
}

// endAll ends all of a user's sign-ons and has none of their browsers remembered
// any more.
func (d *Desk) endAll(ctx context.Context, tx store.Tx, user store.User, reason string) ([]store.Event, error) {
	ids, err := tx.EndSignOnsOf(ctx, user.ID, d.clock(), reason)
	if err != nil {
		return nil, err
	}
	forgotten, err := d.forgetAll(ctx, tx, user)
	return append(d.endedBecause(reason, user.Name, user.ID, ids...), forgotten...), err
}

// SignOn is a live sign-on with the name of its user.
type SignOn struct {
	store.SignOn
	User string
}

// SignOns lists the live sign-ons of a user, or of everybody for the empty
// name.
func (d *Desk) SignOns(ctx context.Context, name string) ([]SignOn, error) {
	var userID string
	if name != "" {
		user, err := d.find(ctx, name)
		if err != nil {
			return nil, err
		}
		userID = user.ID
	}
	var live []SignOn
	err := d.store.View(ctx, func(r store.Reader) error {
		users, err := usersByID(ctx, r)
		if err != nil {
			return err
		}
		rows, err := session.ListLive(ctx, r, userID, d.clock())
		live = make([]SignOn, len(rows))
		for i, row := range rows {
			live[i] = SignOn{SignOn: row, User: users[row.UserID].Name}
		}
		return err
	})
	return live, err
}

// EndSignOn ends the live sign-on of the short id, as lists show it.
func (d *Desk) EndSignOn(ctx context.Context, short string) error {
	all, err := d.SignOns(ctx, "")
	if err != nil {
		return err
	}
	matching := slices.DeleteFunc(all, func(s SignOn) bool { return audit.ShortID(s.ID) != short })
	if len(matching) != 1 {
		return ErrNoSignOn
	}
	ending := matching[0]
	return d.end(ctx, func(tx store.Tx) ([]store.Event, error) {
		return d.endedBecause(session.EndedByAdmin, ending.User, ending.UserID, ending.ID), tx.EndSignOn(ctx, ending.ID, d.clock(), session.EndedByAdmin)
	})
}

// EndSignOnsOf ends all of a user's sign-ons, and returns how many there were.
// What is under way ends, and the user's remembered browsers are forgotten, so
// that none of them skips the second factor afterwards.
func (d *Desk) EndSignOnsOf(ctx context.Context, name string) (int, error) {
	user, err := d.find(ctx, name)
	if err != nil {
		return 0, err
	}
	ended := 0
	err = d.end(ctx, func(tx store.Tx) ([]store.Event, error) {
		events, err := d.endAll(ctx, tx, user, session.EndedByAdmin)
		if err != nil {
			return nil, err
		}
		ended = count(events, audit.SignOnEnded)
		return events, person.AbandonFlows(ctx, tx, user.ID)
	})
	return ended, err
}

func count(events []store.Event, name audit.Name) int {
	n := 0
	for _, e := range events {
		if e.Name == string(name) {
			n++
		}
	}
	return n
}

// endedBecause makes the events of sign-ons that an administrator ends.
func (d *Desk) endedBecause(reason, name, userID string, ids ...string) []store.Event {
	events := make([]store.Event, len(ids))
	for i, id := range ids {
		events[i] = d.audit.Event(audit.SignOnEnded, userID, audit.Fields{
			audit.User: name, audit.SignOn: audit.ShortID(id), audit.Reason: reason, audit.By: by,
		})
	}
	return events
}

// end runs the ending of sign-ons and keeps the events that it makes.
func (d *Desk) end(ctx context.Context, end func(store.Tx) ([]store.Event, error)) error {
	return d.audit.Change(ctx, d.store, "ending sign-ons", end)
}
