package authflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// FreshFor is how old the check may be that a change of somebody's factors asks
// for (NIST SP 800-63B-4 §4.1.2.1 asks for one at the highest level that the
// person can still present).
const FreshFor = 5 * time.Minute

// EnrolWithin is how long adding a credential may take before a fresh check is
// asked for once more.
const EnrolWithin = 15 * time.Minute

// What people can't do to their own account.
var (
	// ErrStale says that a fresh check of the person comes first; see
	// BeginFreshCheck.
	ErrStale = errors.New("a fresh check comes first")
	// ErrLastWayIn says that without the credential no way in would be left.
	ErrLastWayIn = errors.New("it is the last way in")
	// ErrNoCredential says that the person has no such credential.
	ErrNoCredential = errors.New("no such credential of this user")
	// ErrNoSignOn says that the person has no such live sign-on.
	ErrNoSignOn = errors.New("no such live sign-on of this user")
	// ErrTooMany says that the person has as many of a kind as they may.
	ErrTooMany = errors.New("no more of this kind")
)

// Held is one credential as its owner sees it.
type Held struct {
	ID       string
	Kind     assurance.Factor
	Name     string
	Created  time.Time
	LastUsed time.Time // zero: never
	// Suspended says that it was reported lost and proves nothing.
	Suspended bool
	// Realm is where it works, of a kind that works in one place alone, and
	// Elsewhere says that it isn't here: it proves nothing any more.
	Realm     string
	Elsewhere bool
	// HeldUntil is until when its proofs are held to multi; zero: they aren't.
	HeldUntil time.Time
	// Details is what its factor has to tell besides; see factors.Describer.
	Details any
}

