//go:build unix

package fileaccess

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkFolder refuses folders in which anybody could put another file in the
// file's place. The sticky bit leaves that to the file's owner.
func checkFolder(path string, info fs.FileInfo) error {
	if owner, foreign := foreignOwner(info); foreign {
		return foreignError(path, owner)
	}
	if mode := info.Mode(); mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0 {
		return &Error{
			Path: path, Wrong: fmt.Sprintf("is a folder in which everybody can replace files (mode %04o)", mode.Perm()),
			Remedy: "write chmod o-w " + path,
		}
	}
	return nil
}

func checkFile(path string, info fs.FileInfo, forbidden fs.FileMode) error {
	if owner, foreign := foreignOwner(info); foreign {
		return foreignError(path, owner)
	}
	if !info.Mode().IsRegular() {
		return nil // whoever opens it says so
	}
	open := info.Mode().Perm() & forbidden
	if isRoots(info) && os.Geteuid() != 0 {
		open &^= 0o040
	}
	if open == 0 {
		return nil
	}
	done := "read"
	if open&0o022 != 0 {
		done = "changed"
	}
	return &Error{
		Path: path, Wrong: fmt.Sprintf("can be %s by others (mode %04o)", done, info.Mode().Perm()),
		Remedy: "write chmod 600 " + path + remedyElsewhere(info),
	}
}

// remedyElsewhere is what else to do about a file of root's, which this user
// can't change and may need its group for.
func remedyElsewhere(info fs.FileInfo) string {
	if !isRoots(info) || os.Geteuid() == 0 {
		return ""
	}
	return fmt.Sprintf(" and chown it to user id %d, or chmod 640 if its group is this user's alone (on Kubernetes also fsGroupChangePolicy: OnRootMismatch)", os.Geteuid())
}

// isOwn reports whether a file belongs to this user.
func isOwn(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

func isRoots(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid == 0
}

// foreignOwner returns the owner of a file, and whether that is neither this
// user nor root.
func foreignOwner(info fs.FileInfo) (owner uint32, foreign bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Uid, isForeign(int(stat.Uid), os.Geteuid())
}

// isForeign reports whether what belongs to owner is somebody else's to self.
// Root can use anybody's files, and often does in containers.
func isForeign(owner, self int) bool { return self != 0 && owner != 0 && owner != self }

func foreignError(path string, owner uint32) error {
	return &Error{
		Path: path, Wrong: fmt.Sprintf("belongs to somebody else (user id %d)", owner),
		Remedy: fmt.Sprintf("write chown %d %s", os.Geteuid(), path),
	}
}
