package sqlite

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestReopenedStoreIsTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	first, err := Open(t.Context(), path)
	must(t, err)
	must(t, first.CreateUser(t.Context(), store.User{ID: "u1", Name: "alice", Groups: []string{"admins"}}))
	must(t, first.Close())

	second := openAt(t, path)
	if _, err := second.UserByName(t.Context(), "alice"); err != nil {
		t.Errorf("the user is gone: %v", err)
	}
	if second.Incarnation() != first.Incarnation() {
		t.Errorf("incarnation changed from %s to %s", first.Incarnation(), second.Incarnation())
	}
	if other := openNew(t); other.Incarnation() == first.Incarnation() {
		t.Error("two stores have the same incarnation")
	}
}

func TestRelativeAndAwkwardPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, path := range []string{"relative.db", "a b/50%/q?x=1&y#z/ü;'.db", "%41.db", ":memory:", "file:x.db"} {
		t.Run(path, func(t *testing.T) {
			db := openAt(t, path)
			must(t, db.CreateUser(t.Context(), store.User{ID: "u1", Name: "alice"}))
			if _, err := os.Stat(path); err != nil {
				t.Errorf("the file is elsewhere: %v", err)
			}
		})
	}
}

func TestRenewedStoreStaysRenewed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	first, err := Open(t.Context(), path)
	must(t, err)
	must(t, first.CreateUser(t.Context(), store.User{ID: "u1", Name: "alice"}))
	must(t, first.Renew(t.Context(), first.Incarnation()))
	position, err := first.Position(t.Context())
	must(t, err)
	must(t, first.Close())

	second := openAt(t, path)
	if second.Incarnation() != first.Incarnation() {
		t.Errorf("incarnation changed from %s to %s", first.Incarnation(), second.Incarnation())
	}
	if again, err := second.Position(t.Context()); again != position || err != nil {
		t.Errorf("position %d (%v), want %d", again, err, position)
	}
}

// TestCopyBroughtBackIsBehind is what a start with an older file notices.
func TestCopyBroughtBackIsBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	db, err := Open(t.Context(), path)
	must(t, err)
	must(t, db.CreateUser(t.Context(), store.User{ID: "u1", Name: "alice"}))
	must(t, db.CreateSignOn(t.Context(), store.SignOn{ID: "s1", UserID: "u1"}))
	must(t, copyFrom(t.Context(), path))
	must(t, db.EndSignOn(t.Context(), "s1", now, "signed out"))
	position, err := db.Position(t.Context())
	must(t, err)
	must(t, db.Close())

	must(t, os.Rename(path+".copy", path))
	older := openAt(t, path)
	if older.Incarnation() != db.Incarnation() {
		t.Error("a copy has another incarnation")
	}
	if at, err := older.Position(t.Context()); at >= position || err != nil {
		t.Errorf("the copy is at %d (%v), and its original was at %d", at, err, position)
	}
}

// TestTransactionIsToldOnce has a transaction that ends several sign-ons: its
// followers drop what they keep once, not once for each.
func TestTransactionIsToldOnce(t *testing.T) {
	db := openNew(t)
	must(t, db.Atomically(t.Context(), func(tx store.Tx) error {
		err := tx.CreateUser(t.Context(), store.User{ID: "u1", Name: "alice"})
		for i := range 3 {
			err = errors.Join(err, tx.CreateSignOn(t.Context(), store.SignOn{ID: strconv.Itoa(i), UserID: "u1"}))
		}
		return err
	}))
	var told tellings
	defer db.Follow(&told)()
	must(t, db.Atomically(t.Context(), func(tx store.Tx) error {
		_, err := tx.EndSignOnsOf(t.Context(), "u1", now, "x")
		return errors.Join(err, tx.UpdateUser(t.Context(), store.User{ID: "u1", Name: "bob", Version: 1}))
	}))
	if len(told.changes) != 1 || len(told.changes[0]) != 4 {
		t.Errorf("told %v, want four changes at once", told.changes)
	}
	if !slices.Equal(told.heartbeats, []time.Time{store.Always}) {
		t.Errorf("heartbeats %v", told.heartbeats)
	}
}

