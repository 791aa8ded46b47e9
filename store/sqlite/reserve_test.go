package sqlite

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// smallDisk mounts one, and returns what fills it.
func smallDisk(t *testing.T) (folder string, fill func()) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a small disk can be mounted on Linux only")
	}
	folder = t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder).CombinedOutput(); err != nil {
		t.Skipf("nothing can be mounted here: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "--lazy", folder).CombinedOutput(); err != nil {
			t.Errorf("unmounting the small disk: %s", out)
		}
	})
	return folder, func() {
		t.Helper()
		ballast, err := os.OpenFile(filepath.Join(folder, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer ballast.Close()
		for err == nil {
			_, err = ballast.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// TestX03FullDisk fills the disk, again and again with what is left: nothing is
// written but what takes rights away, and that is, and all is once there is room.
func TestX03FullDisk(t *testing.T) {
	const people = 40
	folder, fill := smallDisk(t)
	db, err := Open(t.Context(), filepath.Join(folder, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range people {
		id := fmt.Sprint("user", i)
		for _, err := range []error{
			db.CreateUser(t.Context(), store.User{ID: id, Name: id, Status: store.UserActive}),
			db.CreateSignOn(t.Context(), store.SignOn{ID: "one of " + id, UserID: id, Started: now, Expires: now.Add(time.Hour)}),
			db.CreateSignOn(t.Context(), store.SignOn{ID: "another of " + id, UserID: id, Started: now, Expires: now.Add(time.Hour)}),
			db.CreateDevice(t.Context(), store.Device{ID: "device of " + id, UserID: id, Certificate: id, Expires: eternity}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	// Others may write for as long as that takes no more of the disk.
	written := 0
	useUp := func() {
		t.Helper()
		fill()
		for before := written; written < before+10_000; written++ {
			if err := putPair(t.Context(), db, fmt.Sprint("late", written)); ranOutOfRoom(err) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
		t.Fatal("a full disk takes everything")
	}

	for i := range people {
		useUp()
		id := fmt.Sprint("user", i)
		if err := db.EndSignOn(t.Context(), "one of "+id, now, "signed_out"); err != nil {
			t.Fatalf("signing out the %dth: %v", i, err)
		}
		err := db.Atomically(t.Context(), func(tx store.Tx) error {
			user, err := tx.UserByID(t.Context(), id)
			if err != nil {
				return err
			}
			user.Status = store.UserDisabled
			if err := tx.UpdateUser(t.Context(), user); err != nil {
				return err
			}
			if _, err := tx.EndSignOnsOf(t.Context(), id, now, "disabled"); err != nil {
				return err
			}
			return tx.AppendEvent(t.Context(), store.Event{At: now, Name: "user.disabled", UserID: id})
		})
		if err != nil {
			t.Fatalf("disabling the %dth: %v", i, err)
		}
		if err := db.RevokeDevice(t.Context(), "device of "+id, now, "lost"); err != nil {
			t.Fatalf("revoking the %dth device: %v", i, err)
		}
	}
	useUp()
	if err := db.Check(t.Context()); !errors.Is(err, errFull) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("it isn't said that the disk is full: %v", err)
	}

	if err := os.Remove(filepath.Join(folder, "ballast")); err != nil {
		t.Fatal(err)
	}
	if err := putPair(t.Context(), db, "with room"); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for i := range people {
		user, err := db.UserByID(t.Context(), fmt.Sprint("user", i))
		if err != nil || user.Status != store.UserDisabled {
			t.Errorf("%+v, %v", user, err)
		}
	}
	if info, err := os.Stat(filepath.Join(folder, "store.db.reserve")); err != nil || info.Size() != reserveSize || info.Mode().Perm() != fileMode {
		t.Errorf("the reserve: %v, %v", info, err)
	}
}
