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

// TestTwoHandles opens one file twice, which the lock keeps processes from doing: two
// connections that write are told apart by SQLite alone.
func TestTwoHandles(t *testing.T) {
	conformance.RunApart(t, func(t *testing.T) conformance.Handles {
		first := openNew(t)
		held, err := takeHold(t.Context(), first.path+".again")
		if err != nil {
			t.Fatal(err)
		}
		second, err := connect(t.Context(), first.path, held)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := second.Close(); err != nil {
				t.Error(err)
			}
		})
		return conformance.Handles{First: first, Second: second}
	})
}
