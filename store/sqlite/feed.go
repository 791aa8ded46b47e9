package sqlite

import (
	"slices"
	"sync"

	"github.com/portcullis-mfa/portcullis/store"
)

// followers are told of changes by the writers themselves, since all of them
// are in this process.
type followers struct {
	mu  sync.RWMutex
	all []*following
}

// following tells two registrations of one follower apart.
type following struct{ store.Follower }

// Follow implements store.Store.
func (db *DB) Follow(f store.Follower) (stop func()) {
	followed := &following{f}
	db.followers.mu.Lock()
	db.followers.all = append(db.followers.all, followed)
	db.followers.mu.Unlock()
	f.Heartbeat(store.Always)
	return func() {
		db.followers.mu.Lock()
		defer db.followers.mu.Unlock()
		db.followers.all = slices.DeleteFunc(slices.Clone(db.followers.all), func(other *following) bool { return other == followed })
	}
}

// tell passes on what followers keep in memory.
func (f *followers) tell(changes []store.Change) {
	changes = slices.DeleteFunc(changes, func(c store.Change) bool { return c == untold })
	if len(changes) == 0 {
		return
	}
	f.each(func(follower store.Follower) { follower.Changed(changes) })
}

// each tells all followers. It holds no lock meanwhile, so a follower may be slow,
// or stop, without anybody else waiting for it.
func (f *followers) each(tell func(store.Follower)) {
	f.mu.RLock()
	all := f.all
	f.mu.RUnlock()
	for _, follower := range all {
		tell(follower)
	}
}
