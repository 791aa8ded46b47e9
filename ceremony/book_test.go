package ceremony_test

import (
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/store/storetest"
)

// TestQuestionsAreTurnedByOneAtATime has two find a question: the one who comes
// second lost a race, be it that the first one closed it.
func TestQuestionsAreTurnedByOneAtATime(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return noon }
	folder := t.TempDir()
	opened, err := sqlite.Open(t.Context(), filepath.Join(folder, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	db := storetest.Rerun(opened)
	sealer, err := keys.Open(t.Context(), keys.FileStorage(filepath.Join(folder, "keys.json")), rand.Reader, clock, true)
	if err != nil {
		t.Fatal(err)
	}
	book := ceremony.Book{Sealer: sealer, Clock: clock}
	ref := ceremony.Ref("flow", ceremony.Proof, assurance.Email, 0)
	fresh := ceremony.Question{
		Ref: ref, Purpose: ceremony.Proof, Kind: assurance.Email, Kept: noon.Add(time.Hour),
	}.Turned(factors.Turn{State: []byte("first")})
	if err := book.Put(t.Context(), db, fresh); err != nil {
		t.Fatal(err)
	}
	if err := book.Put(t.Context(), db, fresh); !errors.Is(err, store.ErrConflict) {
		t.Errorf("put by another tab: %v", err)
	}
	found, err := book.Find(t.Context(), db, ref)
	if err != nil || string(found.State) != "first" {
		t.Fatalf("%q, %v", found.State, err)
	}
	second := found.Turned(factors.Turn{State: []byte("second")})
	if err := book.Put(t.Context(), db, second); err != nil {
		t.Fatal(err)
	}
	if err := book.Put(t.Context(), db, second); !errors.Is(err, store.ErrConflict) {
		t.Errorf("turned by another: %v", err)
	}
	err = db.Atomically(t.Context(), func(tx store.Tx) error {
		_, err := book.Close(t.Context(), tx, ref)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := book.Put(t.Context(), db, second); !errors.Is(err, store.ErrConflict) {
		t.Errorf("closed by another: %v", err)
	}
	if _, err := book.Find(t.Context(), db, ref); !errors.Is(err, ceremony.ErrNone) {
		t.Errorf("closed: %v", err)
	}
}
