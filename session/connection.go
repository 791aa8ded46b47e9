package session

import (
	"hash/maphash"
	"sync"
	"time"
)

// Connection is one request under way that ends with its sign-on, its device,
// or either of them: a WebSocket, a stream of events, a long download, or any
// other. It is used once.
type Connection struct {
	// SignOn is the id of its sign-on; empty: a device alone brought it.
	SignOn string
	// Device is the device that it ends with; nil: none.
	Device *LiveDevice
	// Passive says that it doesn't count as activity.
	Passive bool
	// MaxStaleness is how long it goes on while this process is cut off.
	MaxStaleness time.Duration

	// What the lookup found: only read afterwards. Both are nil without a
	// sign-on.
	signOn  *row[keptSignOn]
	profile *row[Profile]

	// Set when it is opened, and only read afterwards.
	admits    func(User) bool
	interrupt Interrupter

	shard uint8
	// What follows is guarded by the shard's lock.
	ended      bool
	next, prev *Connection
}

// Interrupter ends a request under way. It returns soon.
type Interrupter interface{ Interrupt() }

// known is the profile of its user, as it was found.
func (c *Connection) known() *row[Profile] {
	if c.signOn == nil {
		return c.Device.owner
	}
	return c.profile
}

// user is the id of its user.
func (c *Connection) user() string {
	if c.signOn == nil {
		return c.Device.User.ID
	}
	return c.signOn.value.user
}

// isOver reports whether the time of its sign-on or of its device is up.
func (c *Connection) isOver(now time.Time) bool {
	if c.Device != nil && !now.Before(c.Device.Expires) {
		return true
	}
	return c.signOn != nil && now.UnixNano() >= c.signOn.value.expires
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
	key := conn.SignOn
	if key == "" {
		key = conn.Device.ID
	}
	conn.shard = c.shardOf(key)
	s := &c.shards[conn.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if conn.next = s.first; conn.next != nil {
		conn.next.prev = conn
	}
	s.first = conn
}

// detach ends watching over a connection. Of one that isn't watched it does
// nothing.
func (c *connections) detach(conn *Connection) {
	s := &c.shards[conn.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
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
			conn.ended = true
			conn.interrupt.Interrupt()
		}
	}
}
