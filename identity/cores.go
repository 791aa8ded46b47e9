package identity

import (
	"runtime"
	"sync"
)

// cores is how many cores there were for this process before LeaveRoom.
var cores = sync.OnceValue(func() int { return runtime.GOMAXPROCS(0) })

// LeaveRoom raises GOMAXPROCS, for the whole process, by the number of hashes that may
// run at the same time. A hash takes one of the places that GOMAXPROCS bounds for
// 90 ms. On few cores, blocking calls often take the other places, and the runtime
// needs up to 10 ms to notice that requests are waiting. The kernel shares cores in
// much smaller slices, so this leaves it to the kernel to choose between hashes and
// requests. Another call, for another configuration, replaces the effect of the first.
func (h *Hasher) LeaveRoom() {
	atOnce := min(h.limits.atOnce, int(h.limits.memory/uint64(h.params.Memory)))
	if want := cores() + max(1, atOnce); want != runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(want)
	}
}
