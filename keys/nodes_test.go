package keys

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// cluster is two nodes over one storage, which read it again each minute, fail
// to now and then, and whose clocks differ.
type cluster struct {
	t        *rapid.T
	storage  *memory
	since    time.Duration
	nodes    [2]*clusterNode
	lifetime time.Duration

	cookies []made // what was ever encoded
	flows   []made // what is sealed for an hour at most
	rows    []made // what is sealed for good
	hashes  []made // which pepper was used, for good
	tokens  []made // what was signed: good for five minutes
}

type clusterNode struct {
	*Set
	skew   time.Duration
	next   time.Duration // when it reads again
	failed bool          // it could not, the last time
}

// made is something that a node made, and when.
type made struct {
	at    time.Duration
	value string
}

func newCluster(t *rapid.T) *cluster {
	c := &cluster{t: t, storage: newMemory(), lifetime: time.Duration(rapid.IntRange(1, 14).Draw(t, "lifetime in hours")) * time.Hour}
	for i := range c.nodes {
		node := &clusterNode{
			skew: time.Duration(rapid.IntRange(-45, 45).Draw(t, "skew")) * time.Second,
			next: time.Duration(rapid.IntRange(0, 60).Draw(t, "phase")) * time.Second,
		}
		set, err := Open(t.Context(), c.storage, rand.Reader, func() time.Time { return clock().Add(c.since + node.skew) }, true)
		c.must(err)
		c.must(set.SetCookieLifetime(c.lifetime))
		node.Set, c.nodes[i] = set, node
	}
	return c
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) node() *clusterNode { return c.nodes[rapid.IntRange(0, 1).Draw(c.t, "node")] }

// pass lets time pass, in which the nodes read again.
func (c *cluster) pass(d time.Duration) {
	for end := c.since + d; ; {
		next := c.nodes[0]
		if c.nodes[1].next < next.next {
			next = c.nodes[1]
		}
		if next.next > end {
			c.since = end
			return
		}
		c.since = next.next
		c.refresh(next)
		next.next += time.Minute
	}
}

// leap lets a long time pass. What the nodes read in it nobody sees, but for
// the last times.
func (c *cluster) leap(d time.Duration) {
	c.since += d
	for _, node := range c.nodes {
		node.next += d
	}
	c.pass(lag)
}

// leapToTheEnd goes to the very moment up to which something has to be read.
func (c *cluster) leapToTheEnd(t *rapid.T) {
	if len(c.cookies) == 0 {
		t.Skip("nothing was made")
	}
	good := rapid.SampledFrom([]time.Duration{c.lifetime, time.Hour}).Draw(t, "good for")
	end := rapid.SampledFrom(c.cookies).Draw(t, "made").at + good
	if d := end - c.since - lag; d > 0 {
		c.leap(d)
	}
}

// refresh fails sometimes, though never twice in a row.
func (c *cluster) refresh(node *clusterNode) {
	node.failed = !node.failed && rapid.IntRange(0, 9).Draw(c.t, "fails") == 0
	if !node.failed {
		c.must(node.Refresh(c.t.Context()))
		return
	}
	c.storage.loadErr = errors.New("broken")
	if err := node.Refresh(c.t.Context()); !errors.Is(err, c.storage.loadErr) {
		c.t.Fatalf("reading a broken storage: %v", err)
	}
	c.storage.loadErr = nil
}

func (c *cluster) rotate(*rapid.T) {
	var soon *TooSoonError
	if err := c.node().Rotate(c.t.Context()); err != nil && !errors.As(err, &soon) {
		c.t.Fatal(err)
	}
}

// make has a node make one of everything.
func (c *cluster) make(*rapid.T) {
	node := c.node()
	encoded, err := node.Codec("n").Encode([]byte("value"))
	c.must(err)
	sealed, err := node.Seal([]byte("secret"), nil)
	c.must(err)
	pepper, _ := node.CurrentPepper()
	signed, _ := node.AssertionKey()
	c.cookies = append(c.cookies, made{c.since, encoded})
	c.flows = append(c.flows, made{c.since, string(sealed)})
	c.rows = append(c.rows, made{c.since, string(sealed)})
	c.hashes = append(c.hashes, made{c.since, pepper})
	c.tokens = append(c.tokens, made{c.since, signed})
}

