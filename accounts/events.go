package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
)

// maxEvents is how many events a page has at most.
const maxEvents = 1000

// EventQuery says which events to read. Zero fields don't narrow.
type EventQuery struct {
	// User is the sign-in name of a user, or the ID of a user who may have been deleted.
	User string
	Name audit.Name
	// Since is the earliest time, and Until the first time that is too late.
	Since, Until time.Time
	// After continues after the event with this ID. Without it and without Since, the
	// newest events are read.
	After int64
	// Limit is how many events to read at most: 100 by default, never more than
	// 1,000.
	Limit int
}

// EventPage is some events, oldest first.
type EventPage struct {
	Events []store.Event
	// Next is the ID to continue after.
	Next int64
}

// UnknownEventError says that no event has the name that was given.
type UnknownEventError struct{ Name audit.Name }

func (e *UnknownEventError) Error() string { return e.Text() }

// Text explains that to people.
func (e *UnknownEventError) Text() string {
	return fmt.Sprintf("no event is called %q: the reference lists their names, such as %s", e.Name, audit.SignInFailed)
}

// Events reads what the audit log has kept. It returns ErrNobody if the query names an
// unknown user, and *UnknownEventError if it names an unknown event.
func (d *Desk) Events(ctx context.Context, q EventQuery) (EventPage, error) {
	if q.Name != "" && !slices.Contains(audit.Catalogue(), q.Name) {
		return EventPage{}, &UnknownEventError{q.Name}
	}
	filter := store.EventFilter{Name: string(q.Name), Since: q.Since, Until: q.Until, Limit: min(q.Limit, maxEvents)}
	var page EventPage
	err := d.store.View(ctx, func(r store.Reader) (err error) {
		if filter.UserID, err = subject(ctx, r, q.User); err != nil {
			return err
		}
		page, err = readEvents(ctx, r, q, filter)
		return err
	})
	if err != nil && !errors.Is(err, ErrNobody) {
		err = fmt.Errorf("reading events: %w", err)
	}
	return page, err
}

func readEvents(ctx context.Context, r store.Reader, q EventQuery, f store.EventFilter) (EventPage, error) {
	var events []store.Event
	var err error
	if q.After > 0 || !q.Since.IsZero() {
		events, err = r.EventsAfter(ctx, q.After, f)
	} else {
		events, err = r.ListEvents(ctx, f)
		slices.Reverse(events)
	}
	page := EventPage{Events: events, Next: q.After}
	if len(events) == 0 && q.After == 0 && err == nil {
		// Nothing like it has happened yet: whoever follows goes on behind the newest.
		events, err = r.ListEvents(ctx, store.EventFilter{Limit: 1})
	}
	if len(events) > 0 {
		page.Next = events[len(events)-1].ID
	}
	return page, err
}

// subject returns the ID of the user whose events are asked for; empty: all users'.
// Events outlive their user, so an ID that events name will do as well.
func subject(ctx context.Context, r store.Reader, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	user, err := findIn(ctx, r, name)
	if !errors.Is(err, ErrNobody) {
		return user.ID, err
	}
	of, err := r.ListEvents(ctx, store.EventFilter{UserID: name, Limit: 1})
	if err == nil && len(of) == 0 {
		err = ErrNobody
	}
	return name, err
}
