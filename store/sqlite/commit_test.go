package sqlite

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/portcullis-mfa/portcullis/store"
)

// TestSlowCommitIsTold has a commit that takes longer than it may, and takes
// effect after that: who dropped what it changed at the deadline may have read the
// old row again since.
func TestSlowCommitIsTold(t *testing.T) {
	changes := []store.Change{{Kind: store.SignOnEnded, ID: "s1"}}
	for name, test := range map[string]struct {
		outcome error
		told    int
	}{
		"it takes effect":    {nil, 2},
		"nobody knows":       {errors.New("disk I/O error"), 2},
		"it was rolled back": {context.Canceled, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told tellings
				db := new(DB)
				defer db.Follow(&told)()
				going := make(chan error)
				err := db.commit(&transaction{changes: changes}, func() error { return <-going })
				if !errors.Is(err, errUncertain) || len(told.changes) != 1 {
					t.Errorf("at the deadline: %v, told %v", err, told.changes)
				}
				going <- test.outcome
				synctest.Wait()
				if len(told.changes) != test.told || slices.ContainsFunc(told.changes, func(c []store.Change) bool { return !slices.Equal(c, changes) }) {
					t.Errorf("told %v", told.changes)
				}
			})
		})
	}
}

// TestForeignLockIsBusy has another program keep the file locked.
func TestForeignLockIsBusy(t *testing.T) {
	db := openNew(t)
	_, err := db.writing.ExecContext(t.Context(), `PRAGMA busy_timeout = 1`)
	must(t, err)
	other, err := openConnections(db.path, upkeepConnection, 1)
	must(t, err)
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	must(t, err)
	if err := db.CreateUser(t.Context(), store.User{ID: "u1", Name: "u1"}); !errors.Is(err, store.ErrBusy) {
		t.Errorf("a single write: %v", err)
	}
	err = db.Atomically(t.Context(), func(tx store.Tx) error {
		t.Error("it runs without the lock")
		return nil
	})
	if !errors.Is(err, store.ErrBusy) {
		t.Errorf("a transaction: %v", err)
	}
	must(t, tx.Rollback())
	must(t, db.CreateUser(t.Context(), store.User{ID: "u1", Name: "u1"}))
}
