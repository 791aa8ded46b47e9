// Package sqlite keeps Portcullis's rows in one SQLite file, for one machine
// and with no server to run.
//
// Every write is one transaction that holds the file's write lock from its
// beginning (BEGIN IMMEDIATE) and is synced before it is acknowledged
// (write-ahead log, synchronous=FULL). One connection writes; a few others
// read beside it and never wait for it. One process has the file open, once:
// who follows its changes hears of them from the writer itself.
//
// The package must not know what a row means, who asks, or when a row may
// change: it keeps the promises of package store and no others.
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/portcullis-mfa/portcullis/store"
)

// DB is an open store in an SQLite file.
type DB struct {
	operations
	path        string
	held        *hold
	places      places
	lost        atomic.Pointer[error] // nil: its files are in place
	reserve     reserve
	checking    sync.Mutex
	copying     sync.Mutex
	writing     *sql.DB // one connection, for transactions that write
	reading     *pool
	incarnation atomic.Pointer[string]
	followers   followers
}

// Open opens the store in the file at path; SQLite keeps PATH-wal and PATH-shm
// beside it while it is open, and the lock on PATH.lock is held for as long, so
// all of them belong on a local disk. PATH.reserve takes up a megabyte, so that
// on a full disk there is room to record what takes rights away. If there is no such file, Open makes an
// empty store there, readable by this user alone, in a directory that it
// creates if need be. A store of an older schema is copied to PATH.before-vN
// and then brought up to this program's schema, the Nth.
//
// While another process has the store open, or this one has already, Open waits
// for some seconds and then refuses: who follows the changes of one would not
// be told what the other writes. Others can still read the file, as a backup
// does.
//
// A file that is there but is not a sound store of this program (another
// schema, another program's, damaged, not accessible) is left as it is, and
// the error says what to do.
func Open(ctx context.Context, path string) (*DB, error) {
	return open(ctx, path, embeddedMigrations(), true)
}

// OpenExisting is Open, but where there is no such file it makes none and
// returns store.ErrMissing.
func OpenExisting(ctx context.Context, path string) (*DB, error) {
	return open(ctx, path, embeddedMigrations(), false)
}

func open(ctx context.Context, path string, migrations migrationFiles, mayCreate bool) (*DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the store %s: %w", path, err)
	}
	db, err := openAlone(ctx, behindLinks(absolute), migrations, mayCreate)
	if err != nil {
		return nil, fmt.Errorf("opening the store %s: %w", absolute, err)
	}
	return db, nil
}

// behindLinks returns where the file really is, since that is where its lock
// has to be. What can't be followed stays as it is and is refused later.
func behindLinks(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// openAlone takes hold of the store, makes sure that it is sound and opens it.
func openAlone(ctx context.Context, path string, migrations migrationFiles, mayCreate bool) (*DB, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && !mayCreate {
		// Not even a folder is made: a disk may be missing that belongs there.
		return nil, cmp.Or(refuseRemains(path), store.ErrMissing)
	}
	if err := os.MkdirAll(filepath.Dir(path), directoryMode); err != nil {
		return nil, fmt.Errorf("making the directory: %w", err)
	}
	held, err := takeHold(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, path, migrations); err != nil {
		return nil, errors.Join(err, held.release())
	}
	return connect(ctx, path, held)
}

// connect opens the connections to a store that is held and known to be sound.
func connect(ctx context.Context, path string, held *hold) (*DB, error) {
	writing, err := openConnections(path, writingConnection, 1)
	if err != nil {
		return nil, errors.Join(err, held.release())
	}
	db := &DB{path: path, held: held, writing: writing, reserve: reserve{path: path + ".reserve"}}
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
	incarnation, err := readIncarnation(ctx, reading)
	db.incarnation.Store(&incarnation)
	if err != nil {
		return err
	}
	db.reserve.refill() // without it, nothing but what takes rights away is written
	db.places, err = findPlaces(path)
	return err
}

// Position implements store.Store.
func (db *DB) Position(ctx context.Context) (position int64, err error) {
	err = db.reading.QueryRowContext(ctx, `SELECT value FROM position`).Scan(&position)
	return position, failed(ctx, "reading the store's position", err)
}

// Atomically runs fn in one transaction that keeps all other writers out from
// its beginning. A panic of fn rolls back too.
func (db *DB) Atomically(ctx context.Context, fn func(tx store.Tx) error) error {
	return db.transact(ctx, func(tx *transaction) error {
		return fn(operations{rows: tx, write: within(tx)})
	})
}

// View runs fn in a transaction on a reading connection, to which the write-ahead
// log shows one state.
func (db *DB) View(ctx context.Context, fn func(r store.Reader) error) error {
	tx, err := db.reading.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return failed(ctx, "beginning to read", err)
	}
	// Nothing was written, so there is nothing to commit.
	defer func() { _ = tx.Rollback() }()
	return fn(operations{rows: tx})
}

// transact runs fn in a transaction on the writing connection, and tells the
// followers what it changed before it returns. Where the disk is full, a
// transaction that takes rights away runs again, with the room that is kept for
// it.
func (db *DB) transact(ctx context.Context, fn func(*transaction) error) error {
	work, err := db.try(ctx, fn)
	if err != nil && work.takesAway && ranOutOfRoom(err) && ctx.Err() == nil {
		db.makeRoom(ctx)
		_, err = db.try(ctx, fn)
	}
	return err
}

// try runs fn in a transaction once.
func (db *DB) try(ctx context.Context, fn func(*transaction) error) (*transaction, error) {
	work := new(transaction)
	if lost := db.lost.Load(); lost != nil {
		return work, *lost
	}
	tx, err := db.writing.BeginTx(ctx, nil)
	if err != nil {
		return work, failed(ctx, "beginning a transaction", err)
	}
	// After a commit this does nothing; its own error adds nothing to fn's.
	defer func() { _ = tx.Rollback() }()
	work.querier = tx
	err = fn(work)
	if err == nil && work.movesOn() {
		_, err = tx.ExecContext(ctx, `UPDATE position SET value = value + 1`)
	}
	if errors.Is(err, sql.ErrTxDone) {
		// Its context ended, and what fn met is the consequence.
		return work, failed(ctx, "in a transaction", err)
	}
	if err == nil && !work.takesAway && !db.reserve.refill() {
		err = errFull
	}
	if err != nil {
		return work, err
	}
	return work, failed(ctx, "committing a transaction", db.commit(work, tx.Commit))
}

// Close waits for running operations, closes the file and lets go of it.
func (db *DB) Close() error {
	var reading error
	if db.reading != nil {
		reading = db.reading.Close()
	}
	// The writer goes last: the last connection folds the log into the file,
	// which the reading ones may not do.
	if err := errors.Join(reading, db.writing.Close(), db.held.release()); err != nil {
		return fmt.Errorf("closing the store: %w", err)
	}
	return nil
}

var _ store.Store = (*DB)(nil)
