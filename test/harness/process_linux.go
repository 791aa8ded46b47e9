package harness

import "syscall"

// diesWithParent keeps a test process that is killed, as by a timeout, from
// leaving its servers behind.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
