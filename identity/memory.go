package identity

import (
	"runtime"
	"sync"
	"time"
)

// idleBefore is for how long nothing is hashed before memory goes back to the
// operating system.
const idleBefore = 3 * time.Second

// memory bounds what hashing takes. Every hash allocates its blocks anew, and
// the runtime lets garbage grow as large as all that is in use, so without
// this a burst of sign-ins would take several times what its hashes work on,
// and keep it for minutes. It is safe for concurrent use.
type memory struct {
	release func()

	collecting sync.Mutex // held by whoever collects, which takes a while

	mu      sync.Mutex
	used    uint64 // KiB, by work that runs
	garbage uint64 // KiB, at most, of work that has ended since the last collection
	timer   *time.Timer
}

// fits reports whether work of so many KiB may begin beside what runs. One
// piece of work always may.
func (m *memory) fits(need, limit uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used == 0 || m.used+need <= limit
}

func (m *memory) take(need uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used += need
	if m.timer != nil {
		m.timer.Stop()
	}
}

// giveBack says that work has ended, and how much garbage it has left here.
func (m *memory) giveBack(need, left uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= need
	m.garbage += left
}

// makeRoom returns once what runs and what is left of work before take no more
// than the limit, as far as that is in its power.
func (m *memory) makeRoom(limit uint64) {
	m.collecting.Lock()
	defer m.collecting.Unlock()
	garbage, over := m.over(limit)
	if !over {
		return
	}
	runtime.GC()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.garbage -= min(m.garbage, garbage)
}

// over returns how much garbage there is, and whether it has to be collected.
func (m *memory) over(limit uint64) (garbage uint64, over bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.garbage, m.garbage > 0 && m.used+m.garbage > limit
}

// idle gives memory back unless something is hashed soon.
func (m *memory) idle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.timer == nil {
		m.timer = time.AfterFunc(idleBefore, m.giveUp)
		return
	}
	m.timer.Reset(idleBefore)
}

func (m *memory) giveUp() {
	m.mu.Lock()
	idle := m.used == 0 && m.garbage > 0
	if idle {
		m.garbage = 0
	}
	m.mu.Unlock()
	if idle {
		m.release()
	}
}
