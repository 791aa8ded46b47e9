package postgres

import (
	"testing"

	"github.com/portcullis-mfa/portcullis/store"
)

// TestEventsAreHeldBack has an event committed while one with a lower id isn't yet:
// whoever follows gets both, in their order, or neither.
func TestEventsAreHeldBack(t *testing.T) {
	db := openAt(t, Settings{URL: server.URL(newDatabase(t))})
	ctx := t.Context()
	after := func() int {
		t.Helper()
		events, err := db.EventsAfter(ctx, 0, store.EventFilter{})
		if err != nil {
			t.Fatal(err)
		}
		return len(events)
	}
	err := db.Atomically(ctx, func(tx store.Tx) error {
		if err := tx.AppendEvent(ctx, store.Event{Name: "first"}); err != nil {
			return err
		}
		if err := db.AppendEvent(ctx, store.Event{Name: "second"}); err != nil {
			return err
		}
		if seen := after(); seen != 0 {
			t.Errorf("%d events are seen while a lower id can still appear", seen)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen := after(); seen != 2 {
		t.Errorf("%d events are seen, want 2", seen)
	}
}
