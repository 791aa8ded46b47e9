package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// listener notes what followers are told of whether they are current.
type listener struct {
	mu   sync.Mutex
	lost bool
	sent time.Time
}

func (*listener) Changed([]store.Change) {}

func (l *listener) Renewed(string) {}

func (l *listener) Lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = true
}

func (l *listener) Heartbeat(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = sent
}

// TestX04FilesGoneUnderARunningServer removes and replaces the store's files
// while it is open. From when that is noticed on, nothing is read or written,
// and nothing that was acknowledged is lost.
func TestX04FilesGoneUnderARunningServer(t *testing.T) {
	replace := func(path string) error {
		return errors.Join(os.Rename(path, path+".moved"), os.WriteFile(path, []byte("another"), 0o600))
	}
	for name, harm := range map[string]func(path string) error{
		"removed":          os.Remove,
		"replaced":         replace,
		"renamed":          func(path string) error { return os.Rename(path, path+".moved") },
		"its log removed":  func(path string) error { return os.Remove(path + "-wal") },
		"its log renamed":  func(path string) error { return os.Rename(path+"-wal", path+".moved") },
		"its lock removed": func(path string) error { return os.Remove(path + ".lock") },
		"all removed": func(path string) error {
			return errors.Join(os.Remove(path), os.Remove(path+"-wal"), os.Remove(path+"-shm"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			db, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			var follower listener
			defer db.Follow(&follower)()
			if err := putPair(t.Context(), db, "acknowledged"); err != nil {
				t.Fatal(err)
			}
			if err := db.Check(t.Context()); err != nil {
				t.Fatalf("nothing has happened: %v", err)
			}
			if err := harm(path); err != nil {
				t.Fatal(err)
			}

			for range 2 {
				if err := db.Check(t.Context()); !errors.Is(err, store.ErrLost) || !strings.Contains(err.Error(), path) {
					t.Fatalf("it isn't noticed: %v", err)
				}
			}
			if err := putPair(t.Context(), db, "late"); !errors.Is(err, store.ErrLost) {
				t.Errorf("something is written all the same: %v", err)
			}
			if _, err := db.GetRecord(t.Context(), "pair", "acknowledged", now); err == nil || errors.Is(err, store.ErrNotFound) {
				t.Errorf("something is read all the same: %v", err)
			}
			if !follower.lost || !follower.sent.Before(now) {
				t.Errorf("a follower isn't told that it is cut off: %t, %v", follower.lost, follower.sent)
			}

			if err := db.Close(); err != nil {
				t.Errorf("closing what is lost: %v", err)
			}
			if err := os.Rename(path+".rescued", path); err != nil {
				t.Fatal(err)
			}
			rescued, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer rescued.Close()
			if _, err := rescued.GetRecord(t.Context(), "pair", "acknowledged", now); err != nil {
				t.Errorf("what was acknowledged isn't in the copy that was put aside: %v", err)
			}
		})
	}
}

// TestX04AnothersLogStays puts another store and its log in place of one that is
// open: what isn't of the lost one isn't removed.
func TestX04AnothersLogStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal"} {
		if err := errors.Join(os.Rename(name, name+".moved"), os.WriteFile(name, []byte("another's"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Check(t.Context()); !errors.Is(err, store.ErrLost) {
		t.Fatalf("it isn't noticed: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("closing what is lost: %v", err)
	}
	for _, name := range []string{path, path + "-wal"} {
		if content, err := os.ReadFile(name); err != nil || string(content) != "another's" {
			t.Errorf("%s holds %q, %v", name, content, err)
		}
	}
}

func TestX04OpenExistingMakesNothing(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "not mounted")
	path := filepath.Join(folder, "store.db")
	if _, err := OpenExisting(t.Context(), path); !errors.Is(err, store.ErrMissing) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder was made: %v", err)
	}
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = OpenExisting(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
