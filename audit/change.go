package audit

import (
	"context"
	"fmt"

	"github.com/portcullis-mfa/portcullis/store"
)

// Transactor runs a function in one transaction of the store, again where it
// could not be serialized.
type Transactor interface {
	Atomically(ctx context.Context, fn func(tx store.Tx) error) error
}

// Notices tells people about events. What it has to send is stored in the transaction
// that keeps the events, so that there is never one without the other.
type Notices interface {
	// Gives reports whether people may be told about an event.
	Gives(e store.Event) bool
	// Watch returns a transaction in place of tx, which notes what a notice has to
	// know about the state before.
	Watch(tx store.Tx) Watched
	// Wake sends what was stored, once it is committed.
	Wake()
}

// Watched is a transaction whose events people are told about.
type Watched interface {
	store.Tx
	// Queue stores what people are told about events before those are appended. It reports
	// whether there was anything to store.
	Queue(ctx context.Context, events []store.Event) (queued bool, err error)
}

// Change runs apply in one transaction together with the events that it
// returns, and with the notices of these. Once they are committed, the events go into
// the log too. The error says what was being done, and wraps that of apply or of the
// store.
func (l *Log) Change(ctx context.Context, s Transactor, doing string, apply func(store.Tx) ([]store.Event, error)) error {
	var events []store.Event
	err := l.commit(ctx, s, func(tx store.Tx) (_ []store.Event, err error) {
		events, err = apply(tx)
		return events, err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	l.Written(events...)
	return nil
}

func (l *Log) commit(ctx context.Context, s Transactor, apply func(store.Tx) ([]store.Event, error)) error {
	queued := false
	err := s.Atomically(ctx, func(tx store.Tx) (err error) {
		queue := func(context.Context, []store.Event) (bool, error) { return false, nil }
		if l.notices != nil {
			watched := l.notices.Watch(tx)
			tx, queue = watched, watched.Queue
		}
		events, err := apply(tx)
		if err != nil {
			return err
		}
		if queued, err = queue(ctx, events); err != nil {
			return err
		}
		for _, event := range events {
			if err := tx.AppendEvent(ctx, event); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && queued {
		l.notices.Wake()
	}
	return err
}
