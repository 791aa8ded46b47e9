package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/portcullis-mfa/portcullis/store/transfer"
	"github.com/portcullis-mfa/portcullis/test/pgserver"
)

// server is the PostgreSQL server of all tests, and template a database with an empty
// store, of which each test has a copy.
var server *pgserver.Server

const template = "empty_store"

func TestMain(m *testing.M) {
	if err := startServer(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	if status == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

func startServer() (err error) {
	if server, err = pgserver.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := server.Exec(ctx, "postgres", `CREATE DATABASE `+template); err != nil {
		return errors.Join(err, server.Close())
	}
	db, err := Open(ctx, Settings{URL: server.URL(template)})
	if err != nil {
		return errors.Join(err, server.Close())
	}
	return db.Close()
}

// free are databases with an empty store that nobody uses: to empty one is cheaper
// than to make one.
var free struct {
	sync.Mutex
	databases []string
}

// newDatabase returns a database with an empty store, whose schema stays as it is.
func newDatabase(t testing.TB) string {
	t.Helper()
	name := takeDatabase()
	if name == "" {
		var err error
		if name, err = server.NewDatabase(t.Context(), template); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := server.Exec(context.Background(), name, empty); err != nil {
			t.Error(err)
			return
		}
		free.Lock()
		defer free.Unlock()
		free.databases = append(free.databases, name)
	})
	return name
}

func takeDatabase() (name string) {
	free.Lock()
	defer free.Unlock()
	if last := len(free.databases) - 1; last >= 0 {
		name, free.databases = free.databases[last], free.databases[:last]
	}
	return name
}

// empty empties a store.
var empty = func() string {
	sql := `DELETE FROM position; DELETE FROM changes; DELETE FROM leases; ALTER SEQUENCE events_id_seq RESTART;`
	for _, table := range slices.Backward(transfer.Tables) {
		sql += `DELETE FROM ` + table.Name + `;`
	}
	return sql
}()

// newDatabaseLike returns a copy of a database.

func newDatabaseLike(t testing.TB, template string) string {
	t.Helper()
	name, err := server.NewDatabase(t.Context(), template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.DropDatabase(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	return name
}

func openAt(t testing.TB, s Settings) *DB {
	t.Helper()
	s.Warn = func(doing string, err error) { t.Logf("%s: %v", doing, err) }
	db, err := Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
