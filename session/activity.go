package session

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// activity is when this process last saw each sign-on being used. It stands
// apart from the rows kept in memory, so that making room there loses nothing.
type activity struct {
	seed   maphash.Seed
	shards [shardCount]struct {
		mu   sync.Mutex
		seen map[string]sighting
	}
}

// sighting is a time, in nanoseconds since 1970, and whether the store has yet
// to be told of it.
type sighting struct {
	at      int64
	pending bool
}

func newActivity() *activity {
	a := &activity{seed: maphash.MakeSeed()}
	for i := range a.shards {
		a.shards[i].seen = make(map[string]sighting)
	}
	return a
}

// last returns when the sign-on was last seen, if that is known here.
func (a *activity) last(id string) (time.Time, bool) {
	s := &a.shards[maphash.String(a.seed, id)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, ok := s.seen[id]
	return time.Unix(0, seen.at), ok
}

// within reports whether the sign-on is known to have been seen within the idle
// limit, and then notes its use now, if used.
func (a *activity) within(id string, now time.Time, idle time.Duration, used bool) bool {
	s := &a.shards[maphash.String(a.seed, id)%shardCount]
	at := now.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, ok := s.seen[id]
	if !ok || at-seen.at > int64(idle) {
		return false
	}
	if used && seen.at < at {
		s.seen[id] = sighting{at, true}
	}
	return true
}

// note notes that the sign-on is used now.
func (a *activity) note(id string, now time.Time) { a.raise(id, now, true) }

// learn notes what the store said.
func (a *activity) learn(id string, seen time.Time) { a.raise(id, seen, false) }

func (a *activity) raise(id string, seen time.Time, pending bool) {
	s := &a.shards[maphash.String(a.seed, id)%shardCount]
	at := seen.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.seen[id]; !ok || known.at < at {
		s.seen[id] = sighting{at, pending || known.pending}
	}
}

// takePending returns what the store has yet to be told, and forgets what it
// was told of if that is older than since: the store knows it.
func (a *activity) takePending(since time.Time) []store.Activity {
	var pending []store.Activity
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.Lock()
		for id, seen := range s.seen {
			switch {
			case seen.pending:
				pending = append(pending, store.Activity{SignOn: id, Seen: time.Unix(0, seen.at)})
				s.seen[id] = sighting{at: seen.at}
			case seen.at < since.UnixNano():
				delete(s.seen, id)
			}
		}
		s.mu.Unlock()
	}
	return pending
}

// putBack has the store told again what it could not be told.
func (a *activity) putBack(untold []store.Activity) {
	for _, seen := range untold {
		s := &a.shards[maphash.String(a.seed, seen.SignOn)%shardCount]
		s.mu.Lock()
		known := s.seen[seen.SignOn]
		s.seen[seen.SignOn] = sighting{max(known.at, seen.Seen.UnixNano()), true}
		s.mu.Unlock()
	}
}
