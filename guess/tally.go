package guess

import (
	"sync"
	"time"
)

// maxTallied bounds how many addresses and networks half a tally holds.
const maxTallied = 10_000

// tally counts, in this process alone, how often addresses were turned away
// because too many passwords were waiting. A flood of those must not cost the
// store a write each. It remembers for one to two windows, or for less where
// very many come. It is safe for concurrent use.
type tally struct {
	clock func() time.Time

	mu              sync.Mutex
	began           time.Time // of the present half
	present, before map[string]turnedAway
}

type turnedAway struct {
	times int
	first time.Time
}

func newTally(clock func() time.Time) *tally {
	return &tally{clock: clock, present: make(map[string]turnedAway)}
}

// add counts one try.
func (t *tally) add(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn()
	entry := t.present[key]
	if entry.times++; entry.first.IsZero() {
		entry.first = t.clock()
	}
	t.present[key] = entry
}

// turn begins another half where the present one is full or over.
func (t *tally) turn() {
	now := t.clock()
	age := now.Sub(t.began)
	switch {
	case age < 0 || age >= 2*addressWindow:
		t.before, t.present, t.began = nil, make(map[string]turnedAway), now
	case age >= addressWindow || len(t.present) >= maxTallied:
		t.before, t.present, t.began = t.present, make(map[string]turnedAway), now
	}
}

// count returns how often an address was turned away in the present half.
func (t *tally) count(key string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn()
	return t.present[key].times
}

// since returns when an address was turned away first; zero: it wasn't.
func (t *tally) since(key string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn()
	if entry, ok := t.before[key]; ok {
		return entry.first
	}
	return t.present[key].first
}
