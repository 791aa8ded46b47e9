// Package postgres keeps Portcullis's rows in a PostgreSQL database, which any
// number of processes share.
//
// Transactions are serializable. One that conflicts with another runs again, within a
// bound. Each transaction that changes something leaves a row in the feed of changes
// as its last statement; every process reads the feed on a connection of its own,
// which NOTIFY wakes and nothing else depends on: see the comment of feed.
//
// Every call has a deadline of its own, since a server that has stopped answers
// nothing, not even with an error.
//
// The package must not know what a row means, who asks, or when a row may
// change: it keeps the promises of package store and no others.
package postgres

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/portcullis-mfa/portcullis/store"
)

// DB is an open store in a PostgreSQL database.
type DB struct {
	operations
	pool *pool
	life atomic.Pointer[life]
	feed *feed
	warn Warn
	// turn is held by the transaction that runs alone among those of this process
	// that met conflicts several times.
	turn chan struct{}

	end     context.CancelFunc
	running sync.WaitGroup
}

// Warn logs what went wrong without anybody being told.
type Warn func(doing string, err error)

// Open opens the store in the database that the settings name. If the database has
// no store yet, Open makes an empty one. An older schema is brought up to this
// program's; any number of processes may do so at once.
//
// If the schema is newer than what this program knows, Open uses it all the same
// unless the newer program says that it can't be.
func Open(ctx context.Context, s Settings) (*DB, error) {
	return open(ctx, s, embeddedMigrations(), true)
}

// OpenExisting is Open, but where the database has no store it makes none and
// returns store.ErrMissing.
func OpenExisting(ctx context.Context, s Settings) (*DB, error) {
	return open(ctx, s, embeddedMigrations(), false)
}

func open(ctx context.Context, s Settings, migrations migrationFiles, mayCreate bool) (*DB, error) {
	db, err := openPrepared(ctx, s, migrations, mayCreate)
	if err != nil {
		return nil, fmt.Errorf("opening the store in PostgreSQL: %w", explain(ctx, err))
	}
	return db, nil
}

func openPrepared(ctx context.Context, s Settings, migrations migrationFiles, mayCreate bool) (*DB, error) {
	main, feeding, err := s.parse()
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, feeding, migrations, mayCreate); err != nil {
		return nil, err
	}
	connections, err := pgxpool.NewWithConfig(ctx, main)
	if err != nil {
		return nil, err
	}
	pool := &pool{Pool: connections}
	db := &DB{pool: pool, warn: s.Warn, turn: make(chan struct{}, 1)}
	if db.warn == nil {
		db.warn = func(string, error) {}
	}
	db.operations = operations{rows: pool, write: db.transact, touch: db.touch, settled: db.settledEvents}
	if err := db.begin(ctx, feeding, s.Listen); err != nil {
		pool.Close()
		return nil, err
	}
	return db, nil
}

// begin learns where the store is and begins to follow it.
func (db *DB) begin(ctx context.Context, feeding *pgx.ConnConfig, listen string) error {
	current, err := readLife(ctx, db.pool)
	if err != nil {
		return err
	}
	db.life.Store(&current)
	db.feed = newFeed(db, feeding, listen != ListenOff)
	if err := db.feed.start(ctx); err != nil {
		return err
	}
	running, end := context.WithCancel(context.Background())
	db.end = end
	db.running.Go(func() { db.feed.read(running) })
	db.running.Go(func() { db.feed.pulse(running) })
	db.running.Go(func() { db.feed.poke(running) })
	return nil
}

// Position implements store.Store.
func (db *DB) Position(ctx context.Context) (position int64, err error) {
	const doing = "reading the store's position"
	return one(ctx, doing, db.pool, statement{sql: `SELECT coalesce(sum(counted), 0)::bigint FROM position`}, func(row scanner) (position int64, err error) {
		err = row.Scan(&position)
		return position, err
	})
}

// View runs fn in a transaction that reads one snapshot.
func (db *DB) View(ctx context.Context, fn func(r store.Reader) error) error {
	bounded, cancel := context.WithTimeout(ctx, db.pool.atMost(transactWithin))
	defer cancel()
	for try := 0; ; try++ {
		err := db.viewOnce(bounded, fn)
		if err == nil || try == maxReconnects || bounded.Err() != nil || !isLost(err) {
			return err
		}
	}
}

func (db *DB) viewOnce(ctx context.Context, fn func(r store.Reader) error) error {
	connection, err := db.pool.Acquire(ctx)
	if err != nil {
		return failed(ctx, "beginning to read", err)
	}
	defer connection.Release()
	// Before the snapshot: see settledEvents.
	settled, err := settledEvents(ctx, connection)
	if err != nil {
		return failed(ctx, "beginning to read", err)
	}
	tx, err := connection.BeginTx(ctx, pgx.TxOptions{BeginQuery: beginView})
	if err != nil {
		return failed(ctx, "beginning to read", err)
	}
	defer rollBack(tx) // nothing was written, so there is nothing to commit
	return fn(operations{rows: tx, settled: func(context.Context) (int64, error) { return settled, nil }})
}

// Close waits for running operations and closes all connections.
func (db *DB) Close() error {
	db.end()
	db.running.Wait()
	db.pool.Close()
	return nil
}

var _ store.Store = (*DB)(nil)
