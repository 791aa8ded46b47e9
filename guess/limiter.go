package guess

import (
	"context"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/netblock"
	"github.com/portcullis-mfa/portcullis/store"
)

// Store keeps the counts.
type Store interface {
	reader
	audit.Transactor
	CountAttempts(ctx context.Context, keys []store.AttemptKey, fn func(counts store.AttemptCounts) error) error
}

// reader reads counts of attempts, alone or in a transaction.
type reader interface {
	GetAttempts(ctx context.Context, scope, key string) (store.Attempts, error)
}

// Queue is where those wait who want a password hashed.
type Queue interface {
	// Enter takes a place in the queue, or returns an error that is
	// identity.ErrBusy. The first hash under the context that it returns has
	// that place, which leave gives up.
	Enter(ctx context.Context, turn identity.Turn) (entered context.Context, leave func(), err error)
}

// Settings are what a Limiter is made of. All fields are needed.
type Settings struct {
	Store Store
	Queue Queue
	Audit *audit.Log
	Clock func() time.Time
	// Guessable are the kinds of proof whose failures slow down what comes after
	// them.
	Guessable []assurance.Factor
}

// Limiter counts attempts and decides which may be made. It is safe for
// concurrent use. Its state is in the store, but for how often addresses found
// the server too busy.
type Limiter struct {
	Settings
	turnedAway *tally
}

// New returns a Limiter.
func New(s Settings) *Limiter { return &Limiter{Settings: s, turnedAway: newTally(s.Clock)} }

// counts are what an attempt is held against.
type counts struct {
	account  store.Attempts // failures in a row
	underWay store.Attempts // attempts that are being looked at
	// sources are the failures of the address and of its network in their
	// windows. Known browsers have none: two hundred people share one address
	// behind a translator.
	sources []store.Attempts
	budget  *spent // nil: the attempt doesn't count against it
	// setBack says that the clock was set back since the last attempt.
	setBack bool
}

// countersOf names all that counts reads of an attempt.
func (l *Limiter) countersOf(a Attempt) (keys []store.AttemptKey) {
	named := func(scope, key string) { keys = append(keys, store.AttemptKey{Scope: scope, Key: key}) }
	scope, key := a.counter()
	named(scope, key)
	named(scope, key+underWay)
	if a.isKnown() {
		return keys
	}
	if a.Nobody == "" && l.isBudgeted(a.Factor) {
		named(ScopeBudget, budgetKey(a.User.ID))
		for _, kind := range l.Guessable {
			scope, key := Attempt{User: a.User, Factor: kind}.counter()
			named(scope, key+underWay)
		}
	}
	named(ScopeAddress, netblock.Holder(a.Address))
	named(ScopeAddress, netblock.Network(a.Address))
	return keys
}

func (l *Limiter) counts(ctx context.Context, r reader, a Attempt) (counts, error) {
	var (
		c          counts
		err        error
		now        = l.Clock()
		scope, key = a.counter()
	)
	if c.account, err = r.GetAttempts(ctx, scope, key); err != nil {
		return c, err
	}
	if c.underWay, err = l.underWay(ctx, r, a); err != nil {
		return c, err
	}
	if c.account.Last.After(now) {
		c.account.Last, c.setBack = now, true // wait from now at most
	}
	c.account.Scope, c.account.Key = scope, key
	if a.isKnown() {
		return c, nil
	}
	if a.Nobody == "" && l.isBudgeted(a.Factor) {
		if c.budget, err = l.spent(ctx, r, a.User); err != nil {
			return c, err
		}
	}
	for _, key := range []string{netblock.Holder(a.Address), netblock.Network(a.Address)} {
		if key == "" {
			continue
		}
		source, err := r.GetAttempts(ctx, ScopeAddress, key)
		if err != nil {
			return c, err
		}
		source.Scope, source.Key = ScopeAddress, key
		c.sources = append(c.sources, source.Within(addressWindow, now))
	}
	return c, nil
}

// underWay reads how many attempts like one are being looked at.
func (l *Limiter) underWay(ctx context.Context, r reader, a Attempt) (store.Attempts, error) {
	scope, key := a.counter()
	count, err := r.GetAttempts(ctx, scope, key+underWay)
	if err != nil {
		return count, err
	}
	if age := l.Clock().Sub(count.Last); age < 0 || age >= answering {
		count.Failures = 0
	}
	count.Scope, count.Key = scope, key+underWay
	return count, nil
}

// decide returns nil where an attempt may be made now.
func (l *Limiter) decide(c counts, a Attempt) *Slowed {
	now := l.Clock()
	for i, source := range c.sources {
		limit := addressLimit
		if i > 0 {
			limit = networkLimit
		}
		source.Failures += l.turnedAway.count(source.Key)
		if slowed := decideAddress(source, limit, now); slowed != nil {
			return slowed
		}
	}
	all := c.account
	if all.Failures += c.underWay.Failures; c.underWay.Failures > 0 {
		all.Last = c.underWay.Last
	}
	return longer(decide(all, a.isKnown(), now), decideBudget(c.budget, now))
}

// longer returns the one of two that has somebody wait longer; nil: neither does.
func longer(a, b *Slowed) *Slowed {
	if a == nil || b != nil && b.RetryAfter > a.RetryAfter {
		return b
	}
	return a
}

// isGuessable reports whether failures at a kind of proof slow down what comes
// after them.
func (l *Limiter) isGuessable(kind assurance.Factor) bool { return slices.Contains(l.Guessable, kind) }
