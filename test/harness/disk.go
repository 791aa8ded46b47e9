package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Disk is a way in which a disk lets a running server down. Break and Mend can
// be called again and again; at the end of the test all is mended.
type Disk struct {
	// Folder is where the server's store has to be for it; "": anywhere.
	Folder string

	t          testing.TB
	fail, heal func() error
}

// Break has writes fail from now on.
func (d *Disk) Break() {
	d.t.Helper()
	if err := d.fail(); err != nil {
		d.t.Fatalf("breaking the disk: %v", err)
	}
}

// Mend has writes work again.
func (d *Disk) Mend() {
	d.t.Helper()
	if err := d.heal(); err != nil {
		d.t.Fatalf("mending the disk: %v", err)
	}
}

// LimitedFiles has every write of the server to a file fail, as a quota does:
// no file may have any length.
func (s *Server) LimitedFiles() *Disk {
	s.t.Helper()
	Need(s.t, "prlimit")
	limit := func(size string) func() error {
		return func() error {
			return runQuietly("prlimit", "--pid", strconv.Itoa(s.process.command.Process.Pid), "--fsize="+size+":")
		}
	}
	return &Disk{t: s.t, fail: limit("0"), heal: limit("unlimited")}
}

// ReadOnlyFiles has the named files turn out to be read-only for everybody, as
// those on a disk do that the kernel has found to be faulty. The test is skipped
// where that takes rights that it hasn't.
func (s *Server) ReadOnlyFiles(paths ...string) *Disk {
	s.t.Helper()
	Need(s.t, "chattr")
	change := func(flag string) func() error {
		return func() error { return runQuietly("chattr", append([]string{flag}, paths...)...) }
	}
	d := &Disk{t: s.t, fail: change("+i"), heal: change("-i")}
	if err := errors.Join(d.fail(), d.heal()); err != nil {
		s.t.Skipf("files can't be made read-only for everybody here: %v", err)
	}
	s.t.Cleanup(func() { _ = d.heal() }) // gone, where all went well
	return d
}

// SmallDisk mounts one of a few megabytes, which Break fills. The test is
// skipped where it may not mount.
func SmallDisk(t testing.TB) *Disk {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatalf("making a mount point: %v", err)
	}
	if err := runQuietly("mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", folder); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := runQuietly("umount", "--lazy", folder); err != nil {
			t.Errorf("unmounting the small disk: %v", err)
		}
	})
	ballast := filepath.Join(folder, "ballast")
	return &Disk{t: t, Folder: folder, fail: func() error { return fill(ballast) }, heal: func() error { return os.Remove(ballast) }}
}

// fill writes a file until the disk is full.
func fill(path string) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for block := make([]byte, 4096); ; {
		if _, err := file.Write(block); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func runQuietly(program string, arguments ...string) error {
	if output, err := exec.Command(program, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, output)
	}
	return nil
}
