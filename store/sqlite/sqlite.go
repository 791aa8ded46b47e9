// Package sqlite keeps Portcullis's rows in one SQLite file, for one machine
// and with no server to run.
//
// Every write is one transaction that holds the file's write lock from its
// beginning (BEGIN IMMEDIATE) and is synced before it is acknowledged
// (write-ahead log, synchronous=FULL). One connection writes; a few others
// read beside it and never wait for it.
//
// The package must not know what a row means, who asks, or when a row may
// change: it keeps the promises of package store and no others.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/portcullis-mfa/portcullis/store"
)

// DB is an open store in an SQLite file.
type DB struct {
	operations
	writing     *sql.DB // one connection, for transactions that write
	reading     *pool
	incarnation string
}

// Open opens the store in the file at path; SQLite keeps PATH-wal and PATH-shm
// beside it while it is open, and PATH.lock serves starts that happen at once,
// so all of them belong on a local disk. If there is no such file, Open
// makes an empty store there, readable by this user alone, in a directory that
// it creates if need be. A store of an older schema is copied to
// PATH.before-vN and then brought up to this program's schema, the Nth.
//
// A file that is there but is not a sound store of this program (another
// schema, another program's, damaged, not accessible) is left as it is, and
// the error says what to do.
func Open(ctx context.Context, path string) (*DB, error) {
	return open(ctx, path, embeddedMigrations())
}

func open(ctx context.Context, path string, migrations migrationFiles) (*DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the store %s: %w", path, err)
	}
	path = absolute
	if err := prepare(ctx, path, migrations); err != nil {
		return nil, fmt.Errorf("opening the store %s: %w", path, err)
	}
	db, err := connect(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("opening the store %s: %w", path, err)
	}
	return db, nil
}

// connect opens the connections to a store that is known to be sound.
func connect(ctx context.Context, path string) (*DB, error) {
	writing, err := openConnections(path, writingConnection, 1)
	if err != nil {
		return nil, err
	}
	db := &DB{writing: writing}
	if err := db.begin(ctx, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (db *DB) begin(ctx context.Context, path string) error {
	if err := db.writing.PingContext(ctx); err != nil {
		return explain(ctx, err)
	}
	reading, err := newPool(ctx, path)
	if err != nil {
		return err
	}
	db.reading = reading
	db.operations = operations{rows: reading, write: db.transact}
	db.incarnation, err = readIncarnation(ctx, reading)
	return err
}

// Incarnation identifies this store's life: it is drawn at random when the
// file is made.
func (db *DB) Incarnation() string { return db.incarnation }

// Empty reports whether the store holds no user, no credential and no sign-on,
// so that nothing is lost with a lost key set.
func (db *DB) Empty(ctx context.Context) (bool, error) {
	var empty bool
	err := db.reading.QueryRowContext(ctx, `
		SELECT NOT EXISTS (SELECT 1 FROM users)
		   AND NOT EXISTS (SELECT 1 FROM credentials)
		   AND NOT EXISTS (SELECT 1 FROM sign_ons)`).Scan(&empty)
	return empty, failed(ctx, "looking whether the store is empty", err)
}

// Atomically runs fn in one transaction that keeps all other writers out from
// its beginning. A panic of fn rolls back too.
func (db *DB) Atomically(ctx context.Context, fn func(tx store.Tx) error) error {
	return db.transact(ctx, func(rows querier) error {
		return fn(operations{rows: rows, write: within(rows)})
	})
}

// transact runs fn in a transaction on the writing connection.
func (db *DB) transact(ctx context.Context, fn func(querier) error) error {
	tx, err := db.writing.BeginTx(ctx, nil)
	if err != nil {
		return failed(ctx, "beginning a transaction", err)
	}
	// After a commit this does nothing; its own error adds nothing to fn's.
	defer func() { _ = tx.Rollback() }()
	if err := fn(tx); err != nil {
		if errors.Is(err, sql.ErrTxDone) {
			// Its context ended, and what fn met is the consequence.
			return failed(ctx, "in a transaction", err)
		}
		return err
	}
	return failed(ctx, "committing a transaction", tx.Commit())
}

// Close waits for running operations and closes the file.
func (db *DB) Close() error {
	var reading error
	if db.reading != nil {
		reading = db.reading.Close()
	}
	// The writer goes last: the last connection folds the log into the file,
	// which the reading ones may not do.
	if err := errors.Join(reading, db.writing.Close()); err != nil {
		return fmt.Errorf("closing the store: %w", err)
	}
	return nil
}

var _ store.Store = (*DB)(nil)
