package postgres

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/store/transfer"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 123456000, time.UTC)

// populate puts a row into every table.
func populate(t *testing.T, s store.Store) {
	t.Helper()
	ctx := t.Context()
	if err := s.Renew(ctx, s.Incarnation()); err != nil {
		t.Fatal(err)
	}
	err := s.Atomically(ctx, func(tx store.Tx) error {
		return errors.Join(
			tx.CreateUser(ctx, store.User{ID: "u1", Name: "zoë", Groups: []string{"a"}, Created: noon}),
			tx.CreateUser(ctx, store.User{ID: "u2", Name: "Z", NewPassword: true}),
			tx.CreateCredential(ctx, store.Credential{ID: "c1", UserID: "u1", Secret: []byte{0, 255}}),
			tx.CreateSignOn(ctx, store.SignOn{ID: "s1", UserID: "u1", Started: noon, Expires: noon.Add(time.Hour), Shared: true, Proofs: []assurance.Proof{{Factor: assurance.Password, At: noon}}}),
			tx.PutRecord(ctx, store.Record{Namespace: "n", Key: "k", Owner: "u1", Value: []byte("v"), Expires: noon}),
			tx.PutAttempts(ctx, store.Attempts{Scope: "s", Key: "k", Failures: 3, First: noon, Last: noon}),
			tx.CreateBrowser(ctx, store.Browser{ID: "b1", UserID: "u1", TokenHash: "h"}),
			tx.CreateDevice(ctx, store.Device{ID: "d1", UserID: "u1", Certificate: "f00d"}),
			tx.BarCertificate(ctx, "c0ffee", noon),
			tx.KeepIssuer(ctx, store.Issuer{Fingerprint: "f", Certificate: []byte("der"), Expires: noon}),
			tx.GiveUpName(ctx, store.FormerName{Name: "old", UserID: "u1", GivenUp: noon}),
			tx.QueueMessage(ctx, store.Message{ID: "m1", UserID: "u1", State: store.MessageWaiting, Data: []byte("x")}),
			tx.QueueMessage(ctx, store.Message{ID: "m2", State: store.MessageWaiting}),
			tx.CreateAccessToken(ctx, store.AccessToken{ID: "t1", Name: "n", Selector: "x", Scope: []byte("{}")}),
			tx.CreateAccessToken(ctx, store.AccessToken{ID: "t2", UserID: "u1", Name: "n", Selector: "y"}),
			tx.AppendEvent(ctx, store.Event{At: noon, Name: "swept"}),
			tx.AppendEvent(ctx, store.Event{At: noon, Name: "e", UserID: "u1", Fields: map[string]string{"a": "b"}}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTransfer copies a store from SQLite to PostgreSQL and back: all of it, the life
// that it lives included.
func TestTransfer(t *testing.T) {
	ctx := t.Context()
	newSQLite := func() *sqlite.DB {
		db, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "store.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	first := newSQLite()
	populate(t, first)
	address := Settings{URL: server.URL(newDatabase(t))}
	over, back := openAt(t, address), newSQLite()
	copied := func(from transfer.Source, to transfer.Target) []transfer.Count {
		t.Helper()
		counts, err := transfer.Copy(ctx, from, to, func(transfer.Count) {})
		if err != nil {
			t.Fatal(err)
		}
		return counts
	}
	there := copied(first, over)
	for _, count := range there {
		if count.Rows == 0 {
			t.Errorf("nothing in %s was copied", count.Table)
		}
	}
	if again := copied(over, back); !reflect.DeepEqual(again, there) {
		t.Errorf("there %v, and back %v", there, again)
	}
	if _, err := transfer.Copy(ctx, first, over, func(transfer.Count) {}); !errors.Is(err, transfer.ErrNotEmpty) {
		t.Errorf("a store that is in use was overwritten: %v", err)
	}
	// As after a start.
	db := openAt(t, address)
	position, err := first.Position(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if now, err := db.Position(ctx); err != nil || now < position {
		t.Errorf("the position was %d and is %d, %v", position, now, err)
	}
	if db.Incarnation() != first.Incarnation() {
		t.Error("the copy lives another life: everybody would have to sign in again")
	}
	signOn, err := db.SignOnByID(ctx, "s1")
	if want, _ := first.SignOnByID(ctx, "s1"); err != nil || !reflect.DeepEqual(signOn, want) {
		t.Errorf("the sign-on is %+v, %v", signOn, err)
	}
	h := new(heard)
	defer db.Follow(h)()
	if err := errors.Join(db.AppendEvent(ctx, store.Event{Name: "next"}), db.EndSignOn(ctx, "s1", noon, "x")); err != nil {
		t.Fatal(err)
	}
	h.await(t)
	if h.lost > 0 || db.Incarnation() != first.Incarnation() {
		t.Errorf("lost %d times", h.lost)
	}
	events, err := db.EventsAfter(ctx, 2, store.EventFilter{})
	if err != nil || len(events) != 1 || events[0].ID != 3 {
		t.Errorf("after the events that were copied: %v, %v", events, err)
	}
}
