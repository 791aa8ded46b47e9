package postgres

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/portcullis-mfa/portcullis/store"
)

// feed is what this process knows of the changes that are committed to the store.
//
// A transaction that changes something adds 1 to a counter of its shard, which its
// connection determines, and leaves what it changed under that number, both as its
// last statement. It holds the row of the counter until it has committed, so in each
// shard the numbers follow the order of commits, without gaps. A reader that remembers
// for each shard how far it has read therefore finds, in the one snapshot of one
// statement, everything that was committed before the statement began. What a server
// that takes another's place holds is the beginning of that one's log: if the change
// that was read last is there with its stamp, a random number, then so are all before
// it in its shard.
//
// NOTIFY only says that there may be something to read. The reader doesn't depend
// on it.
type feed struct {
	db      *DB
	connect *pgx.ConnConfig
	listens bool
	followers

	mu sync.Mutex
	// own are the stamps of this process's transactions that the reader has yet to
	// see, or whose commit hasn't been acknowledged yet.
	own map[int64]*ownChange
	// cursor is how far was read, by shard. Only the reader uses it.
	cursor map[int32]mark

	// dirty says that something was committed of which others have yet to be notified.
	dirty chan struct{}
	// wake ends the reader's wait.
	wake atomic.Pointer[context.CancelFunc]
}

// mark is a change: the number that it has in its shard, and its stamp.
type mark struct{ n, stamp int64 }

// ownChange is a transaction of this process. Its followers were told of it by the
// time that it is acknowledged.
type ownChange struct {
	acknowledged time.Time // zero: not yet
	seen         bool      // by the reader
}

func newFeed(db *DB, connect *pgx.ConnConfig, listens bool) *feed {
	return &feed{db: db, connect: connect, listens: listens, own: make(map[int64]*ownChange), dirty: make(chan struct{}, 1)}
}

// expect draws the stamp of a transaction that is about to commit.
func (f *feed) expect() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		stamp := rand.Int64()
		if _, taken := f.own[stamp]; !taken && stamp != 0 {
			f.own[stamp] = new(ownChange)
			return stamp
		}
	}
}

// forget says that a transaction didn't commit, or that nobody knows whether it did.
func (f *feed) forget(stamp int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.own, stamp)
}

// acknowledge says that a transaction was committed and the followers were told of it.
func (f *feed) acknowledge(stamp int64) {
	if stamp == 0 {
		return // it left nothing in the feed
	}
	f.mu.Lock()
	if own := f.own[stamp]; own.seen {
		delete(f.own, stamp)
	} else {
		own.acknowledged = time.Now()
	}
	f.mu.Unlock()
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

// writeFeed leaves a transaction in the feed: it must be its last statement.
func writeFeed(ctx context.Context, rows querier, stamp int64, counts bool, changes []store.Change) error {
	told, err := encodeChanges(changes)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	counted := 0
	if counts {
		counted = 1
	}
	_, err = rows.Exec(ctx, `
		WITH p AS (
			INSERT INTO position AS p (shard, n, stamp, counted) VALUES (pg_backend_pid() % 1024, 1, $1, $2)
			ON CONFLICT (shard) DO UPDATE SET n = p.n + 1, stamp = excluded.stamp, counted = p.counted + excluded.counted
			RETURNING shard, n, stamp
		)
		INSERT INTO changes (shard, n, stamp, at, told)
		SELECT shard, n, stamp, `+present+`, $3 FROM p`, stamp, counted, told)
	return err
}

// present is the database's clock.
const present = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

// encodeChanges writes what other processes are told of.
func encodeChanges(changes []store.Change) (string, error) {
	told := slices.DeleteFunc(slices.Clone(changes), func(c store.Change) bool { return c == untold })
	if len(told) == 0 {
		return "", nil
	}
	text, err := json.Marshal(told)
	return string(text), err
}

// followers are told of changes.
type followers struct {
	mu  sync.RWMutex
	all []*following
}

// following tells two registrations of one follower apart.
type following struct{ store.Follower }

// Follow implements store.Store. The first heartbeat comes with the next read.
func (db *DB) Follow(f store.Follower) (stop func()) {
	all := &db.feed.followers
	followed := &following{f}
	all.mu.Lock()
	all.all = append(slices.Clone(all.all), followed)
	all.mu.Unlock()
	db.feed.readNow()
	return func() {
		all.mu.Lock()
		defer all.mu.Unlock()
		all.all = slices.DeleteFunc(slices.Clone(all.all), func(other *following) bool { return other == followed })
	}
}

// tell passes on what followers keep in memory.
func (f *followers) tell(changes []store.Change) {
	changes = slices.DeleteFunc(slices.Clone(changes), func(c store.Change) bool { return c == untold })
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
