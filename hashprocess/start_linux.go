package hashprocess

import (
	"os/exec"
	"runtime"
	"syscall"
)

// niceness leaves a child about a quarter of a core that somebody else wants, too.
const niceness = 5

// startGently starts a child at a low priority. On Linux, threads have priorities, and a
// child has that of the thread which started it. A thread can't raise its own again, so
// it ends with the goroutine, which never unlocks it. If the system refuses, the child
// runs at the usual priority.
func startGently(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness)
		started <- cmd.Start()
	}()
	return <-started
}
