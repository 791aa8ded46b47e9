package sqlite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-mfa/portcullis/store"
)

// soundFile makes a store with a few hundred rows and returns its path and
// its content.
func soundFile(t *testing.T) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "portcullis.db")
	db, err := Open(t.Context(), path)
	must(t, err)
	must(t, db.Atomically(t.Context(), func(tx store.Tx) error {
		for i := range 300 {
			id := strings.Repeat("x", 40) + string(rune('0'+i))
			if err := tx.CreateUser(t.Context(), store.User{ID: id, Name: id, DisplayName: id}); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, db.Close())
	content, err = os.ReadFile(path)
	must(t, err)
	return path, content
}

func TestUnsoundFilesAreRefusedAndLeft(t *testing.T) {
	_, sound := soundFile(t)
	damaged := func(change func([]byte)) []byte {
		content := slices.Clone(sound)
		change(content)
		return content
	}
	tests := map[string]struct {
		content []byte
		says    string
	}{
		"text":              {[]byte("This is not a database.\n"), "not an SQLite database"},
		"long text":         {bytes.Repeat([]byte("not a database. "), 1000), "not an SQLite database"},
		"zeros":             {make([]byte, 1<<16), "not an SQLite database"},
		"nothing":           {nil, "empty, and a store never is"},
		"header destroyed":  {damaged(func(c []byte) { copy(c, "garbage!") }), "not an SQLite database"},
		"schema destroyed":  {damaged(func(c []byte) { overwrite(c[100:4096]) }), "damaged"},
		"all rows":          {damaged(func(c []byte) { overwrite(c[4096:]) }), "damaged"},
		"a third cut off":   {sound[:len(sound)/3*2], "damaged"},
		"cut to the header": {sound[:100], "damaged"},
		"users' page":       {damaged(func(c []byte) { overwrite(pageWith(t, c, strings.Repeat("x", 40))) }), "damaged"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "portcullis.db")
			must(t, os.WriteFile(path, test.content, 0o600))
			wantRefused(t, path, test.says, "restore it from a backup")
			content, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(content, test.content) {
				t.Error("the file was changed")
			}
		})
	}
}

func overwrite(page []byte) {
	noise := sha256.Sum256(nil)
	for i := range page {
		page[i] = noise[i%len(noise)]
	}
}

// pageWith returns the last page of a file that holds the text.
func pageWith(t *testing.T, content []byte, text string) []byte {
	t.Helper()
	at := bytes.LastIndex(content, []byte(text))
	if at < 4096 {
		t.Fatalf("%q isn't there", text)
	}
	at -= at % 4096
	return content[at : at+4096]
}

func wantRefused(t *testing.T, path string, says ...string) {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err == nil {
		db.Close()
		t.Fatal("it was opened")
	}
	for _, text := range append(says, path) {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q doesn't say %q", err, text)
		}
	}
}

func TestPlacesWithoutStoreAreRefused(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	must(t, os.Mkdir(at("directory"), 0o700))
	must(t, os.Symlink(at("unmounted"), at("link")))
	must(t, os.WriteFile(at("lost-wal"), []byte("log"), 0o600))
	must(t, os.WriteFile(at("file"), nil, 0o600))
	foreign, err := sql.Open("sqlite", at("foreign"))
	must(t, err)
	_, err = foreign.Exec(`CREATE TABLE recipes (name TEXT)`)
	must(t, err)
	must(t, foreign.Close())
	tests := map[string]string{
		"directory":  "isn't a file",
		"link":       "mount the disk",
		"lost":       "put the file back",
		"foreign":    "not a store of Portcullis",
		"file/below": "not a directory",
	}
	for name, says := range tests {
		t.Run(name, func(t *testing.T) { wantRefused(t, at(name), says) })
	}
	for _, name := range []string{"unmounted", "lost"} {
		if _, err := os.Stat(at(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was made (%v)", name, err)
		}
	}
}

func TestInaccessibleFileIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("file modes don't keep this user out")
	}
	for _, mode := range []fs.FileMode{0o400, 0o200, 0} {
		t.Run(mode.String(), func(t *testing.T) {
			path, content := soundFile(t)
			must(t, os.Chmod(path, mode))
			wantRefused(t, path, "check the owner and mode")
			must(t, os.Chmod(path, 0o600))
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, content) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestUnfinishedCreationIsBegunAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	for _, remains := range []string{".new", ".new-journal"} {
		must(t, os.WriteFile(path+remains, []byte("half a store"), 0o600))
	}
	openAt(t, path)
}

func TestFailedCreationLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	db, err := open(t.Context(), path, withMigration(t, `CREATE NONSENSE;`), true)
	if err == nil {
		db.Close()
		t.Fatal("it was opened")
	}
	for _, name := range []string{path, path + ".new", path + ".new-journal"} {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there (%v)", name, err)
		}
	}
	openAt(t, path)
}

func TestOpenEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	held, err := takeHold(t.Context(), path)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := Open(ctx, path)
		result <- err
	}()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	must(t, held.release())
	openAt(t, path)
}

func TestOthersCannotReadTheFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no file modes")
	}
	path := filepath.Join(t.TempDir(), "new", "directory", "portcullis.db")
	db, err := Open(t.Context(), path)
	must(t, err)
	must(t, db.CreateUser(t.Context(), store.User{ID: "u1", Name: "alice"}))
	modes := map[string]fs.FileMode{
		filepath.Dir(path): 0o700, filepath.Dir(filepath.Dir(path)): 0o700,
		path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, path + ".lock": 0o600, path + ".reserve": 0o600,
	}
	wantModes(t, modes)
	must(t, db.Close())

	must(t, os.Chmod(path, 0o644)) // as a restored copy may be
	reopened := openAt(t, path)
	must(t, reopened.CreateUser(t.Context(), store.User{ID: "u2", Name: "bob"}))
	wantModes(t, modes)
}

func wantModes(t *testing.T, modes map[string]fs.FileMode) {
	t.Helper()
	for name, want := range modes {
		info, err := os.Stat(name)
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), want)
		}
	}
}

// withMigration returns the program's migrations and one more.
func withMigration(t *testing.T, statements string) migrationFiles {
	t.Helper()
	files := make(fstest.MapFS)
	current := embeddedMigrations()
	names, err := fs.Glob(current, "*.sql")
	must(t, err)
	for _, name := range names {
		content, err := fs.ReadFile(current, name)
		must(t, err)
		files[name] = &fstest.MapFile{Data: content}
	}
	files["00999_next.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + statements)}
	return migrationFiles{files}
}

func TestMigrationCopiesAside(t *testing.T) {
	path, _ := soundFile(t)
	before := openAndCount(t, path, embeddedMigrations())
	next := withMigration(t, `ALTER TABLE users ADD COLUMN shoe_size INTEGER; DELETE FROM users;`)
	if after := openAndCount(t, path, next); after != 0 {
		t.Fatalf("%d users after the migration that deletes all", after)
	}
	if saved := openAndCount(t, path+".before-v999", embeddedMigrations()); saved != before {
		t.Errorf("the copy has %d users, want %d", saved, before)
	}
	if runtime.GOOS != "windows" {
		wantModes(t, map[string]fs.FileMode{path + ".before-v999": 0o600})
	}
	openAndCount(t, path, next)
	wantCopies(t, path, 1) // none without a migration
}

func TestMigrationKeepsEarlierCopies(t *testing.T) {
	path, _ := soundFile(t)
	must(t, os.WriteFile(path+".before-v999", []byte("precious"), 0o600))
	openAndCount(t, path, withMigration(t, `DELETE FROM users;`))
	if content, err := os.ReadFile(path + ".before-v999"); err != nil || string(content) != "precious" {
		t.Errorf("the earlier copy is now %.20q (%v)", content, err)
	}
	if saved := openAndCount(t, path+".before-v999-2", embeddedMigrations()); saved != 300 {
		t.Errorf("the copy has %d users", saved)
	}
}

func TestFailedMigrationChangesNothing(t *testing.T) {
	path, _ := soundFile(t)
	db, err := open(t.Context(), path, withMigration(t, `DELETE FROM users; CREATE NONSENSE;`), true)
	if err == nil {
		db.Close()
		t.Fatal("it was opened")
	}
	if users := openAndCount(t, path, embeddedMigrations()); users != 300 {
		t.Errorf("%d users are left", users)
	}
}

func TestNewStoreIsNotCopied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	openAt(t, path)
	wantCopies(t, path, 0)
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path, _ := soundFile(t)
	openAndCount(t, path, withMigration(t, `ALTER TABLE users ADD COLUMN shoe_size INTEGER; UPDATE meta SET value = '999' WHERE key = 'oldest_program';`))
	before, err := os.ReadFile(path)
	must(t, err)
	wantRefused(t, path, "version 999", "up to 13;", "start the newer program")
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed (%v)", err)
	}
	wantCopies(t, path, 1)
}

// TestNewerSchemaIsUsed opens a store to which a newer program has added what this
// one doesn't need.
func TestNewerSchemaIsUsed(t *testing.T) {
	path, _ := soundFile(t)
	next := withMigration(t, `ALTER TABLE users ADD COLUMN shoe_size INTEGER NOT NULL DEFAULT 0;`)
	before := openAndCount(t, path, next)
	db := openAt(t, path)
	must(t, db.CreateUser(t.Context(), store.User{ID: "by the older program", Name: "new"}))
	must(t, db.Close())
	if after := openAndCount(t, path, next); after != before+1 {
		t.Errorf("%d users, want %d", after, before+1)
	}
	wantCopies(t, path, 1)
}

// TestNewerSchemaThatSaysNothingIsRefused has one that lacks what says who can use
// it.
func TestNewerSchemaThatSaysNothingIsRefused(t *testing.T) {
	path, _ := soundFile(t)
	openAndCount(t, path, withMigration(t, `DELETE FROM meta WHERE key = 'oldest_program';`))
	wantRefused(t, path, "version 999", "up to 13;", "start the newer program")
}

func openAndCount(t *testing.T, path string, migrations migrationFiles) int {
	t.Helper()
	db, err := open(t.Context(), path, migrations, true)
	must(t, err)
	defer db.Close()
	count, err := db.CountUsers(t.Context())
	must(t, err)
	return count
}

func wantCopies(t *testing.T, path string, want int) {
	t.Helper()
	copies, err := filepath.Glob(path + ".before-*")
	must(t, err)
	copies = slices.DeleteFunc(copies, func(name string) bool {
		return strings.HasSuffix(name, ".lock") || strings.HasSuffix(name, ".reserve")
	})
	if len(copies) != want {
		t.Errorf("got copies %q, want %d", copies, want)
	}
}