// tellings is a follower for a test that writes from one goroutine.
type tellings struct {
	changes    [][]store.Change
	heartbeats []time.Time
}

func (l *tellings) Changed(changes []store.Change) { l.changes = append(l.changes, changes) }
func (l *tellings) Heartbeat(sent time.Time)       { l.heartbeats = append(l.heartbeats, sent) }
func (l *tellings) Renewed(string)                 {}
func (l *tellings) Lost()                          {}

// TestRolledBack holds the errors of a commit by which followers aren't told.
func TestRolledBack(t *testing.T) {
	full := fmt.Errorf("committing: %w", errors.New("disk full"))
	for err, want := range map[error]bool{
		nil: false, full: false, sql.ErrTxDone: true, context.Canceled: true,
		fmt.Errorf("committing: %w", context.DeadlineExceeded): true,
	} {
		if rolledBack(err) != want {
			t.Errorf("%v: %v, want %v", err, !want, want)
		}
	}
}

// TestConnectionSettings reads back what durability rests on.
func TestConnectionSettings(t *testing.T) {
	db := openNew(t)
	settings := map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000", "trusted_schema": "0",
	}
	for name, want := range settings {
		var got string
		must(t, db.writing.QueryRow(`PRAGMA `+name).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if _, err := db.reading.Exec(`DELETE FROM users`); err == nil {
		t.Error("a reading connection wrote")
	}
}

func TestReadsDoNotWaitForWriters(t *testing.T) {
	db := openNew(t)
	must(t, db.CreateUser(t.Context(), store.User{ID: "u1", Name: "alice"}))
	must(t, db.Atomically(t.Context(), func(tx store.Tx) error {
		if err := tx.UpdateUser(t.Context(), store.User{ID: "u1", Name: "changed", Version: 1}); err != nil {
			return err
		}
		// The transaction is open until this returns.
		u, err := db.UserByID(t.Context(), "u1")
		if err == nil && u.Name != "alice" {
			t.Errorf("read %q, which is not committed", u.Name)
		}
		return err
	}))
}

func TestWaitingWriterGivesUpWithItsContext(t *testing.T) {
	db := openNew(t)
	must(t, db.Atomically(t.Context(), func(store.Tx) error {
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- db.CreateUser(ctx, store.User{ID: "u1", Name: "alice"}) }()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		return nil
	}))
	if n, err := db.CountUsers(t.Context()); n != 0 || err != nil {
		t.Errorf("%d users (%v), want none", n, err)
	}
}

// TestWriterOfAnotherProcess holds the write lock on a connection that the
// store doesn't know.
func TestWriterOfAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	db := openAt(t, path)
	other, err := openConnections(path, writingConnection, 1)
	must(t, err)
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	must(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- db.CreateUser(ctx, store.User{ID: "u1", Name: "alice"}) }()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	go func() { result <- db.CreateUser(t.Context(), store.User{ID: "u1", Name: "alice"}) }()
	must(t, tx.Rollback())
	must(t, <-result)
}

