package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// commitWithin is how long a commit may take, however long its caller would wait.
const commitWithin = 30 * time.Second

// errUncertain says that a commit took too long.
var errUncertain = errors.New("the disk took too long: it isn't known whether the transaction took effect")

// commit commits what work did and tells the followers of it. It doesn't end early
// with the caller's context. A commit that takes too long goes on: its changes are
// told at that moment, and again when it is done, since only what is read after
// that is sure to be as they left it.
func (db *DB) commit(work *transaction, commit func() error) error {
	done := make(chan error, 1)
	go func() { done <- commit() }()
	deadline := time.NewTimer(commitWithin)
	defer deadline.Stop()
	select {
	case err := <-done:
		db.tellCommitted(work, err)
		return err
	case <-deadline.C:
		db.tell(work)
		go func() { db.tellCommitted(work, <-done) }()
		return errUncertain
	}
}

// tellCommitted tells of a transaction, unless its commit surely did not take
// effect.
func (db *DB) tellCommitted(work *transaction, err error) {
	if !rolledBack(err) {
		db.tell(work)
	}
}

// tell tells the followers what a transaction changed.
func (db *DB) tell(work *transaction) {
	if work.renewed != "" {
		db.incarnation.Store(&work.renewed)
		db.followers.each(func(f store.Follower) { f.Renewed(work.renewed) })
	}
	db.followers.tell(work.changes)
}

// rolledBack reports whether a commit surely did not take effect: its context
// ended before. Of other failures that can't be told.
func rolledBack(err error) bool {
	return errors.Is(err, sql.ErrTxDone) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
