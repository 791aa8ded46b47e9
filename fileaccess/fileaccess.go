// Package fileaccess tells who besides this process can get at a file by which
// everything stands or falls: the key set, its mark, the store.
//
// It goes by owners and permission bits, as OpenSSH does with private keys. So
// it knows nothing of access lists, and on Windows, where these rule, it finds
// nothing to object to. The package must not know what the files are.
package fileaccess

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Error says what is wrong with the access to a file, and what to do.
type Error struct {
	Path   string // of the file or of its folder
	Wrong  string // what is wrong with it
	Remedy string // what to do
}

func (e *Error) Error() string { return e.Path + " " + e.Wrong + ": " + e.Remedy }

// Private returns an *Error where somebody but this user and root can read,
// change or replace the file at path, or could before it is there. Other errors
// say that it couldn't be told. As with PostgreSQL's keys, the group may read a
// file of root's, since this user could read it in no other way.
func Private(path string) error { return check(path, 0o077) }

// Trusted is Private, but everybody may read the file.
func Trusted(path string) error { return check(path, 0o022) }

// Tighten takes from the group what a file of this user's own allows it, and
// returns the mode that the file had; 0: it stays as it was. Kubernetes gives a
// volume's files to the group fsGroup at each mount. What everybody was allowed
// isn't mended in silence, and is left to Private and Trusted.
func Tighten(path string) (before fs.FileMode, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	mode := info.Mode().Perm()
	if !info.Mode().IsRegular() || !isOwn(info) || mode&0o070 == 0 || mode&0o007 != 0 {
		return 0, nil
	}
	return mode, os.Chmod(path, mode&^0o070)
}

func check(path string, forbidden fs.FileMode) error {
	// What a link leads to is what is used.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	folder := filepath.Dir(path)
	info, err := os.Stat(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // whoever makes it sees to its access
	}
	if err != nil {
		return err
	}
	if err := checkFolder(folder, info); err != nil {
		return err
	}
	info, err = os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return checkFile(path, info, forbidden)
}