// TestTransactionRolledBackUnderIt goes on in a transaction that its ended
// context has rolled back already.
func TestTransactionRolledBackUnderIt(t *testing.T) {
	tests := map[string]func(met error) error{
		"fn returns what it met": func(met error) error { return met },
		"fn returns nothing":     func(error) error { return nil },
	}
	for name, returns := range tests {
		t.Run(name, func(t *testing.T) {
			db := openNew(t)
			ctx, cancel := context.WithCancel(t.Context())
			err := db.Atomically(ctx, func(tx store.Tx) error {
				cancel()
				for {
					if err := tx.AppendEvent(t.Context(), store.Event{Name: "e"}); err != nil {
						return returns(err)
					}
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, context.Canceled)
			}
			if events, err := db.ListEvents(t.Context(), store.EventFilter{}); len(events) != 0 || err != nil {
				t.Errorf("%d events (%v), want none", len(events), err)
			}
		})
	}
}

// TestFullDisk limits the file's size in place of the disk's.
func TestFullDisk(t *testing.T) {
	db := openNew(t)
	large := store.Record{Namespace: "n", Key: "k", Value: make([]byte, 1<<20), Expires: eternity}
	limit := func(pages string) {
		var now int64
		must(t, db.writing.QueryRow(`PRAGMA max_page_count = `+pages).Scan(&now))
	}
	limit("60")
	err := db.PutRecord(t.Context(), large)
	var failure *sqlite.Error
	if !errors.As(err, &failure) || failure.Code() != codes.SQLITE_FULL {
		t.Fatalf("got %v, want SQLite's own error in it", err)
	}
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		t.Fatalf("%v passes for a decision", err)
	}
	if _, err := db.GetRecord(t.Context(), "n", "k", now); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("got %v, want the record not to be there", err)
	}
	limit("1000000")
	must(t, db.PutRecord(t.Context(), large)) // it recovers by itself
}

func TestKilledWriterLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	acknowledged := make(map[string]bool)
	for range 3 {
		maps.Copy(acknowledged, killWriter(t, path))
		checkPairs(t, path, acknowledged)
	}
}

// killWriter runs a writing child, kills it amid its writes and returns the
// keys of which it printed that they were written.
func killWriter(t *testing.T, path string) map[string]bool {
	t.Helper()
	writer := child(t, "write", path)
	output, err := writer.StdoutPipe()
	must(t, err)
	must(t, writer.Start())
	keys := make(map[string]bool)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		keys[lines.Text()] = true
		if len(keys) == 200 {
			must(t, writer.Process.Kill())
		}
	}
	if err := writer.Wait(); err == nil || len(keys) < 200 {
		t.Fatalf("the child was not killed amid its writes: %v after %d", err, len(keys))
	}
	return keys
}

func checkPairs(t *testing.T, path string, acknowledged map[string]bool) {
	t.Helper()
	db, err := Open(t.Context(), path)
	must(t, err)
	defer db.Close()
	for key := range acknowledged {
		if _, err := db.GetRecord(t.Context(), "pair", key, now); err != nil {
			t.Errorf("acknowledged %s: %v", key, err)
		}
	}
	var halves int
	must(t, db.reading.QueryRow(`SELECT count(*) FROM
		(SELECT key FROM records UNION ALL SELECT key FROM attempts) GROUP BY key HAVING count(*) <> 2
		UNION ALL SELECT 0`).Scan(&halves))
	if halves != 0 {
		t.Errorf("a transaction is half there")
	}
}

