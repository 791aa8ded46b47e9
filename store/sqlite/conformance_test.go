package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/portcullis-mfa/portcullis/store/conformance"
)

func openNew(t testing.TB) *DB {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "portcullis.db"))
}

func openAt(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), path)
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

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Handles {
		db := openNew(t) // which no other process can open
		return conformance.Handles{First: db, Second: db}
	})
}