// Holdings returns all credentials of a user: the password first, then the
// others, oldest first.
func (e *Engine) Holdings(ctx context.Context, userID string) ([]Held, error) {
	rows, err := e.Store.CredentialsOf(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	held := make([]Held, len(rows))
	for i, row := range rows {
		if held[i], err = e.held(row); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(held, func(a, b Held) int {
		return cmp.Compare(passwordFirst(a.Kind), passwordFirst(b.Kind))
	})
	return held, nil
}

func passwordFirst(kind assurance.Factor) int {
	if kind == assurance.Password {
		return 0
	}
	return 1
}

func (e *Engine) held(row store.Credential) (Held, error) {
	h := Held{
		ID: row.ID, Kind: row.Kind, Name: row.Name, Created: row.Created, LastUsed: row.LastUsed,
		Suspended: row.State == store.CredentialSuspended, Realm: row.Realm, Elsewhere: !e.works(row),
	}
	if e.Clock().Before(row.HeldUntil) {
		h.HeldUntil = row.HeldUntil
	}
	factor, err := e.Factors.Get(row.Kind)
	if err != nil {
		return h, nil // the password, or a factor that is configured no more
	}
	describer, ok := factor.(factors.Describer)
	if !ok {
		return h, nil
	}
	secret, err := e.Sealer.Open(row.Secret, credentialContext(row))
	if err != nil {
		return Held{}, fmt.Errorf("opening a %s credential: %w", row.Kind, err)
	}
	h.Details, err = describer.Details(factors.Credential{ID: row.ID, Name: row.Name, Secret: secret})
	if err != nil {
		return Held{}, fmt.Errorf("describing a %s credential: %w", row.Kind, err)
	}
	return h, nil
}

// Announcement returns what the browser is to be told of all that a user has of
// a kind, lost ones too; nil: nothing. What somebody lost is theirs until they
// remove it: what a browser is told to forget may be gone for good, and a wrong
// "I can't use this" must not do that.
func (e *Engine) Announcement(ctx context.Context, u store.User, kind assurance.Factor) (any, error) {
	factor, err := e.Factors.Get(kind)
	if err != nil {
		return nil, err
	}
	announcer, ok := factor.(factors.Announcer)
	if !ok {
		return nil, nil
	}
	all, err := e.credentials(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	opened, _, err := e.ofKind(all, kind)
	if err != nil {
		return nil, err
	}
	announcement, err := announcer.Announcement(factors.Subject{UserID: u.ID, Name: u.Name, DisplayName: u.DisplayName}, opened)
	if err != nil {
		return nil, fmt.Errorf("announcing %s credentials: %w", kind, err)
	}
	return announcement, nil
}

// Freshness returns what a change of a user's factors asks for.
func (e *Engine) Freshness(ctx context.Context, userID string) (assurance.Requirement, error) {
	credentials, err := e.activeCredentials(ctx, userID)
	if err != nil {
		return assurance.Requirement{}, err
	}
	return e.freshness(credentials), nil
}

// freshness asks for a second factor shown lately, of the highest level that
// the credentials can reach.
func (e *Engine) freshness(active []store.Credential) assurance.Requirement {
	level := assurance.Multi
	if e.personOf(active, Flow{}).Resistant {
		level = assurance.PhishingResistant
	}
	return assurance.Requirement{Level: level, MaxAge: FreshFor}
}

// checked reads a sign-on, its user and their active credentials in the
// transaction that a change is made in: ErrStale unless the person was checked
// lately, session.ErrEnded where the sign-on doesn't count any more.
func (e *Engine) checked(ctx context.Context, tx store.Tx, signOn string) (store.SignOn, store.User, []store.Credential, error) {
	s, u, err := session.Check(ctx, tx, signOn, e.Clock())
	if err != nil {
		return s, u, nil, err
	}
	credentials, err := tx.CredentialsOf(ctx, u.ID)
	if err != nil {
		return s, u, nil, err
	}
	credentials = e.active(credentials)
	if e.freshness(credentials).Missing(s.Proofs, e.Clock(), e.Factors.Enabled) != assurance.Nothing {
		return s, u, nil, ErrStale
	}
	return s, u, credentials, nil
}

// Enrollable returns the kinds of second factor that a user may add now, in the
// order of recommendation.
func (e *Engine) Enrollable(ctx context.Context, userID string) ([]assurance.Factor, error) {
	credentials, err := e.activeCredentials(ctx, userID)
	if err != nil {
		return nil, err
	}
	var kinds []assurance.Factor
	for _, f := range e.Factors {
		if hasRoom(f, credentials) {
			kinds = append(kinds, f.Kind())
		}
	}
	return kinds, nil
}

// hasRoom reports whether one more of a factor may be enrolled: where there is
// one alone, it is replaced.
func hasRoom(f factors.Factor, active []store.Credential) bool {
	have := 0
	for _, c := range active {
		if c.Kind == f.Kind() {
			have++
		}
	}
	return f.Most() == 1 || have < f.Most()
}

// OwnSignOn is a live sign-on as its owner sees it.
type OwnSignOn struct {
	store.SignOn
	// Apps are the origins of the apps that were opened under it.
	Apps []string
}

// maxOpened bounds how far back the apps of sign-ons are looked for, in events.
const maxOpened = 1000

// SignOnsOf returns a user's live sign-ons, newest first.
func (e *Engine) SignOnsOf(ctx context.Context, userID string) ([]OwnSignOn, error) {
	rows, err := session.ListLive(ctx, e.Store, userID, e.Clock())
	if err != nil {
		return nil, err
	}
	opened, err := e.Store.ListEvents(ctx, store.EventFilter{
		UserID: userID, Name: string(audit.AppOpened), Limit: maxOpened,
	})
	if err != nil {
		return nil, fmt.Errorf("reading which apps were opened: %w", err)
	}
	apps := make(map[string][]string)
	for _, event := range opened {
		id, app := event.Fields[string(audit.SignOn)], event.Fields[string(audit.App)]
		if !slices.Contains(apps[id], app) {
			apps[id] = append(apps[id], app)
		}
	}
	own := make([]OwnSignOn, len(rows))
	for i, row := range rows {
		own[i] = OwnSignOn{SignOn: row, Apps: apps[audit.ShortID(row.ID)]}
		slices.Sort(own[i].Apps)
	}
	return own, nil
}

// Activity returns the newest of a user's own audit events, at most limit of
// them and only those with lower ids than before, where that isn't 0.
func (e *Engine) Activity(ctx context.Context, userID string, before int64, limit int) ([]store.Event, error) {
	events, err := e.Store.ListEvents(ctx, store.EventFilter{UserID: userID, Before: before, Limit: limit})
	if err != nil {
		return nil, fmt.Errorf("reading a user's events: %w", err)
	}
	return events, nil
}
