package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// callWithin is how long a statement may take, transactWithin how long a transaction
	// may with all its tries, and commitWithin how long its commit.
	callWithin     = 5 * time.Second
	transactWithin = 10 * time.Second
	commitWithin   = 10 * time.Second

	// maxTries bounds how often a transaction runs that conflicts with others, and
	// freeTries is after how many it waits until it is the only one of this process
	// that does so.
	maxTries, freeTries = 100, 3
	// maxReconnects bounds how often a transaction runs again whose connection broke
	// before it was to commit.
	maxReconnects = 3
)

// Where a process loses its connection without the server noticing, the locks of its
// transactions end with idle_in_transaction_session_timeout.
const (
	boundIdle    = `; SET LOCAL idle_in_transaction_session_timeout = '15s'`
	serializable = `BEGIN ISOLATION LEVEL SERIALIZABLE` + boundIdle
	beginCount   = `BEGIN ISOLATION LEVEL READ COMMITTED` + boundIdle
	beginView    = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY` + boundIdle
)

// errUncertain says that nobody answered to a COMMIT.
var errUncertain = errors.New("the database didn't confirm the transaction: it isn't known whether it took effect")

// transaction is an open transaction, with the changes that followers are to
// be told of once it is committed.
type transaction struct {
	pgx.Tx
	changes []store.Change
	// renewed is the life that it begins; nil: the life goes on.
	renewed *life
	// conflict is the first conflict with another transaction that it met; nil: it
	// met none. After one, nothing that it read or did counts.
	conflict error
	// appended says that it has appended an event.
	appended bool
}

// untold is a change that raises the store's position alone: nobody keeps such
// a row in memory.
var untold store.Change

// moves reports whether the transaction leaves a row in the feed, and whether it raises
// the store's position.
func (t *transaction) moves() (feed, position bool) {
	return len(t.changes) > 0, slices.ContainsFunc(t.changes, func(c store.Change) bool { return c.Kind != store.RecordsChanged })
}

func (t *transaction) note(changes ...store.Change) { t.changes = append(t.changes, changes...) }

func (t *transaction) noteEach(kind store.ChangeKind, ids []string) {
	for _, id := range ids {
		t.note(store.Change{Kind: kind, ID: id})
	}
}

func (t *transaction) met(err error) error {
	if t.conflict == nil && isConflict(err) {
		t.conflict = err
	}
	return err
}

// Exec notes conflicts.
func (t *transaction) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	tag, err := t.Tx.Exec(ctx, sql, args...)
	return tag, t.met(err)
}

// Query notes conflicts.
func (t *transaction) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	rows, err := t.Tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, t.met(err)
	}
	return metRows{rows, t}, nil
}

// QueryRow notes conflicts.
func (t *transaction) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return metRow{t.Tx.QueryRow(ctx, sql, args...), t}
}

type metRows struct {
	pgx.Rows
	tx *transaction
}

func (r metRows) Err() error { return r.tx.met(r.Rows.Err()) }

type metRow struct {
	pgx.Row
	tx *transaction
}

func (r metRow) Scan(dest ...any) error { return r.tx.met(r.Row.Scan(dest...)) }

// Atomically runs fn in one serializable transaction, again where it conflicts with
// others. A panic of fn rolls back.
func (db *DB) Atomically(ctx context.Context, fn func(tx store.Tx) error) error {
	return db.transact(ctx, func(tx *transaction) error {
		return fn(within(tx))
	})
}

// within returns the operations inside a transaction.
func within(tx *transaction) operations {
	run := func(_ context.Context, fn func(*transaction) error) error { return fn(tx) }
	return operations{
		rows: tx, write: run, touch: run, locks: true,
		settled: func(context.Context) (int64, error) { return 0, errInTransaction },
	}
}

// transact runs fn in a serializable transaction and tells the followers what it
// changed before it returns.
func (db *DB) transact(ctx context.Context, fn func(*transaction) error) error {
	return db.run(ctx, serializable, fn)
}

// touch runs fn where each row is changed as it is at that moment, and none is
// changed because of another.
func (db *DB) touch(ctx context.Context, fn func(*transaction) error) error {
	return db.run(ctx, beginCount, fn)
}

// run runs fn in a transaction until it meets no conflict, within a bound.
func (db *DB) run(ctx context.Context, begin string, fn func(*transaction) error) error {
	if err := ctx.Err(); err != nil {
		return failed(ctx, "beginning a transaction", err)
	}
	bounded, cancel := context.WithTimeout(ctx, db.pool.atMost(transactWithin))
	defer cancel()
	lost := 0
	for try := 1; ; try++ {
		again, err := db.try(bounded, begin, fn)
		switch {
		case again == nil:
			return err
		case ctx.Err() != nil:
			return failed(ctx, "in a transaction", again)
		case isLost(again):
			if lost++; lost > maxReconnects || bounded.Err() != nil {
				return failed(ctx, "in a transaction", again)
			}
		case try >= maxTries || bounded.Err() != nil:
			return fmt.Errorf("%w: %w", store.ErrBusy, again)
		case try == freeTries:
			select {
			case db.turn <- struct{}{}:
				defer func() { <-db.turn }()
			case <-bounded.Done():
			}
		}
		pause(bounded, time.Duration(rand.Int64N(int64(time.Millisecond)*int64(min(try, 10)))))
	}
}

// pause waits, but not beyond the context.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// try runs fn in a transaction once. Where that should be done again it returns why.
func (db *DB) try(ctx context.Context, begin string, fn func(*transaction) error) (again, err error) {
	tx, err := db.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
	if err != nil {
		if isLost(err) {
			db.reconnect(err)
			return err, nil
		}
		return nil, failed(ctx, "beginning a transaction", err)
	}
	work := &transaction{Tx: tx}
	defer rollBack(tx)
	err = fn(work)
	if work.conflict != nil {
		return work.conflict, nil
	}
	if tx.Conn().IsClosed() && ctx.Err() == nil {
		return errClosed, nil
	}
	if code(err) == "25006" {
		db.reconnect(err)
		return err, nil
	}
	if err != nil {
		return nil, err
	}
	return db.commit(ctx, work)
}

// rollBack ends a transaction. After a commit it does nothing; its error adds nothing
// to what went wrong before.
func rollBack(tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.Background(), dialWithin)
	defer cancel()
	_ = tx.Rollback(ctx)
}

// errClosed says that the connection of a transaction broke before its commit.
var errClosed = errors.New("the connection to the database broke")

// reconnect makes all connections anew where the server can't be written to: another
// one may by now.
func (db *DB) reconnect(err error) {
	if code(err) == "25006" {
		db.pool.Reset()
	}
}

// commit leaves the transaction's row in the feed, commits, and tells the followers.
func (db *DB) commit(ctx context.Context, work *transaction) (again, err error) {
	const doing = "committing a transaction"
	var stamp int64
	feed, counts := work.moves()
	if feed {
		stamp = db.feed.expect()
		if err := writeFeed(ctx, work, stamp, counts, work.changes); err != nil {
			db.feed.forget(stamp)
			switch {
			case work.conflict != nil:
				return work.conflict, nil
			case work.Conn().IsClosed() && ctx.Err() == nil:
				return errClosed, nil
			}
			return nil, failed(ctx, doing, err)
		}
	}
	if err := ctx.Err(); err != nil {
		db.feed.forget(stamp)
		return nil, failed(ctx, doing, err)
	}
	committing, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitWithin)
	defer cancel()
	err = work.Tx.Commit(committing)
	switch {
	case err == nil:
		db.tell(work)
		db.feed.acknowledge(stamp)
		return nil, nil
	case code(err) != "" || errors.Is(err, pgx.ErrTxCommitRollback):
		// The server says that it rolled back.
		db.feed.forget(stamp)
		if isConflict(err) {
			return err, nil
		}
		if code(err) == "57P01" {
			break // which it may say after it has committed
		}
		return nil, failed(ctx, doing, err)
	}
	if db.hasCommitted(stamp) {
		db.tell(work)
		db.feed.acknowledge(stamp)
		return nil, nil
	}
	db.tell(work)
	db.feed.forget(stamp) // it is told once more when it appears in the feed
	return nil, fmt.Errorf("%s: %w: %w", doing, errUncertain, err)
}

// hasCommitted reports whether a transaction whose connection broke amid its commit is
// known to have taken effect. One that isn't may be committing still.
func (db *DB) hasCommitted(stamp int64) bool {
	if stamp == 0 {
		return false
	}
	found, err := one(context.Background(), "looking for a transaction", db.pool, statement{
		`SELECT EXISTS (SELECT FROM changes WHERE stamp = $1)`, []any{stamp},
	}, scanBool)
	return err == nil && found
}

// tell tells the followers what a transaction changed.
func (db *DB) tell(work *transaction) {
	if work.renewed != nil {
		db.adopt(*work.renewed)
	}
	db.feed.tell(work.changes)
}
