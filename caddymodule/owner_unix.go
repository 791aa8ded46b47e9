//go:build unix

package caddymodule

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// becomeOwner has root go on as the user who owns the folder that a file is in, or that
// it will be in: the server runs as that user, and must own what is made there. Anybody
// else goes on as they are.
func becomeOwner(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	folder := filepath.Dir(path)
	info, err := os.Stat(folder)
	for ; errors.Is(err, fs.ErrNotExist) && folder != filepath.Dir(folder); info, err = os.Stat(folder) {
		folder = filepath.Dir(folder)
	}
	if err != nil {
		return fmt.Errorf("finding the owner of the store's folder: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	err = errors.Join(syscall.Setgroups([]int{int(owner.Gid)}), syscall.Setgid(int(owner.Gid)), syscall.Setuid(int(owner.Uid)))
	if err != nil {
		return fmt.Errorf("switching to the owner of %s: %w", folder, err)
	}
	return nil
}
