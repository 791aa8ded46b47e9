package session

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
)

// maxResolved is how many doubts are looked into at once: few enough that
// requests have their turn at the store, too.
const maxResolved = maxReads / 4

// doubt is a connection of which it has yet to be told whether it goes on: what
// it rests on may have changed, or could not be looked up. It stays open until
// it is told that it may not go on, or its MaxStaleness is over.
type doubt struct {
	*Connection
	terms    Terms
	outdated bool // the rules changed, too
	count    int
}

// suspect notes a doubt, under the shard's lock.
func (c *Connection) suspect(now time.Time) {
	c.doubts++
	if c.doubted.IsZero() {
		c.doubted = now
	}
}

// doubt returns the doubt about a connection, under the shard's lock.
func (c *Connection) doubt() doubt {
	return doubt{Connection: c, terms: c.Terms, outdated: c.outdated, count: c.doubts}
}

// suspect notes doubts about the connections that match.
func (c *connections) suspect(now time.Time, matches func(*Connection) bool) (doubts []doubt) {
	c.each(func(conn *Connection) bool {
		if matches(conn) {
			conn.suspect(now)
			doubts = append(doubts, conn.doubt())
		}
		return false
	})
	return doubts
}

// suspectRules notes that the rules changed since a connection was let in.
func (c *connections) suspectRules(conn *Connection, now time.Time) doubt {
	s := &c.shards[conn.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.outdated = true
	conn.suspect(now)
	return conn.doubt()
}

// goOn lets a connection go on, on the terms, unless there is another doubt
// since.
func (c *connections) goOn(d doubt, terms Terms) {
	s := &c.shards[d.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.doubts == d.count {
		d.Terms, d.doubted, d.Connection.outdated = terms, time.Time{}, false
	}
}

// refuse ends a connection, if it hasn't ended.
func (c *connections) refuse(d doubt) {
	s := &c.shards[d.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.open && !d.ended {
		d.cut()
		c.cuts.Add(1)
	}
}

// resolve looks into doubts. Those of which nothing can be told stay.
func (k *Keeper) resolve(doubts []doubt) {
	var looking errgroup.Group
	looking.SetLimit(maxResolved)
	for _, d := range doubts {
		looking.Go(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
			defer cancel()
			terms, err := k.decide(ctx, d)
			switch {
			case err == nil:
				k.connections.goOn(d, terms)
			case isDefinite(err):
				k.connections.refuse(d)
			}
			return nil
		})
	}
	_ = looking.Wait() // nobody returns an error
}

// isDefinite reports whether an error says that something doesn't count, and not
// that it could not be told.
func isDefinite(err error) bool {
	var refusal DeviceRefusal
	return errors.Is(err, ErrEnded) || errors.As(err, &refusal)
}

// decide returns the terms on which a connection in doubt goes on.
func (k *Keeper) decide(ctx context.Context, d doubt) (Terms, error) {
	terms := d.terms
	if d.outdated {
		var err error
		if terms, err = d.exchange.Decide(ctx); err != nil {
			return Terms{}, err
		}
		if !terms.isOfSame(d.terms) {
			return Terms{}, ErrEnded
		}
	}
	return terms, terms.recheck(ctx, terms.Passive)
}

// recheck asks whether the anchors count all the same if they have changed, and
// whether their speaker is admitted if that has.
func (t Terms) recheck(ctx context.Context, passive bool) error {
	if t.Beside != nil {
		if _, err := t.Beside.Check(ctx, passive); err != nil {
			return err
		}
	}
	if t.isNobodys() {
		return nil
	}
	speaker, err := t.Anchor.Check(ctx, passive)
	if err != nil {
		return err
	}
	if t.Admits != nil && speaker != t.Anchor.Speaker() && !t.Admits(speaker.User) {
		return ErrEnded
	}
	return nil
}
