package caddymodule

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store/sqlite"
)

// TestOneDoesTheChores has two share a store, as two configurations do amid a
// reload: one does the work, and the other once that one has left.
func TestOneDoesTheChores(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	done := make(map[string]int)
	failure := errors.New("broken")
	work := func(c chores) error {
		return c.alone(choreSweep, time.Hour, func(context.Context) error {
			done[c.name]++
			return failure
		})(t.Context())
	}
	first, second := chores{db, "first"}, chores{db, "second"}
	for range 2 {
		if err := work(first); !errors.Is(err, failure) {
			t.Errorf("the first: %v", err)
		}
		if err := work(second); err != nil {
			t.Errorf("the second: %v", err)
		}
	}
	if err := first.leave(t.Context()); err != nil {
		t.Error(err)
	}
	if err := work(second); !errors.Is(err, failure) {
		t.Errorf("the second alone: %v", err)
	}
	if done["first"] != 2 || done["second"] != 1 {
		t.Errorf("done: %v", done)
	}
}
