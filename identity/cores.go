package identity

import (
	"runtime"
	"sync"
)

// cores is how many cores there were for this process before LeaveRoom.
var cores = sync.OnceValue(func() int { return runtime.GOMAXPROCS(0) })

// LeaveRoom raises GOMAXPROCS, for the whole process, by how many hashes may run
// at once. A hash holds one of the places that GOMAXPROCS bounds for 90 ms.
// On few cores, the others are often held by calls that block, and the runtime
// notices after up to 10 ms that requests wait. The kernel shares cores far more
// finely, so it decides between hashes and requests. Calling LeaveRoom again, for
// another configuration, replaces what it did.
func (h *Hasher) LeaveRoom() {
	atOnce := min(h.limits.atOnce, int(h.limits.memory/uint64(h.params.Memory)))
	if want := cores() + max(1, atOnce); want != runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(want)
	}
}
