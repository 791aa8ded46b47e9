package session

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// Connection is one request under way that ends with its sign-on, its device,
// or either of them: a WebSocket, a stream of events, a long download, or any
// other. It is used once.
type Connection struct {
	// SignOn is the id of its sign-on; empty: it has none. What has neither a
	// sign-on nor a device is nobody's, and ends with the rules that let
	// everybody in.
	SignOn string
	// Terms may be set until it is opened.
	Terms

	// What the lookup found: only read afterwards. Both are nil without a
	// sign-on.
	signOn  *row[keptSignOn]
	profile *row[Profile]

	// Set when it is opened, and only read afterwards.
	exchange Exchange

	shard uint8
	// What follows, and Terms once it is open, is guarded by the shard's lock.
	open, ended bool
	// doubted is since when it has yet to be told whether it goes on; zero: there
	// is no doubt. doubts is how many there have been, and outdated says that the
	// rules changed.
	doubted    time.Time
	doubts     int
	outdated   bool
	next, prev *Connection
}

// Terms are on what a connection goes on, by the rules that let it in.
type Terms struct {
	// Device is the device that it ends with; nil: none.
	Device *LiveDevice
	// Admits reports whether its user may go on; nil: everybody may.
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
	// Decide returns the terms by the rules that are in force. ErrEnded or a
	// DeviceRefusal is a definite no; any other error means that it could not be
	// told. It is called by any goroutine while the request is served.
	Decide(ctx context.Context) (Terms, error)
}

// isNobodys reports whether it has neither a sign-on nor a device.
func (c *Connection) isNobodys() bool { return c.signOn == nil && c.Device == nil }

// known is the profile of its user on the terms, as it was found; nil: it is
// nobody's.
func (c *Connection) known(terms Terms) *row[Profile] {
	if c.signOn == nil && terms.Device != nil {
		return terms.Device.owner
	}
	return c.profile
}

// isOf reports whether it, or its device, is a user's.
func (c *Connection) isOf(user string) bool {
	return c.signOn != nil && c.signOn.value.user == user || c.Device != nil && c.Device.User.ID == user
}

// isOver reports whether the time of its sign-on or of its device is up, or it
// went on in doubt for too long.
func (c *Connection) isOver(now time.Time) bool {
	return c.Device != nil && !now.Before(c.Device.Expires) ||
		c.signOn != nil && now.UnixNano() >= c.signOn.value.expires ||
		!c.doubted.IsZero() && now.Sub(c.doubted) > c.MaxStaleness
}

// connections are those that are open. A shard is a mere list: requests come
// and go all the time, while ends are few.
type connections struct {
	seed   maphash.Seed
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
	switch {
	case conn.SignOn != "":
		return c.shardOf(conn.SignOn)
	case conn.Device != nil:
		return c.shardOf(conn.Device.ID)
	}
	return uint8(maphash.Comparable(c.seed, conn) % shardCount)
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

func (c *connections) shardOf(signOn string) uint8 {
	return uint8(maphash.String(c.seed, signOn) % shardCount)
}

// end ends the connections of a sign-on.
func (c *connections) end(signOn string) {
	c.eachIn(c.shardOf(signOn), func(conn *Connection) bool { return conn.SignOn == signOn })
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
		}
	}
}

// cut ends a connection, under its shard's lock.
func (c *Connection) cut() {
	c.ended = true
	c.exchange.Interrupt()
}
