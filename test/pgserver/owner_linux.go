package pgserver

import "syscall"

// diesWithParent keeps a test process that is killed from leaving its server behind.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
