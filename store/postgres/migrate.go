package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/portcullis-mfa/portcullis/store"
)

//go:embed migrations/*.sql
var embedded embed.FS

// migrationFiles is the steps that lead from an empty database to the current
// schema, as goose names and reads them. There is no way back.
type migrationFiles struct{ fs.FS }

func embeddedMigrations() migrationFiles {
	files, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return migrationFiles{files}
}

// migrationLock is the advisory lock that the process holds which changes the schema.
const migrationLock = 0x50636c73

// prepare makes sure that the database has a store whose schema this program can use.
func prepare(ctx context.Context, config *pgx.ConnConfig, migrations migrationFiles, mayCreate bool) error {
	connection, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer hangUp(connection)
	latest, err := migrations.latest()
	if err != nil {
		return err
	}
	// Without a lock first, since most starts find nothing to do.
	if ready, err := isReady(ctx, connection, latest, mayCreate); ready || err != nil {
		return err
	}
	if err := lockMigrations(ctx, connection); err != nil {
		return err
	}
	if ready, err := isReady(ctx, connection, latest, mayCreate); ready || err != nil {
		return err
	}
	if err := migrations.apply(ctx, config); err != nil {
		return err
	}
	_, err = connection.Exec(ctx, `INSERT INTO meta (key, value) VALUES ('incarnation', $1) ON CONFLICT DO NOTHING`, newIncarnation())
	return err
}

// isReady reports whether the schema is usable as it is.
func isReady(ctx context.Context, connection *pgx.Conn, latest int64, mayCreate bool) (bool, error) {
	version, err := schemaVersion(ctx, connection)
	switch {
	case err != nil:
		return false, err
	case version == 0 && !mayCreate:
		return false, store.ErrMissing
	case version < latest:
		return false, nil
	case version > latest:
		return true, checkUsable(ctx, connection, version, latest)
	}
	var begun bool // where making the store was interrupted, it hasn't
	err = connection.QueryRow(ctx, `SELECT EXISTS (SELECT FROM meta WHERE key = 'incarnation')`).Scan(&begun)
	return begun, err
}

// schemaVersion returns the version of the schema; 0: there is none.
func schemaVersion(ctx context.Context, connection *pgx.Conn) (version int64, err error) {
	var exists bool
	err = connection.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, goose.DefaultTablename).Scan(&exists)
	if err != nil || !exists {
		return 0, err
	}
	err = connection.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM `+goose.DefaultTablename+` WHERE is_applied`).Scan(&version)
	return version, err
}

// checkUsable refuses a store whose schema is newer than the latest that this
// program knows, unless the newer ones have all that it needs.
func checkUsable(ctx context.Context, connection *pgx.Conn, version, latest int64) error {
	var oldest int64
	err := connection.QueryRow(ctx, `SELECT value::bigint FROM meta WHERE key = 'oldest_program'`).Scan(&oldest)
	if err != nil || oldest <= latest {
		return err
	}
	return fmt.Errorf("its schema is version %d, and this program knows versions up to %d: start the newer program", version, latest)
}

// lockMigrations waits until no other process changes the schema. It asks again and
// again: a statement that waits for a lock would itself keep an index from being
// made concurrently. The lock ends with the connection.
func lockMigrations(ctx context.Context, connection *pgx.Conn) error {
	for {
		var locked bool
		err := connection.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, migrationLock).Scan(&locked)
		if err != nil || locked {
			return err
		}
		pause(ctx, 100*time.Millisecond+rand.N(100*time.Millisecond))
	}
}

// latest returns the version of the newest schema that this program knows.
func (m migrationFiles) latest() (latest int64, err error) {
	files, err := fs.Glob(m, "*.sql")
	for _, name := range files {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return 0, err
		}
		latest = max(latest, version)
	}
	return latest, err
}

// apply runs the steps that the database lacks, each in a transaction. A step that
// can't have its locks soon gives up, so that nobody waits behind it.
func (m migrationFiles) apply(ctx context.Context, config *pgx.ConnConfig) (err error) {
	config = config.Copy()
	config.AfterConnect = nil
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, connection *pgx.Conn) error {
		_, err := connection.Exec(ctx, `SET lock_timeout = '10s'`)
		return err
	}))
	defer func() { err = errors.Join(err, db.Close()) }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, m, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bringing the schema up to date: %w", err)
	}
	return nil
}
