package session

import (
	"context"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// watchEvery is how often connections are held against the clock, and doubts
// are looked into again.
const watchEvery = time.Second

// Open has a connection interrupted from now on as soon as one of its anchors
// ends, their speaker isn't admitted any more, or the rules let it in no more,
// until it is closed. The anchors must have been looked up and found to count,
// and the speaker to be admitted. ErrEnded or a DeviceRefusal says that this has
// changed already; with any error, there is nothing to close.
func (k *Keeper) Open(ctx context.Context, c *Connection, exchange Exchange) error {
	c.exchange = exchange
	terms := c.Terms
	k.connections.attach(c)
	// Asked again now that a change would find the connection: one that came
	// before found nothing to end.
	err := k.reconsider(ctx, c, terms)
	if err != nil {
		k.connections.detach(c)
	}
	return err
}

func (k *Keeper) reconsider(ctx context.Context, c *Connection, terms Terms) error {
	if k.closed.Load() {
		return ErrCutOff
	}
	if !c.exchange.Outdated() {
		return terms.recheck(ctx, false)
	}
	d := k.connections.suspectRules(c, k.clock())
	terms, err := k.decide(ctx, d)
	if err == nil {
		k.connections.goOn(d, terms)
	}
	return err
}

// Close ends watching over an open connection.
func (k *Keeper) Close(c *Connection) { k.connections.detach(c) }

// RulesChanged has each open connection decided on by the rules that are in
// force now, and ends those that they wouldn't let in.
func (k *Keeper) RulesChanged() {
	k.suspect(func(c *Connection) bool {
		c.outdated = c.outdated || c.exchange.Outdated()
		return c.outdated
	})
}

// endAll ends all connections, and has none opened from now on.
func (k *Keeper) endAll() {
	k.closed.Store(true)
	k.connections.each(func(*Connection) bool { return true })
}

// Watch ends the connections one of whose anchors is over its time, went idle or
// isn't vouched for any more, and those that went on for too long in doubt or
// while this process is cut off. All others but passive ones count as activity.
func (k *Keeper) Watch() {
	now := k.clock()
	var doubts []doubt
	vouched := make(map[string]func() error)
	k.connections.each(func(c *Connection) bool {
		if c.isOver(now) || !c.isNobodys() && k.stale(now, c.MaxStaleness) {
			return true
		}
		for _, anchor := range c.anchors() {
			if anchor == nil {
				continue
			}
			if !anchor.Use(now, c.Passive) && c.doubted.IsZero() {
				c.suspect(now)
			}
			if v, ok := anchor.(voucher); ok && v.vouching() != nil {
				vouched[anchor.Key()] = v.vouching()
			}
		}
		if !c.doubted.IsZero() {
			doubts = append(doubts, c.doubt())
		}
		return false
	})
	for key, ask := range vouched {
		if ask() != nil {
			k.connections.each(func(c *Connection) bool {
				return c.restsOn(func(a Anchor) bool { return a.Key() == key })
			})
		}
	}
	if len(doubts) > 0 && k.resolving.CompareAndSwap(false, true) {
		go func() {
			defer k.resolving.Store(false)
			k.resolve(doubts)
		}()
	}
}

// Changed implements store.Follower: it drops what has changed, and looks into
// the connections that rest on it.
func (k *Keeper) Changed(changes []store.Change) {
	for _, change := range changes {
		rests := func(c *Connection) bool {
			return c.restsOn(func(a Anchor) bool { return a.IsAbout(change) })
		}
		switch change.Kind {
		case store.SignOnEnded:
			k.signOns.drop(change.ID)
			// There is nothing to look into, and they are all in one place.
			k.connections.eachIn(k.connections.shardOf(change.ID), rests)
			continue
		case store.SignOnChanged:
			k.signOns.drop(change.ID)
			continue
		case store.RecordsChanged:
			continue // nothing of them is in memory, and no connection rests on one
		case store.UserChanged:
			k.profiles.drop(change.ID)
		case store.DeviceChanged:
			k.devices.drop(change.ID)
		case store.AccessTokenChanged:
			k.knownTokens.add(change.ID)
			k.accessTokens.drop(change.ID)
		}
		k.suspect(rests)
	}
}

// suspect looks into the connections that match, since what they rest on may
// have changed.
func (k *Keeper) suspect(matches func(*Connection) bool) {
	if doubts := k.connections.suspect(k.clock(), matches); len(doubts) > 0 {
		go k.resolve(doubts)
	}
}

// Heartbeat implements store.Follower.
func (k *Keeper) Heartbeat(sent time.Time) {
	if k.lost.Swap(false) {
		k.knownTokens.miss()
		k.dropAll()
	}
	k.heard.Store(int64(sent.Sub(k.began)))
}

// Renewed implements store.Follower.
func (k *Keeper) Renewed(string) { k.dropAll() }

// dropAll drops everything that was read before, and looks into the connections
// that rest on it.
func (k *Keeper) dropAll() {
	k.signOns.dropAll()
	k.profiles.dropAll()
	k.devices.dropAll()
	k.accessTokens.dropAll()
	k.suspect(func(c *Connection) bool { return !c.isNobodys() })
}

// Lost implements store.Follower: what is in memory serves until it is too old,
// and is dropped with the next Heartbeat.
func (k *Keeper) Lost() { k.lost.Store(true) }

var _ store.Follower = (*Keeper)(nil)
