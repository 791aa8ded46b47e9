package accounts

import (
	"context"
	"errors"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// EndUnseen is EndUnseenSignOn of the store, with the event of it: a sign-on that
// nobody uses ends by itself.
func (d *Desk) EndUnseen(ctx context.Context, id string, lastSeen, at time.Time, reason string) error {
	return d.end(ctx, func(tx store.Tx) ([]store.Event, error) {
		if err := tx.EndUnseenSignOn(ctx, id, lastSeen, at, reason); err != nil {
			return nil, err
		}
		return d.endedThemselves(ctx, tx, reason, id)
	})
}

// EndExpired ends up to most sign-ons whose absolute limit has come, and returns
// how many.
func (d *Desk) EndExpired(ctx context.Context, most int) (int, error) {
	ended := 0
	err := d.end(ctx, func(tx store.Tx) ([]store.Event, error) {
		ids, err := tx.EndExpiredSignOns(ctx, d.clock(), session.EndedExpired, most)
		if err != nil {
			return nil, err
		}
		ended = len(ids)
		return d.endedThemselves(ctx, tx, session.EndedExpired, ids...)
	})
	return ended, err
}

// endedThemselves makes the events of sign-ons that nobody ended.
func (d *Desk) endedThemselves(ctx context.Context, tx store.Tx, reason string, ids ...string) ([]store.Event, error) {
	events := make([]store.Event, 0, len(ids))
	for _, id := range ids {
		s, err := tx.SignOnByID(ctx, id)
		if err != nil {
			return nil, err
		}
		user, err := tx.UserByID(ctx, s.UserID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		events = append(events, d.audit.Event(audit.SignOnEnded, s.UserID, audit.Fields{
			audit.User: user.Name, audit.SignOn: audit.ShortID(id), audit.Reason: reason,
		}))
	}
	return events, nil
}
