package authflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/store"
)

// attempt is one try at proving a factor, and names its counter.
type attempt struct {
	scope, key string
	user       store.User // the zero User for a name that nobody has
	factor     assurance.Factor
	known      bool // the browser signed this user in before
	client     Client
}

// attemptOf returns a user's attempt; browser is the known browser's id or
// empty.
func attemptOf(user store.User, factor assurance.Factor, browser string, c Client) attempt {
	bucket := "unknown"
	if browser != "" {
		bucket = browser
	}
	return attempt{
		scope: ScopeUser, key: user.ID + "/" + string(factor) + "/" + bucket,
		user: user, factor: factor, known: browser != "", client: c,
	}
}

// fields are what every audit event about the attempt says.
func (a attempt) fields() audit.Fields {
	return audit.Fields{
		audit.User: a.user.Name, audit.Factor: string(a.factor), audit.Browser: browserKind(a.known),
		audit.Address: a.client.Address, audit.UserAgent: a.client.UserAgent,
	}
}

// counterReader reads counts of attempts, alone or in a transaction.
type counterReader interface {
	GetAttempts(ctx context.Context, scope, key string) (store.Attempts, error)
}

// counters are the counts that an attempt is held against.
type counters struct {
	account  store.Attempts // failures in a row
	underWay store.Attempts // attempts that are being looked at
	// sources are the failures of the address and of its network in their
	// windows. Known browsers have none: two hundred people share one address
	// behind a translator.
	sources []store.Attempts
	// setBack says that the clock was set back since the last attempt.
	setBack bool
}

func (e *Engine) counters(ctx context.Context, r counterReader, a attempt) (counters, error) {
	var (
		c   counters
		err error
		now = e.Clock()
	)
	if c.account, err = r.GetAttempts(ctx, a.scope, a.key); err != nil {
		return c, err
	}
	if c.underWay, err = r.GetAttempts(ctx, a.scope, a.key+underWay); err != nil {
		return c, err
	}
	if c.account.Last.After(now) {
		c.account.Last, c.setBack = now, true // wait from now at most
	}
	if age := now.Sub(c.underWay.Last); age < 0 || age >= answering {
		c.underWay.Failures = 0
	}
	c.account.Scope, c.account.Key = a.scope, a.key
	c.underWay.Scope, c.underWay.Key = a.scope, a.key+underWay
	if a.known {
		return c, nil
	}
	for _, key := range []string{addressKey(a.client.Address), networkKey(a.client.Address)} {
		if key == "" {
			continue
		}
		source, err := r.GetAttempts(ctx, ScopeAddress, key)
		if err != nil {
			return c, err
		}
		source.Scope, source.Key = ScopeAddress, key
		c.sources = append(c.sources, inWindow(source, now))
	}
	return c, nil
}

// decide returns nil where an attempt may be made now.
func (e *Engine) decide(c counters, a attempt) *Slowed {
	now := e.Clock()
	for i, source := range c.sources {
		limit := addressLimit
		if i > 0 {
			limit = networkLimit
		}
		source.Failures += e.turnedAway.count(source.Key)
		if slowed := decideAddress(source, limit, now); slowed != nil {
			return slowed
		}
	}
	all := c.account
	if all.Failures += c.underWay.Failures; c.underWay.Failures > 0 {
		all.Last = c.underWay.Last
	}
	return decide(all, a.known, now)
}

// mayTry returns *Slowed where an attempt isn't to be looked at. It reads
// alone, so whoever has to wait costs the store nothing; only reserve counts.
func (e *Engine) mayTry(ctx context.Context, a attempt) (counters, error) {
	c, err := e.counters(ctx, e.Store, a)
	if err != nil {
		return c, fmt.Errorf("reading counts of attempts: %w", err)
	}
	slowed := e.decide(c, a)
	if slowed == nil || c.setBack {
		return c, nil
	}
	e.slowed(a, c.account.Failures)
	return c, slowed
}

// enter takes a place among those who wait for a hash, as a stranger or as
// somebody known. Whoever finds none has that counted for their address.
func (e *Engine) enter(ctx context.Context, a attempt, c counters, signedIn bool) (context.Context, func(), error) {
	turn := identity.Turn{Known: true, Sharer: a.user.ID}
	if !a.known && !signedIn {
		turn = identity.Turn{Sharer: addressKey(a.client.Address), Network: networkKey(a.client.Address)}
		turn.Since = e.turnedAway.since(turn.Sharer)
		for i, source := range c.sources {
			if i == 0 {
				turn.Failures += source.Failures
			} else {
				turn.Failures += source.Failures / networkWeight
			}
		}
	}
	entered, leave, err := e.Passwords.Enter(ctx, turn)
	if errors.Is(err, ErrBusy) {
		for _, source := range c.sources {
			e.turnedAway.add(source.Key)
		}
	}
	return entered, leave, err
}

// waitingFor has what is hashed for somebody share one claim to the queue. They
// have shown something already, so they don't wait among strangers.
func waitingFor(ctx context.Context, sharer string) context.Context {
	return identity.As(ctx, identity.Turn{Known: true, Sharer: sharer})
}

// waiting is waitingFor whoever makes an attempt. A browser that nobody knows may
// be a thief's, who must not wait in the owner's name.
func (a attempt) waiting(ctx context.Context) context.Context {
	if a.known {
		return waitingFor(ctx, a.user.ID)
	}
	return identity.As(ctx, identity.Turn{
		Known: true, Sharer: addressKey(a.client.Address), Network: networkKey(a.client.Address),
	})
}

