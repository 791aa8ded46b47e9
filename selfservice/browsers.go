package selfservice

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// Remembered returns the user's browsers that stand in for a second factor now,
// last seen first.
func (s *Service) Remembered(ctx context.Context, userID string) ([]store.Browser, error) {
	if !s.Remembers {
		return nil, nil
	}
	all, err := s.Store.BrowsersOf(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("reading a user's browsers: %w", err)
	}
	now := s.Clock()
	return slices.DeleteFunc(all, func(b store.Browser) bool { return !person.IsRemembered(b, now) }), nil
}

// Forget has a browser of the user stand in for nothing any more. It stays
// known. ErrNoBrowser where the user has none of that id; one that wasn't
// remembered changes nothing.
func (s *Service) Forget(ctx context.Context, u store.User, id string, c person.Client) error {
	return s.People.Change(ctx, "forgetting a browser", func(tx store.Tx) ([]store.Event, error) {
		all, err := tx.BrowsersOf(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(all, func(b store.Browser) bool { return b.ID == id })
		if i < 0 {
			return nil, ErrNoBrowser
		}
		if all[i].Remembered.IsZero() {
			return nil, nil
		}
		return []store.Event{s.People.BrowserForgotten(u, all[i], c)}, tx.RememberBrowser(ctx, u.ID, id, time.Time{}, "")
	})
}
