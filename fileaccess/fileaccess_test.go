//go:build unix

package fileaccess

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAccess(t *testing.T) {
	for _, test := range []struct {
		name             string
		folder, file     fs.FileMode // file 0: there is none
		private, trusted string      // what is said; "": nothing is wrong
	}{
		{"as it is made", 0o700, 0o600, "", ""},
		{"read-only", 0o755, 0o400, "", ""},
		{"not there yet", 0o755, 0, "", ""},
		{"everybody reads it", 0o700, 0o644, "read by others (mode 0644)", ""},
		{"the group reads it", 0o700, 0o640, "read by others (mode 0640)", ""},
		{"the group changes it", 0o700, 0o620, "changed by others (mode 0620)", "changed by others (mode 0620)"},
		{"everybody changes it", 0o700, 0o666, "changed by others", "changed by others"},
		{"everybody replaces it", 0o777, 0o600, "replace files (mode 0777)", "replace files (mode 0777)"},
		{"everybody could put it there", 0o777, 0, "replace files", "replace files"},
		{"its owner replaces it", 0o777 | fs.ModeSticky, 0o600, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "file")
			if test.file != 0 {
				if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, test.file)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(folder, test.folder); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(path, link); err != nil {
				t.Fatal(err)
			}
			for _, at := range []string{path, link} {
				if at == link && test.file == 0 {
					continue // leads nowhere yet
				}
				expect(t, Private(at), folder, test.private)
				expect(t, Trusted(at), folder, test.trusted)
			}
		})
	}
}

func expect(t *testing.T, err error, folder, said string) {
	t.Helper()
	var found *Error
	switch {
	case said == "" && err != nil:
		t.Errorf("%v", err)
	case said == "":
	case !errors.As(err, &found):
		t.Errorf("%v, want an error that says %q", err, said)
	case !strings.Contains(err.Error(), said) || !strings.HasPrefix(found.Path, folder) || !strings.Contains(found.Remedy, "chmod"):
		t.Errorf("%q, want %q in it, where, and what to do", err, said)
	}
}

// A file of one's own is kept to oneself, but what everybody could do isn't
// mended in silence.
func TestTighten(t *testing.T) {
	for before, after := range map[fs.FileMode]fs.FileMode{
		0o600: 0o600, 0o400: 0o400, 0o640: 0o600, 0o660: 0o600, 0o440: 0o400, 0o644: 0o644, 0o666: 0o666, 0o602: 0o602,
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, before)); err != nil {
			t.Fatal(err)
		}
		said, err := Tighten(path)
		info, statErr := os.Stat(path)
		if err = errors.Join(err, statErr); err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != after || (said != 0) != (before != after) || said != 0 && said != before {
			t.Errorf("%04o became %04o, and it said %04o", before, got, said)
		}
	}
	if said, err := Tighten(filepath.Join(t.TempDir(), "nothing")); said != 0 || err != nil {
		t.Errorf("what isn't there: %v, %v", said, err)
	}
}

// The group may read a file of root's, as with PostgreSQL, and no more.
func TestFilesOfRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can take on another's id")
	}
	for mode, fine := range map[fs.FileMode]bool{0o640: true, 0o440: true, 0o660: false, 0o644: false} {
		folder, err := os.MkdirTemp("/tmp", "fileaccess") // others can't enter t.TempDir
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(folder) })
		path := filepath.Join(folder, "file")
		if err := errors.Join(os.Chmod(folder, 0o755), os.WriteFile(path, nil, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Seteuid(4711); err != nil {
			t.Fatal(err)
		}
		found := Private(path)
		if err := syscall.Seteuid(0); err != nil {
			t.Fatal(err)
		}
		if (found == nil) != fine || found != nil && !strings.Contains(found.Error(), "fsGroupChangePolicy") {
			t.Errorf("mode %04o: %v", mode, found)
		}
	}
}

func TestForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, 4711, -1)); err != nil {
		t.Fatal(err)
	}
	if err := Private(path); err != nil {
		t.Errorf("root can't use another's file: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner, foreign := foreignOwner(info); owner != 4711 || foreign {
		t.Errorf("owner %d, foreign %t", owner, foreign)
	}
}

func TestIsForeign(t *testing.T) {
	for _, test := range []struct {
		owner, self int
		want        bool
	}{{0, 0, false}, {4711, 0, false}, {0, 4711, false}, {4711, 4711, false}, {4712, 4711, true}} {
		if got := isForeign(test.owner, test.self); got != test.want {
			t.Errorf("what belongs to %d is foreign to %d: %t", test.owner, test.self, got)
		}
	}
}