// waiting is waitingFor whoever a flow is of, or for whoever has the link that it
// came by.
func (f Flow) waiting(ctx context.Context) context.Context {
	return waitingFor(ctx, cmp.Or(f.Link, f.UserID))
}

// reserve counts an attempt as under way before it is looked at, so that a
// thousand at once are no more than a thousand in a row, or returns *Slowed.
// For the address it counts as a failure from here on, until it succeeds.
func (e *Engine) reserve(ctx context.Context, a attempt) error {
	failures, err := e.count(ctx, a)
	if slowed := new(Slowed); errors.As(err, &slowed) {
		e.slowed(a, failures)
	}
	return err
}

// count is reserve that writes nothing down of what is slowed. It returns how
// many failures there are.
func (e *Engine) count(ctx context.Context, a attempt) (int, error) {
	var (
		failures int
		slowed   *Slowed
	)
	err := e.Store.Atomically(ctx, func(tx store.Tx) error {
		now := e.Clock()
		c, err := e.counters(ctx, tx, a)
		if err != nil {
			return err
		}
		failures, slowed = c.account.Failures, e.decide(c, a)
		if slowed != nil {
			if c.setBack {
				return tx.PutAttempts(ctx, c.account)
			}
			return nil
		}
		if c.underWay.Failures++; c.underWay.First.IsZero() {
			c.underWay.First = now
		}
		c.underWay.Last = now
		for _, source := range c.sources {
			source.Failures++
			source.Last = now
			if err := tx.PutAttempts(ctx, source); err != nil {
				return err
			}
		}
		return tx.PutAttempts(ctx, c.underWay)
	})
	if err != nil {
		return failures, fmt.Errorf("counting an attempt: %w", err)
	}
	if slowed != nil {
		return failures, slowed
	}
	return failures, nil
}

// release takes an attempt back that is no longer under way.
func release(ctx context.Context, tx store.Tx, c counters) error {
	if c.underWay.Failures > 1 {
		c.underWay.Failures--
		return tx.PutAttempts(ctx, c.underWay)
	}
	return tx.DeleteAttempts(ctx, c.underWay.Scope, c.underWay.Key)
}

// acquit takes back what an attempt counts for its address.
func acquit(ctx context.Context, tx store.Tx, c counters) error {
	for _, source := range c.sources {
		if source.Failures == 0 {
			continue
		}
		source.Failures--
		if err := tx.PutAttempts(ctx, source); err != nil {
			return err
		}
	}
	return nil
}

// refund takes back a reservation whose attempt could not be looked at. Where
// there were too many, or the client didn't wait, it stays with the address.
func (e *Engine) refund(ctx context.Context, a attempt, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recording)
	defer cancel()
	return e.Store.Atomically(ctx, func(tx store.Tx) error {
		c, err := e.counters(ctx, tx, a)
		if err != nil {
			return err
		}
		if err := release(ctx, tx, c); err != nil {
			return err
		}
		if errors.Is(cause, ErrBusy) || errors.Is(cause, context.Canceled) {
			return nil
		}
		return acquit(ctx, tx, c)
	})
}

// succeeded forgets the failures before a right answer, in the transaction that
// takes it.
func (e *Engine) succeeded(ctx context.Context, tx store.Tx, a attempt) error {
	c, err := e.counters(ctx, tx, a)
	if err != nil {
		return err
	}
	if err := acquit(ctx, tx, c); err != nil {
		return err
	}
	return tx.DeleteAttempts(ctx, a.scope, a.key)
}

// recording is how long a wrong answer may take to be written down.
const recording = 10 * time.Second

// failed records a wrong answer, in one transaction whoever it is about, and
// returns the refusal. Who hangs up before they hear of it is written down all
// the same.
func (e *Engine) failed(ctx context.Context, a attempt, refusal *Refused) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recording)
	defer cancel()
	fields := a.fields()
	fields[audit.Reason] = string(refusal.Reason)
	err := e.change(ctx, "counting a failure", func(tx store.Tx) ([]store.Event, error) {
		c, err := e.counters(ctx, tx, a)
		if err != nil {
			return nil, err
		}
		if err := release(ctx, tx, c); err != nil {
			return nil, err
		}
		if c.account.Failures++; c.account.First.IsZero() {
			c.account.First = e.Clock()
		}
		c.account.Last = e.Clock()
		if err := tx.PutAttempts(ctx, c.account); err != nil || a.user.ID == "" {
			return nil, err
		}
		events := []store.Event{e.Audit.Event(audit.SignInFailed, a.user.ID, fields)}
		if c.account.Failures == lockAfter {
			events = append(events, e.Audit.Event(audit.FactorAlert, a.user.ID, audit.Fields{
				audit.User: a.user.Name, audit.Factor: string(a.factor), audit.Address: a.client.Address,
				audit.Failures: strconv.Itoa(c.account.Failures),
			}))
		}
		return events, nil
	})
	if err != nil {
		return err
	}
	if a.user.ID == "" {
		e.Audit.Note(audit.SignInFailed, "", fields)
	}
	return refusal
}

// slowed notes an attempt that was not looked at.
func (e *Engine) slowed(a attempt, failures int) {
	fields := a.fields()
	fields[audit.Failures] = strconv.Itoa(failures)
	e.Audit.Note(audit.SignInSlowed, a.user.ID, fields)
}
