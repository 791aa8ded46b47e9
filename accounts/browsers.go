package accounts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// remembered returns the browsers of a user that stand in for a second factor
// at this moment.
func (d *Desk) remembered(ctx context.Context, rows belongings, userID string) ([]store.Browser, error) {
	known, err := rows.BrowsersOf(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("listing browsers: %w", err)
	}
	now := d.clock()
	return slices.DeleteFunc(known, func(b store.Browser) bool { return !person.IsRemembered(b, now) }), nil
}

// ForgetBrowser has a browser of the user asked for the second factor again:
// the one of the short id, as Show's are listed. Sign-ons that it has go on.
func (d *Desk) ForgetBrowser(ctx context.Context, name, short string) error {
	return d.change(ctx, name, func(tx store.Tx, user store.User) ([]store.Event, error) {
		matching, err := d.remembered(ctx, tx, user.ID)
		if err != nil {
			return nil, err
		}
		matching = slices.DeleteFunc(matching, func(b store.Browser) bool { return audit.ShortID(b.ID) != short })
		if len(matching) != 1 {
			return nil, ErrNoBrowser
		}
		return []store.Event{d.forgotten(user, matching[0])}, tx.RememberBrowser(ctx, user.ID, matching[0].ID, time.Time{}, "")
	})
}

// forgetAll has none of a user's browsers remembered any more, and returns the
// events to keep for it.
func (d *Desk) forgetAll(ctx context.Context, tx store.Tx, user store.User) ([]store.Event, error) {
	browsers, err := d.remembered(ctx, tx, user.ID)
	if err != nil {
		return nil, err
	}
	events := make([]store.Event, len(browsers))
	for i, b := range browsers {
		events[i] = d.forgotten(user, b)
	}
	return events, tx.ForgetBrowsersOf(ctx, user.ID)
}

func (d *Desk) forgotten(user store.User, b store.Browser) store.Event {
	return d.event(audit.BrowserForgotten, user, audit.Fields{
		audit.Factor: string(b.RememberedFor), audit.UserAgent: b.UserAgent,
	})
}
