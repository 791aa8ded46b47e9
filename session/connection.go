package session

import (
	"hash/maphash"
	"sync"
	"time"
)

// Connection is one request under way that ends with its sign-on: a WebSocket,
// a stream of events, a long download, or any other. It is used once.
type Connection struct {
	// SignOn is the id of the sign-on that it is attached to.
	SignOn string
	// Passive says that it doesn't count as activity.
	Passive bool
	// MaxStaleness is how long it goes on while this process is cut off.
	MaxStaleness time.Duration

	// About the sign-on, as of the lookup: written before the connection is
	// opened and only read afterwards.
	user    string
	expires int64 // nanoseconds since 1970
	idle    time.Duration

	shard uint8
	// What follows is guarded by the shard's lock.
	ended      bool
	interrupt  Interrupter // nil until the connection is opened
	admits     func(User) bool
	next, prev *Connection
}

// Interrupter ends a request under way. It returns soon.
type Interrupter interface{ Interrupt() }

// connections are those under way, by sign-on.
type connections struct {
	seed   maphash.Seed
	shards [shardCount]struct {
		mu    sync.Mutex
		first map[string]*Connection // the newest of each sign-on
	}
}

func newConnections() *connections {
	c := &connections{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].first = make(map[string]*Connection)
	}
	return c
}

// attach begins to watch over a connection.
func (c *connections) attach(conn *Connection) {
	conn.shard = c.shardOf(conn.SignOn)
	s := &c.shards[conn.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if conn.next = s.first[conn.SignOn]; conn.next != nil {
		conn.next.prev = conn
	}
	s.first[conn.SignOn] = conn
}

// detach ends watching over a connection.
func (c *connections) detach(conn *Connection) {
	s := &c.shards[conn.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case conn.prev != nil:
		conn.prev.next = conn.next
	case conn.next != nil:
		s.first[conn.SignOn] = conn.next
	default:
		delete(s.first, conn.SignOn)
	}
	if conn.next != nil {
		conn.next.prev = conn.prev
	}
	conn.next, conn.prev = nil, nil
}

// open has a connection interrupted from now on when it is to end, and reports
// false if it was to end already.
func (c *connections) open(conn *Connection, admits func(User) bool, interrupt Interrupter) bool {
	s := &c.shards[conn.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.admits, conn.interrupt = admits, interrupt
	return !conn.ended
}

func (c *connections) shardOf(signOn string) uint8 {
	return uint8(maphash.String(c.seed, signOn) % shardCount)
}

// end ends the connections of a sign-on.
func (c *connections) end(signOn string) {
	s := &c.shards[c.shardOf(signOn)]
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := s.first[signOn]; conn != nil; conn = conn.next {
		conn.end()
	}
}

// end is called under the shard's lock.
func (conn *Connection) end() {
	if conn.ended {
		return
	}
	conn.ended = true
	if conn.interrupt != nil {
		conn.interrupt.Interrupt()
	}
}

// each calls visit for every open connection, under its shard's lock, and ends
// those for which it returns true.
func (c *connections) each(visit func(*Connection) (end bool)) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, first := range s.first {
			for conn := first; conn != nil; conn = conn.next {
				if conn.interrupt != nil && !conn.ended && visit(conn) {
					conn.end()
				}
			}
		}
		s.mu.Unlock()
	}
}
