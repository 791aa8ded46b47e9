package selfservice

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// Holdings returns all credentials of a user: the password first, then the
// others, oldest first.
func (s *Service) Holdings(ctx context.Context, userID string) ([]credentials.Own, error) {
	rows, err := s.Vault.Of(ctx, userID)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(c store.Credential) bool { return c.State == store.CredentialReplaced })
	own := make([]credentials.Own, len(rows))
	for i, row := range rows {
		if own[i], err = s.Vault.Describe(row); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(own, func(a, b credentials.Own) int {
		return cmp.Compare(passwordFirst(a.Kind), passwordFirst(b.Kind))
	})
	return own, nil
}

func passwordFirst(kind assurance.Factor) int {
	if kind == assurance.Password {
		return 0
	}
	return 1
}

// Announcement returns what the browser is to be told of all that a user has of
// a kind, lost ones too; nil: nothing. What somebody lost is theirs until they
// remove it: what a browser is told to forget may be gone for good, and a wrong
// "I can't use this" must not do that.
func (s *Service) Announcement(ctx context.Context, u store.User, kind assurance.Factor) (any, error) {
	factor, err := s.Vault.Factors.Get(kind)
	if err != nil {
		return nil, err
	}
	announcer, ok := factor.(factors.Announcer)
	if !ok {
		return nil, nil
	}
	all, err := s.Vault.Of(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	opened, _, err := s.Vault.Open(all, kind)
	if err != nil {
		return nil, err
	}
	announcement, err := announcer.Announcement(factors.Subject{UserID: u.ID, Name: u.Name, DisplayName: u.DisplayName}, opened)
	if err != nil {
		return nil, fmt.Errorf("announcing %s credentials: %w", kind, err)
	}
	return announcement, nil
}

// FreshCheck returns what a change of a user's factors asks for.
func (s *Service) FreshCheck(ctx context.Context, userID string) (person.FreshCheck, error) {
	return s.People.FreshCheck(ctx, userID)
}

// Enrollable returns the kinds of second factor that a user may add now, in the
// order of recommendation.
func (s *Service) Enrollable(ctx context.Context, userID string) ([]assurance.Factor, error) {
	active, err := s.Vault.ActiveOf(ctx, userID)
	if err != nil {
		return nil, err
	}
	var kinds []assurance.Factor
	for _, f := range s.Vault.Factors {
		if s.Vault.HasRoom(f, active) {
			kinds = append(kinds, f.Kind())
		}
	}
	return kinds, nil
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
func (s *Service) SignOnsOf(ctx context.Context, userID string) ([]OwnSignOn, error) {
	rows, err := session.ListLive(ctx, s.Store, userID, s.Clock())
	if err != nil {
		return nil, err
	}
	opened, err := s.Store.ListEvents(ctx, store.EventFilter{
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
func (s *Service) Activity(ctx context.Context, userID string, before int64, limit int) ([]store.Event, error) {
	events, err := s.Store.ListEvents(ctx, store.EventFilter{UserID: userID, Before: before, Limit: limit})
	if err != nil {
		return nil, fmt.Errorf("reading a user's events: %w", err)
	}
	return events, nil
}
