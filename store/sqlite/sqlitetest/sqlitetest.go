// Package sqlitetest provides new SQLite stores for the tests of packages that use a
// store. It must not know what a row means.
package sqlitetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/portcullis-mfa/portcullis/store/sqlite"
)

// migrated is the file of an empty store. Migrating one takes longer than most tests
// need for all else, so each test binary does it once.
var migrated = sync.OnceValues(migrate)

func migrate() (file []byte, err error) {
	folder, err := os.MkdirTemp("", "sqlitetest-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for a store: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	path := filepath.Join(folder, "store.db")
	db, err := sqlite.Open(context.Background(), path)
	if err != nil {
		return nil, err
	}
	// Closing moves everything from the write-ahead log into the file.
	if err := db.Close(); err != nil {
		return nil, fmt.Errorf("closing a store: %w", err)
	}
	return os.ReadFile(path)
}

// Open returns an empty store in a folder of its own, and closes it when the test ends.
// It has what a store that sqlite.Open makes has, except that all stores of a test
// binary share one incarnation. Tests that are about new stores, or that tell stores
// apart, need sqlite.Open.
func Open(t testing.TB) *sqlite.DB {
	t.Helper()
	file, err := migrated()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), path)
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
