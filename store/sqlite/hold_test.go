package sqlite

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/portcullis-mfa/portcullis/store"
)

const refusal = "another process has this store open"

// TestOpenStoreIsNotOpenedAgain tries all ways at once, as each waits for a
// while before it gives up.
func TestOpenStoreIsNotOpenedAgain(t *testing.T) {
	folder := t.TempDir()
	path, link := filepath.Join(folder, "portcullis.db"), filepath.Join(folder, "link.db")
	db := openAt(t, path)
	must(t, db.CreateUser(t.Context(), store.User{ID: "u1", Name: "alice"}))
	must(t, os.Symlink(path, link))
	here := func(path string) func() error {
		return func() error {
			second, err := Open(t.Context(), path)
			if err == nil {
				err = errors.Join(errors.New("it was opened"), second.Close())
			}
			return err
		}
	}
	tries := map[string]func() error{
		"here":                              here(path),
		"here through a link":               here(link),
		"by another process":                func() error { return openElsewhere(t, path) },
		"by another process through a link": func() error { return openElsewhere(t, link) },
	}
	var running sync.WaitGroup
	for name, try := range tries {
		running.Go(func() {
			if err := try(); err == nil || !strings.Contains(err.Error(), refusal) {
				t.Errorf("%s: got %v, want %q", name, err, refusal)
			}
		})
	}
	running.Wait()
	if _, err := db.UserByID(t.Context(), "u1"); err != nil {
		t.Errorf("the one that has it open: %v", err)
	}
}

// openElsewhere has another process open and close the store, and returns
// what that said.
func openElsewhere(t *testing.T, path string) error {
	command := child(t, "open", path)
	command.Stderr = nil // so that Output keeps it
	_, err := command.Output()
	var failure *exec.ExitError
	if errors.As(err, &failure) {
		return errors.New(string(failure.Stderr))
	}
	return err
}

// holdElsewhere starts a process that has the store open, and returns what
// kills it.
func holdElsewhere(t *testing.T, path string) (kill func()) {
	t.Helper()
	holder := child(t, "hold", path)
	_, err := holder.StdinPipe()
	must(t, err)
	output, err := holder.StdoutPipe()
	must(t, err)
	must(t, holder.Start())
	if _, err := bufio.NewReader(output).ReadString('\n'); err != nil {
		t.Fatalf("the child did not open the store: %v", err)
	}
	return func() {
		must(t, holder.Process.Kill())
		_, _ = io.Copy(io.Discard, output)
		_ = holder.Wait() // killed
	}
}

func TestKilledProcessLeavesNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	for range 3 {
		kill := holdElsewhere(t, path)
		if _, err := os.Stat(path + ".lock-journal"); err == nil {
			t.Error("the lock has left a journal")
		}
		kill()
		db, err := Open(t.Context(), path)
		must(t, err)
		must(t, db.Close())
	}
}

// TestSuccessorWaits hands one store on many times: the next one asks for it
// while the one before still has it.
func TestSuccessorWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	db, err := Open(t.Context(), path)
	must(t, err)
	for range 20 {
		opened := make(chan *DB)
		asking := make(chan struct{})
		go func() {
			close(asking)
			next, err := Open(t.Context(), path)
			if err != nil {
				t.Errorf("the successor: %v", err)
			}
			opened <- next
		}()
		<-asking
		must(t, db.AppendEvent(t.Context(), store.Event{Name: "stopping"}))
		must(t, db.Close())
		if db = <-opened; db == nil {
			return
		}
	}
	must(t, db.Close())
}

// TestStartsAtOnceMakeOneStore starts processes at once, each of which has the
// store for a moment: the others wait for it, or are refused if that takes
// long, and all who get it get the same one.
func TestStartsAtOnceMakeOneStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	const starts = 4
	var mutex sync.Mutex
	incarnations := make(map[string]int)
	note := func(incarnation string, err error) {
		mutex.Lock()
		defer mutex.Unlock()
		if err == nil {
			incarnations[incarnation]++
		} else if !strings.Contains(err.Error(), refusal) {
			t.Error(err)
		}
	}
	var running sync.WaitGroup
	for range starts {
		running.Go(func() {
			command := child(t, "open", path)
			var said strings.Builder
			command.Stderr = &said
			output, err := command.Output()
			if err != nil {
				err = errors.New(said.String())
			}
			note(strings.TrimSpace(string(output)), err)
		})
		running.Go(func() {
			db, err := Open(t.Context(), path)
			if err != nil {
				note("", err)
				return
			}
			note(db.Incarnation(), db.Close())
		})
	}
	running.Wait()
	if len(incarnations) != 1 || incarnations[""] > 0 {
		t.Errorf("got incarnations %v, want one", incarnations)
	}
}

// TestCopyWhileOpen has another process copy the store while this one writes.
func TestCopyWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portcullis.db")
	db := openAt(t, path)
	must(t, db.CreateUser(t.Context(), store.User{ID: "u1", Name: "alice"}))
	must(t, child(t, "copy", path).Run())
	must(t, db.CreateUser(t.Context(), store.User{ID: "u2", Name: "bob"}))
	if users := openAndCount(t, path+".copy", embeddedMigrations()); users != 1 {
		t.Errorf("the copy has %d users, want 1", users)
	}
}

func TestClosingTwiceIsHarmless(t *testing.T) {
	db := openNew(t) // which is closed again when the test ends
	must(t, db.Close())
}
