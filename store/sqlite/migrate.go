package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations/*.sql
var embedded embed.FS

// migrationFiles is the steps that lead from an empty file to the current
// schema, as goose names and reads them. There is no way back.
type migrationFiles struct{ fs.FS }

func embeddedMigrations() migrationFiles {
	files, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return migrationFiles{files}
}

func (m migrationFiles) provider(db *sql.DB) (*goose.Provider, error) {
	return goose.NewProvider(goose.DialectSQLite3, db, m, goose.WithDisableGlobalRegistry(true))
}

// versions returns the version of the schema in db and the latest that this
// program knows. It changes nothing.
func (m migrationFiles) versions(ctx context.Context, db *sql.DB) (version, latest int64, err error) {
	provider, err := m.provider(db)
	if err != nil {
		return 0, 0, err
	}
	for _, step := range provider.ListSources() {
		latest = max(latest, step.Version)
	}
	applied, err := database.NewStore(goose.DialectSQLite3, goose.DefaultTablename)
	if err != nil {
		return 0, 0, err
	}
	version, err = applied.GetLatestVersion(ctx, db)
	if err != nil {
		return 0, 0, fmt.Errorf("reading the version of its schema: %w", err)
	}
	return version, latest, nil
}

// apply runs the steps that db lacks, each in a transaction.
func (m migrationFiles) apply(ctx context.Context, db *sql.DB) error {
	provider, err := m.provider(db)
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bringing the schema up to date: %w", err)
	}
	return nil
}

func newIncarnation() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// drawIncarnation gives a new store its id.
func drawIncarnation(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('incarnation', ?)`, newIncarnation())
	if err != nil {
		return fmt.Errorf("giving the store its incarnation: %w", err)
	}
	return nil
}

func readIncarnation(ctx context.Context, rows querier) (string, error) {
	var id string
	err := rows.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'incarnation'`).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", errors.New("the store lacks its incarnation: it is damaged; " + adviceRestore)
	}
	if err != nil {
		return "", fmt.Errorf("reading the store's incarnation: %w", explain(ctx, err))
	}
	return id, nil
}