// prune does what a node does to be rid of what is over: it seals its rows
// again, sees what is still in use, and prunes.
func (c *cluster) prune(*rapid.T) {
	node := c.node()
	used := InUse{Since: node.clock()}
	for i, row := range c.rows {
		id, current := node.SealedBy([]byte(row.value))
		if !current && rapid.Bool().Draw(c.t, "sealed again") {
			secret, err := node.Open([]byte(row.value), nil)
			c.must(err)
			sealed, err := node.Seal(secret, nil)
			c.must(err)
			c.rows[i] = made{c.since, string(sealed)}
			id, _ = node.SealedBy(sealed)
		}
		used.Sealing = append(used.Sealing, id)
	}
	for _, hash := range c.hashes {
		used.Peppers = append(used.Peppers, hash.value)
	}
	c.pass(time.Duration(rapid.IntRange(0, 90).Draw(c.t, "the walk takes")) * time.Second)
	c.must(node.Prune(c.t.Context(), used))
}

// check has every node read everything.
func (c *cluster) check(*rapid.T) {
	stored, err := parse(c.storage.value)
	c.must(err)
	for _, node := range c.nodes {
		for _, cookie := range c.cookies {
			c.checkCookie(node, cookie, stored)
		}
		for _, sealed := range c.rows {
			_, err := node.Open([]byte(sealed.value), nil)
			c.must(err)
		}
		for _, sealed := range c.flows {
			if _, err := node.Open([]byte(sealed.value), nil); err != nil && c.since-sealed.at <= time.Hour {
				c.t.Fatalf("sealed %v ago: %v", c.since-sealed.at, err)
			}
		}
		for _, hash := range c.hashes {
			_, err := node.Pepper(hash.value)
			c.must(err)
		}
		for _, token := range c.tokens {
			if node.AssertionKeys()[token.value] == nil && c.since-token.at <= time.Hour {
				c.t.Fatalf("signed %v ago by a key that isn't published", c.since-token.at)
			}
		}
	}
}

// lag is how far a node can be behind: two readings, and the clocks' skew.
const lag = 2*time.Minute + 90*time.Second

func (c *cluster) checkCookie(node *clusterNode, cookie made, stored document) {
	_, err := node.Codec("n").Decode(cookie.value)
	if age := c.since - cookie.at; err != nil && age <= c.lifetime {
		c.t.Fatalf("a cookie %v old, where sessions live %v: %v", age, c.lifetime, err)
	}
	if end, dies := c.over(cookie.value[:2*idSize], stored); err == nil && dies && c.since > end+lag {
		c.t.Fatalf("a cookie is read whose key was over %v ago", c.since-end)
	}
}

// over is when a cookie key is over, by the stored set.
func (c *cluster) over(id string, stored document) (time.Duration, bool) {
	for i, key := range stored.Cookies {
		if key.ID == id {
			if i == len(stored.Cookies)-1 {
				return 0, false
			}
			return stored.Cookies[i+1].Created.Add(2*Lead + c.lifetime).Sub(clock()), true
		}
	}
	return 0, false // deleted: that nobody reads it is what the others say
}

// TestNodesUnderstandEachOther lets two nodes rotate, read, make and prune at
// any time: whatever one makes the other reads, for as long as it should.
func TestNodesUnderstandEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster(t)
		t.Repeat(map[string]func(*rapid.T){
			"":       c.check,
			"rotate": c.rotate,
			"make":   c.make,
			"prune":  c.prune,
			"end":    c.leapToTheEnd,
			"minutes": func(t *rapid.T) {
				c.pass(time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second)
			},
			"hours": func(t *rapid.T) {
				c.leap(time.Duration(rapid.IntRange(10, 600).Draw(t, "minutes")) * time.Minute)
			},
		})
	})
}
