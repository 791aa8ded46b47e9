package sqlite

import (
	"context"
	"database/sql"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"

	_ "modernc.org/sqlite" // the driver, pure Go
)

// connectionKind is what a connection is for: settings of the driver.
type connectionKind url.Values

// Every connection opens an existing file only (mode=rw never creates one),
// waits for locks of other processes for busyTimeout, and takes no liberties
// with SQL. cell_size_check finds some damage before it spreads.
var (
	writingConnection = connectionKind{
		"_txlock": {"immediate"},
		"_pragma": {"synchronous(FULL)", "foreign_keys(ON)", "trusted_schema(OFF)", "cell_size_check(ON)"},
	}
	readingConnection = connectionKind{
		"_query_only": {"on"},
		"_pragma":     {"trusted_schema(OFF)", "cell_size_check(ON)"},
	}
	// upkeepConnection checks, copies and migrates.
	upkeepConnection = connectionKind{
		"_txlock": {"immediate"},
		"_pragma": {"synchronous(FULL)", "foreign_keys(ON)", "trusted_schema(OFF)", "cell_size_check(ON)"},
	}
	// holdConnection only ever holds a lock, so no journal need come of it.
	holdConnection = connectionKind{
		"mode":          {"rwc"},
		"_pragma":       {"journal_mode(MEMORY)"},
		"_busy_timeout": {"8000"}, // a process that stops cuts its connections within 5 s
	}
)

const busyTimeout = "10000" // milliseconds

// openConnections returns up to most connections of a kind; none is made yet.
func openConnections(path string, kind connectionKind, most int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dataSource(path, kind))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	return db, nil
}

func dataSource(path string, kind connectionKind) string {
	settings := url.Values{
		"mode":          {"rw"},
		"_busy_timeout": {busyTimeout},
		"_defensive":    {"1"},
		"_dqs":          {"0"},
		"_error_rc":     {"1"},
	}
	for name, values := range kind {
		settings[name] = values
	}
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // a drive letter
	}
	file := url.URL{Scheme: "file", Path: slashed, RawQuery: settings.Encode()}
	return file.String()
}

// querier is what a transaction and a pool of connections have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// pool is the connections for reading outside transactions. The queries that
// requests wait for are prepared once.
type pool struct {
	*sql.DB
	prepared map[string]*sql.Stmt
}

func newPool(ctx context.Context, path string) (*pool, error) {
	db, err := openConnections(path, readingConnection, max(4, runtime.GOMAXPROCS(0)))
	if err != nil {
		return nil, err
	}
	p := &pool{DB: db, prepared: make(map[string]*sql.Stmt)}
	for _, query := range []string{selectUserByID, selectSignOnByID, selectDeviceByCertificate} {
		statement, err := db.PrepareContext(ctx, query)
		if err != nil {
			_ = p.Close() // the first error says more
			return nil, explain(ctx, err)
		}
		p.prepared[query] = statement
	}
	return p, nil
}

// QueryRowContext uses the prepared statement of the query, if it has one.
func (p *pool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if statement, found := p.prepared[query]; found {
		return statement.QueryRowContext(ctx, args...)
	}
	return p.DB.QueryRowContext(ctx, query, args...)
}

// nameless lists columns as expressions without a name, for the queries that
// requests wait for: the driver allocates the name and the declared type of
// each column with each result, and nothing here reads them.
func nameless(columns string) string {
	names := strings.Split(columns, ", ")
	for i, name := range names {
		names[i] = `+` + name + ` AS ""`
	}
	return strings.Join(names, ", ")
}
