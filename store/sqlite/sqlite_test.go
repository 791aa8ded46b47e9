package sqlite

import (
	"bufio"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

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

func TestEmpty(t *testing.T) {
	ctx := t.Context()
	tests := map[string]struct {
		fill  func(*DB) error
		empty bool
	}{
		"new": {func(*DB) error { return nil }, true},
		"records, attempts, events": {func(db *DB) error {
			return errors.Join(
				db.PutRecord(ctx, store.Record{Namespace: "n", Key: "k"}),
				db.PutAttempts(ctx, store.Attempts{Scope: "s", Key: "k"}),
				db.AppendEvent(ctx, store.Event{Name: "e"}),
			)
		}, true},
		"a user": {func(db *DB) error { return db.CreateUser(ctx, store.User{ID: "u1", Name: "alice"}) }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			db := openNew(t)
			must(t, test.fill(db))
			empty, err := db.Empty(ctx)
			must(t, err)
			if empty != test.empty {
				t.Errorf("empty: %v, want %v", empty, test.empty)
			}
		})
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

// TestTwoProcessesCount has two stores on one file, each with a writing
// connection, as two processes have.
func TestTwoProcessesCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	stores := []*DB{openAt(t, path), openAt(t, path)}
	const each = 50
	var running sync.WaitGroup
	for i := range each * len(stores) {
		running.Go(func() {
			err := stores[i%len(stores)].Atomically(t.Context(), func(tx store.Tx) error {
				a, err := tx.GetAttempts(t.Context(), "s", "k")
				if err != nil {
					return err
				}
				a.Failures++
				return tx.PutAttempts(t.Context(), a)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	a, err := stores[0].GetAttempts(t.Context(), "s", "k")
	if err != nil || a.Failures != each*len(stores) {
		t.Errorf("counted %d (%v), want %d", a.Failures, err, each*len(stores))
	}
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

func TestStartsAtOnceMakeOneStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	const starts = 4
	incarnations := make([]string, 2*starts)
	var running sync.WaitGroup
	for i := range starts {
		running.Go(func() {
			output, err := child(t, "open", path).Output()
			if err != nil {
				t.Errorf("a process: %v", err)
			}
			incarnations[i] = strings.TrimSpace(string(output))
		})
		running.Go(func() {
			db, err := Open(t.Context(), path)
			if err != nil {
				t.Errorf("in this process: %v", err)
				return
			}
			incarnations[starts+i] = db.Incarnation()
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if different := slices.Compact(incarnations); len(different) != 1 || different[0] == "" {
		t.Errorf("got incarnations %q, want one", incarnations)
	}
}

// TestQueriesUseIndexes asks SQLite how it would run each statement: none may
// go through a whole table, but where the whole table is asked for.
func TestQueriesUseIndexes(t *testing.T) {
	db := openNew(t)
	ctx := t.Context()
	planned := &planning{querier: db.writing, t: t}
	o := operations{rows: planned, write: within(planned)}
	_, _ = o.UserByID(ctx, "u")
	_, _ = o.UserByName(ctx, "n")
	_, _ = o.UserByEmail(ctx, "e")
	_, _ = o.CredentialsOf(ctx, "u")
	_ = o.UpdateCredential(ctx, store.Credential{})
	_, _ = o.SignOnByID(ctx, "s")
	_ = o.UpdateSignOn(ctx, store.SignOn{Proofs: []assurance.Proof{}})
	_ = o.TouchSignOn(ctx, "s", now)
	_, _ = o.EndSignOnsOf(ctx, "u", now, "r")
	_, _ = o.ListSignOns(ctx, "u", now)
	_, _ = o.GetRecord(ctx, "n", "k", now)
	_, _ = o.TakeRecord(ctx, "n", "k", now)
	_ = o.DeleteRecordsOf(ctx, "n", "u")
	_, _ = o.GetAttempts(ctx, "s", "k")
	_ = o.DeleteAttempts(ctx, "s", "k")
	_, _ = o.BrowserByToken(ctx, "u", "h")
	_ = o.DeleteBrowsersOf(ctx, "u")
	_, _ = o.ListEvents(ctx, store.EventFilter{UserID: "u"})
	_, _ = o.ListEvents(ctx, store.EventFilter{Name: "n"})
	for _, s := range sweeps(now, store.SweepLimits{
		KeepAttempts: map[string]int{"s": 1}, AttemptsBefore: now, SignOnsBefore: now, BrowsersBefore: now, EventsBefore: now,
	}) {
		_, _ = o.change(ctx, "sweeping", statement{s.sql, append(s.args, sweepBatch)})
	}
	if planned.seen < 20 {
		t.Errorf("saw %d statements only", planned.seen)
	}
}
