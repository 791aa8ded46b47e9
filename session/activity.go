package session

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// activity is when this process last saw each sign-on being used. It stands
// apart from the rows kept in memory, so that making room there loses nothing.
type activity struct {
	seed   maphash.Seed
	shards [shardCount]activityShard
}

type activityShard struct {
	mu   sync.Mutex
	seen map[string]*sighting
}

// sighting is when a sign-on was last seen. Who holds on to one needs no lock to
// raise it, and finds out by that whether it has been forgotten.
type sighting struct {
	at   atomic.Int64 // nanoseconds since 1970, or forgotten
	told int64        // what the store knows; guarded by the shard's lock
}

// forgotten is when a sighting was that activity holds no more. Nobody raises it.
const forgotten = math.MaxInt64

func newActivity() *activity {
	a := &activity{seed: maphash.MakeSeed()}
	for i := range a.shards {
		a.shards[i].seen = make(map[string]*sighting)
	}
	return a
}

// within reports whether the sign-on was seen here within the idle limit, as far
// as that isn't forgotten.
func (s *sighting) within(now time.Time, idle time.Duration) bool {
	at := s.at.Load()
	return at != forgotten && now.UnixNano()-at <= int64(idle)
}

// raise notes that the sign-on was seen, and reports false if the sighting is
// forgotten.
func (s *sighting) raise(seen int64) bool {
	for {
		at := s.at.Load()
		switch {
		case at == forgotten:
			return false
		case at >= seen, s.at.CompareAndSwap(at, seen):
			return true
		}
	}
}

// last returns when the sign-on was last seen, if that is known here.
func (a *activity) last(id string) (time.Time, bool) {
	shard := a.shardOf(id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	s, ok := shard.seen[id]
	if !ok {
		return time.Time{}, false
	}
	return time.Unix(0, s.at.Load()), true
}

// note notes that the sign-on is used now.
func (a *activity) note(id string, now time.Time) {
	shard := a.shardOf(id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.sighting(id).raise(now.UnixNano())
}

// learn notes what the store said, and returns what there is to raise.
func (a *activity) learn(id string, seen time.Time) *sighting {
	shard := a.shardOf(id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	s := shard.sighting(id)
	s.raise(seen.UnixNano())
	s.told = max(s.told, seen.UnixNano())
	return s
}

// takePending returns what the store has yet to be told, and forgets what it
// was told of if that is some time ago: the store knows it. What was seen by a
// clock that was ahead, and is right again, was seen now.
func (a *activity) takePending(now time.Time) []store.Activity {
	var pending []store.Activity
	for i := range a.shards {
		pending = a.shards[i].takePending(now, pending)
	}
	return pending
}

func (shard *activityShard) takePending(now time.Time, pending []store.Activity) []store.Activity {
	since, latest := now.Add(-2*Granularity).UnixNano(), now.Add(Granularity).UnixNano()
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for id, s := range shard.seen {
		at := s.at.Load()
		if at > latest && s.at.CompareAndSwap(at, now.UnixNano()) {
			at, s.told = now.UnixNano(), 0
		}
		switch {
		case at > s.told:
			pending = append(pending, store.Activity{SignOn: id, Seen: time.Unix(0, at)})
			s.told = at
		case at < since && s.at.CompareAndSwap(at, forgotten):
			delete(shard.seen, id)
		}
	}
	return pending
}

// putBack has the store told again what it could not be told.
func (a *activity) putBack(untold []store.Activity) {
	for _, seen := range untold {
		shard := a.shardOf(seen.SignOn)
		shard.mu.Lock()
		s := shard.sighting(seen.SignOn)
		s.raise(seen.Seen.UnixNano())
		s.told = 0
		shard.mu.Unlock()
	}
}

func (a *activity) shardOf(id string) *activityShard {
	return &a.shards[maphash.String(a.seed, id)%shardCount]
}

// sighting returns that of a sign-on, under the shard's lock. None that is in
// the map has been forgotten.
func (shard *activityShard) sighting(id string) *sighting {
	s, ok := shard.seen[id]
	if !ok {
		s = new(sighting)
		s.at.Store(math.MinInt64)
		shard.seen[id] = s
	}
	return s
}