// TestQueriesUseIndexes asks SQLite how it would run each statement: none may
// go through a whole table, but where the whole table is asked for.
func TestQueriesUseIndexes(t *testing.T) {
	db := openNew(t)
	ctx := t.Context()
	planned := &planning{querier: db.writing, t: t}
	o := operations{rows: planned, write: within(&transaction{querier: planned})}
	_, _ = o.UserByID(ctx, "u")
	_, _ = o.UserByName(ctx, "n")
	_, _ = o.UserByEmail(ctx, "e")
	_ = db.CreateUser(ctx, store.User{ID: "u"})
	_ = o.DeleteUser(ctx, "u")
	_, _ = o.CredentialsOf(ctx, "u")
	_ = o.UpdateCredential(ctx, store.Credential{})
	_, _ = o.SignOnByID(ctx, "s")
	_ = o.UpdateSignOn(ctx, store.SignOn{Proofs: []assurance.Proof{}})
	_ = o.TouchSignOns(ctx, []store.Activity{{SignOn: "s", Seen: now}})
	_ = o.EndUnseenSignOn(ctx, "s", now, now, "r")
	_, _ = o.EndSignOnsOf(ctx, "u", now, "r")
	lastSignOn := store.Page[store.SignOn]{After: store.SignOn{ID: "s"}}
	_, _ = o.ListSignOns(ctx, "u", now, lastSignOn)
	_, _ = o.ListSignOns(ctx, "", now, lastSignOn)
	_, _ = o.ListUsers(ctx, store.Page[store.User]{})
	_, _ = o.ListDevices(ctx, store.Page[store.Device]{After: store.Device{ID: "d"}})
	_, _ = o.GetRecord(ctx, "n", "k", now)
	_, _ = o.TakeRecord(ctx, "n", "k", now)
	_ = o.DeleteRecordsOf(ctx, "n", "u", "")
	_, _ = o.GetAttempts(ctx, "s", "k")
	_ = o.DeleteAttempts(ctx, "s", "k")
	_, _ = o.BrowserByToken(ctx, "u", "h")
	_, _ = o.BrowsersOf(ctx, "u")
	_ = o.RememberBrowser(ctx, "u", "b", now, assurance.TOTP)
	_ = o.ForgetBrowsersOf(ctx, "u")
	_ = o.DeleteBrowsersOf(ctx, "u")
	_, _ = o.DeviceByID(ctx, "d")
	_, _ = o.DeviceByCertificate(ctx, "c")
	_, _ = o.DevicesOf(ctx, "u")
	_ = o.UpdateDevice(ctx, store.Device{})
	must(t, db.CreateDevice(ctx, store.Device{ID: "d", Certificate: "c"}))
	must(t, o.RenewDevice(ctx, store.Device{ID: "d", Certificate: "another", Version: 1}))
	_, _ = o.DeviceByKey(ctx, "k")
	_, _ = o.CertificatesOf(ctx, "d")
	_, _ = o.RevokedCertificates(ctx, now)
	_ = o.RevokeDevice(ctx, "d", now, "r")
	_ = o.TouchDevices(ctx, []store.DeviceActivity{{Device: "d", Seen: now}})
	_ = o.BarCertificate(ctx, "c", now)
	_, _ = o.IsBarred(ctx, "c")
	_ = o.KeepIssuer(ctx, store.Issuer{Fingerprint: "f"})
	_ = o.GiveUpName(ctx, store.FormerName{Name: "n", UserID: "u"})
	_, _ = o.ListFormerNames(ctx, "n")
	_, _ = o.ListEvents(ctx, store.EventFilter{UserID: "u"})
	_, _ = o.ListEvents(ctx, store.EventFilter{Name: "n"})
	_, _ = o.EventsAfter(ctx, 1, store.EventFilter{UserID: "u"})
	for _, s := range sweeps(now, store.SweepLimits{
		KeepAttempts: map[string]int{"s": 1}, AttemptsBefore: now, SignOnsBefore: now, BrowsersBefore: now, DevicesBefore: now, PendingDevicesBefore: now,
		FormerNamesBefore: now, EventsBefore: now,
	}) {
		_, _ = o.change(ctx, "sweeping", statement{s.sql, append(s.args, sweepBatch)})
	}
	if planned.seen < 45 {
		t.Errorf("saw %d statements only", planned.seen)
	}
}

// TestTouchesAreSplit counts the transactions of a large batch: whoever signs
// in meanwhile waits for one of them, not for all.
func TestTouchesAreSplit(t *testing.T) {
	db := openNew(t)
	transactions := 0
	o := operations{rows: db.reading, write: func(ctx context.Context, fn func(*transaction) error) error {
		transactions++
		return db.transact(ctx, fn)
	}}
	must(t, o.TouchSignOns(t.Context(), make([]store.Activity, 10_000)))
	if transactions < 10 || transactions > 100 {
		t.Errorf("10,000 touches took %d transactions", transactions)
	}
}
