package sqlite

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

func unrevised(context.Context, store.Store) error { return nil }

// copyOf returns a copy of a store as bytes, and checks that none is left on the disk.
func copyOf(t *testing.T, db *DB) []byte {
	t.Helper()
	made, err := db.Copy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(made)
	if err := errors.Join(err, made.Close()); err != nil {
		t.Fatal(err)
	}
	if int64(len(content)) != made.Size() {
		t.Errorf("the copy has %d bytes, and says %d", len(content), made.Size())
	}
	if left, err := filepath.Glob(db.path + ".copy*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return content
}

func TestCopyAndRestore(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "from.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	now := time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(db.CreateUser(t.Context(), store.User{ID: "u", Name: "ada", Status: store.UserActive, Created: now}))
	must(db.CreateSignOn(t.Context(), store.SignOn{ID: "s", UserID: "u", Started: now, Expires: now.Add(time.Hour), LastSeen: now}))
	content := copyOf(t, db)

	target := filepath.Join(t.TempDir(), "new", "to.db")
	_, err = Restore(t.Context(), target, bytes.NewReader(content), func(context.Context, store.Store) error { return io.ErrUnexpectedEOF })
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an error of the revision: %v", err)
	}
	wantOnly(t, target, ".lock")
	restored, err := Restore(t.Context(), target, bytes.NewReader(content), func(ctx context.Context, s store.Store) error {
		return s.CreateUser(ctx, store.User{ID: "v", Name: "bob", Status: store.UserActive, Created: now})
	})
	must(err)
	if _, err := os.Stat(target); err == nil {
		t.Error("the store is in place before Place")
	}
	must(restored.Place())
	wantOnly(t, target, ".lock", "")

	again, err := OpenExisting(t.Context(), target)
	must(err)
	t.Cleanup(func() { _ = again.Close() })
	if again.Incarnation() != restored.Incarnation() || again.Incarnation() == db.Incarnation() {
		t.Errorf("the incarnation is %s", again.Incarnation())
	}
	if descends, err := again.Descends(t.Context(), db.Incarnation()); err != nil || !descends {
		t.Errorf("it descends from the first store: %v, %v", descends, err)
	}
	for _, name := range []string{"ada", "bob"} {
		if _, err := again.UserByName(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := again.SignOnByID(t.Context(), "s"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a sign-on of before: %v", err)
	}
}

// wantOnly fails unless there are files only at path with the given endings.
func wantOnly(t *testing.T, path string, endings ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != len(endings) {
		t.Errorf("there are %v, %v", entries, err)
	}
	for _, ending := range endings {
		if _, err := os.Stat(path + ending); err != nil {
			t.Error(err)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "from.db"))
	if err != nil {
		t.Fatal(err)
	}
	content := copyOf(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Restore(t.Context(), db.path, bytes.NewReader(content), unrevised)
	if !errors.Is(err, ErrExists) {
		t.Errorf("over a store: %v", err)
	}
	damaged := bytes.Clone(content)
	for i := len(damaged) / 2; i < len(damaged); i++ {
		damaged[i] ^= 0x55
	}
	for name, content := range map[string][]byte{"nothing": nil, "cut": content[:len(content)/2], "no store": []byte("no store"), "damaged": damaged} {
		target := filepath.Join(t.TempDir(), "to.db")
		if _, err := Restore(t.Context(), target, bytes.NewReader(content), unrevised); err == nil {
			t.Errorf("%s was restored", name)
		}
		wantOnly(t, target, ".lock")
	}
}
