package postgres

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/portcullis-mfa/portcullis/store"
)

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"postgres:///db?host=/run/postgresql":                                "",
		"host=/run/postgresql dbname=db":                                     "",
		"postgres://a@127.0.0.1/db":                                          "",
		"postgres://a@[::1]/db?sslmode=disable":                              "",
		"postgres://a@localhost/db":                                          "",
		"postgres://a@db.example.com/db?sslmode=verify-full":                 "",
		"postgres://a@db1.example.com,db2.example.com/d?sslmode=verify-full": "",
		"postgres://a@db.example.com/db":                                     "sslmode=verify-full",
		"postgres://a@db.example.com/db?sslmode=disable":                     "sslmode=verify-full",
		"postgres://a@db.example.com/db?sslmode=allow":                       "sslmode=verify-full",
		"postgres://a@db.example.com/db?sslmode=prefer":                      "sslmode=verify-full",
		"postgres://a@db.example.com/db?sslmode=require":                     "sslmode=verify-full",
		"postgres://a@db.example.com/db?sslmode=verify-ca":                   "sslmode=verify-full",
		"postgres://a@192.0.2.1/db":                                          "sslmode=verify-full",
		"postgres://a@127.0.0.1,db.example.com/db":                           "sslmode=verify-full",
		"postgres://a:geheim@[/db":                                           "address of the database",
	} {
		err := Settings{URL: address}.Check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error tells the password: %v", err)
		}
		// Where it listens, the same holds.
		if listening := (Settings{URL: "postgres:///db?host=/run/postgresql", Listen: address}).Check(); (listening == nil) != (want == "") {
			t.Errorf("listening at %s: %v", address, listening)
		}
	}
}

// emptyDatabase returns the address of a database without a store.
func emptyDatabase(t *testing.T) string { return server.URL(newDatabaseLike(t, "template1")) }

// TestManyStart has ten processes start at once on a database that is empty.
func TestManyStart(t *testing.T) {
	address := emptyDatabase(t)
	if _, err := OpenExisting(t.Context(), Settings{URL: address}); !errors.Is(err, store.ErrMissing) {
		t.Fatalf("there is no store, but: %v", err)
	}
	opened := make(chan *DB, 10)
	for range cap(opened) {
		go func() {
			db, err := Open(context.Background(), Settings{URL: address + "&pool_max_conns=2"})
			if err != nil {
				t.Error(err)
			}
			opened <- db
		}()
	}
	lives := make(map[string]bool)
	for range cap(opened) {
		if db := <-opened; db != nil {
			lives[db.Incarnation()] = true
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if len(lives) != 1 {
		t.Errorf("they live different lives: %v", lives)
	}
}

// with returns the migrations with one more.
func with(t *testing.T, name, sql string) migrationFiles {
	t.Helper()
	files := fstest.MapFS{name: {Data: []byte("-- +goose Up\n" + sql)}}
	err := fs.WalkDir(embeddedMigrations(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(embeddedMigrations(), path)
		files[path] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return migrationFiles{files}
}

// TestNewerSchema has a newer program change the schema while this one runs: it goes
// on, and can start again, unless the newer one says that it can't.
func TestNewerSchema(t *testing.T) {
	s := Settings{URL: server.URL(newDatabaseLike(t, template))}
	running := openAt(t, s)
	for _, step := range []struct {
		name, sql string
		usable    bool
	}{
		{"90001_more.sql", `ALTER TABLE users ADD COLUMN shoe_size bigint NOT NULL DEFAULT 0;`, true},
		{"90002_less.sql", `UPDATE meta SET value = '90002' WHERE key = 'oldest_program';`, false},
	} {
		newer, err := open(t.Context(), s, with(t, step.name, step.sql), true)
		if err != nil {
			t.Fatal(err)
		}
		if err := newer.Close(); err != nil {
			t.Error(err)
		}
		if err := running.CreateUser(t.Context(), store.User{ID: step.name, Name: step.name}); err != nil {
			t.Errorf("%s: the running program: %v", step.name, err)
		}
		again, err := Open(t.Context(), s)
		if (err == nil) != step.usable || err != nil && !strings.Contains(err.Error(), "start the newer program") {
			t.Errorf("%s: starting again: %v", step.name, err)
		}
		if again != nil {
			if err := again.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestInterrupted has making a store end amid it: the next start goes on.
func TestInterrupted(t *testing.T) {
	s := Settings{URL: server.URL(newDatabase(t))}
	connection, err := pgx.Connect(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = connection.Exec(t.Context(), `DELETE FROM meta WHERE key = 'incarnation'`)
	if err := errors.Join(err, connection.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if db := openAt(t, s); db.Incarnation() == "" {
		t.Error("the store has no incarnation")
	}
}
