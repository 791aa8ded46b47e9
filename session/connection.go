package session

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Connection is one request under way that ends with its anchors: a WebSocket,
// a stream of events, a long download, or any other. It is used once.
type Connection struct {
	// Terms may be set until it is opened.
	Terms

	// Set when it is opened, and only read afterwards.
	exchange Exchange
	shard    uint8

	// What follows, and Terms once it is open, is guarded by the shard's lock.
	open, ended bool
	// outdated says that the rules changed since it was let in.
	outdated bool
	// doubted is since when it has yet to be told whether it goes on; zero: there
	// is no doubt. doubts is how many there have been.
	doubted    time.Time
	doubts     int
	next, prev *Connection
}

// Terms are on what a connection goes on, by the rules that let it in.
type Terms struct {
	// Anchor is what speaks for whoever sent the request; nil: it is nobody's,
	// and ends with the rules that let everybody in. Of sign-ons, a connection
	// rests on this one alone.
	Anchor Anchor
	// Beside is what else it rests on, such as the device that a person must come
	// from; nil: nothing.
	Beside Anchor
	// Admits reports whether the speaker of Anchor may go on; nil: everybody may.
	Admits func(User) bool
	// Passive says that it doesn't count as activity.
	Passive bool
	// MaxStaleness is how long it goes on while it can't be told whether it may.
	MaxStaleness time.Duration
}

// Exchange is the request under way that a connection is for.
type Exchange interface {
	// Interrupt ends it. It returns soon.
	Interrupt()
	// Outdated reports whether other rules are in force than those that let it
	// in.
	Outdated() bool
	// Decide returns the terms by the rules that are in force, on which the same
	// anchor speaks, or none where everybody is let in. ErrEnded or a
	// DeviceRefusal is a definite no; any other error means that it could not be
	// told. It is called by any goroutine while the request is served.
	Decide(ctx context.Context) (Terms, error)
}

// anchors are what it rests on, each of which may be nil.
func (t Terms) anchors() [2]Anchor { return [2]Anchor{t.Anchor, t.Beside} }

// isNobodys reports whether it rests on nothing.
func (t Terms) isNobodys() bool { return t.Anchor == nil }

// isOfSame reports whether the same anchor speaks as on other terms, or none any
// more.
func (t Terms) isOfSame(before Terms) bool {
	return t.isNobodys() || !before.isNobodys() && t.Anchor.Key() == before.Anchor.Key()
}

// restsOn reports whether one of the anchors is as asked.
func (t Terms) restsOn(is func(Anchor) bool) bool {
	return t.Anchor != nil && is(t.Anchor) || t.Beside != nil && is(t.Beside)
}

// isOver reports whether the time of one of its anchors is up, or it went on in
// doubt for too long.
func (c *Connection) isOver(now time.Time) bool {
	return c.restsOn(func(a Anchor) bool { return !now.Before(a.Until()) }) ||
		!c.doubted.IsZero() && now.Sub(c.doubted) > c.MaxStaleness
}

// connections are those that are open. A shard is a mere list: requests come
// and go all the time, while ends are few.
type connections struct {
	seed   maphash.Seed
	cuts   atomic.Uint64 // connections that were cut
	shards [shardCount]struct {
		mu    sync.Mutex
		first *Connection // the newest
	}
}

func newConnections() *connections { return &connections{seed: maphash.MakeSeed()} }

// attach begins to watch over a connection.
func (c *connections) attach(conn *Connection) {
	conn.shard = c.shardFor(conn)
	s := &c.shards[conn.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.open = true
	if conn.next = s.first; conn.next != nil {
		conn.next.prev = conn
	}
	s.first = conn
}

// shardFor spreads what is nobody's by chance.
func (c *connections) shardFor(conn *Connection) uint8 {
	if conn.isNobodys() {
		return uint8(maphash.Comparable(c.seed, conn) % shardCount)
	}
	return c.shardOf(conn.Anchor.Key())
}

// detach ends watching over a connection. Of one that isn't watched it does
// nothing.
func (c *connections) detach(conn *Connection) {
	s := &c.shards[conn.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.open = false
	switch {
	case conn.prev != nil:
		conn.prev.next = conn.next
	case s.first == conn:
		s.first = conn.next
	}
	if conn.next != nil {
		conn.next.prev = conn.prev
	}
	conn.next, conn.prev = nil, nil
}

// shardOf is where the connections are that an anchor speaks for.
func (c *connections) shardOf(key string) uint8 {
	return uint8(maphash.String(c.seed, key) % shardCount)
}

// each calls visit for every connection that hasn't ended, under its shard's
// lock, and ends those for which it returns true.
func (c *connections) each(visit func(*Connection) (end bool)) {
	for i := range c.shards {
		c.eachIn(uint8(i), visit)
	}
}

func (c *connections) eachIn(shard uint8, visit func(*Connection) (end bool)) {
	s := &c.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := s.first; conn != nil; conn = conn.next {
		if !conn.ended && visit(conn) {
			conn.cut()
			c.cuts.Add(1)
		}
	}
}

// cut ends a connection, under its shard's lock.
func (c *Connection) cut() {
	c.ended = true
	c.exchange.Interrupt()
}
