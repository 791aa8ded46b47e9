//go:build !linux

package harness

import "syscall"

// diesWithParent does nothing where the system has no such thing.
func diesWithParent() *syscall.SysProcAttr { return nil }
