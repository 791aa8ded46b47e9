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

// Change runs apply in one transaction together with the events that it
// returns. Once they are committed, they go into the log too. The error says
// what was being done, and wraps that of apply or of the store.
func (l *Log) Change(ctx context.Context, s Transactor, doing string, apply func(store.Tx) ([]store.Event, error)) error {
	var events []store.Event
	err := s.Atomically(ctx, func(tx store.Tx) (err error) {
		if events, err = apply(tx); err != nil {
			return err
		}
		for _, event := range events {
			if err := tx.AppendEvent(ctx, event); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	l.Written(events...)
	return nil
}
