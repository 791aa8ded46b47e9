package authflow

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
)

// The limits on guessing (NIST SP 800-63B-4 §3.2.2, and ours where that is
// silent): the first failures are free, then each costs twice the wait of the
// one before; after a hundred in a row unknown browsers can't use the factor.
const (
	freeFailures  = 5
	firstDelay    = 30 * time.Second
	longestDelay  = time.Hour
	lockAfter     = 100
	addressWindow = 10 * time.Minute
	addressLimit  = 100
)

// The scopes of counters in the store.
const (
	// ScopeUser counts per user, factor and browser.
	ScopeUser = "user"
	// ScopeName counts for names that nobody has.
	ScopeName = "name"
	// ScopeAddress counts per client address.
	ScopeAddress = "address"
)

// Kept is how many counters of each scope a sweep leaves: a stranger can make
// counters grow for names and addresses.
func Kept() map[string]int { return map[string]int{ScopeName: 10_000, ScopeAddress: 100_000} }

// Slowed says that an attempt was not even looked at.
type Slowed struct {
	// RetryAfter is how long to wait.
	RetryAfter time.Duration
	// Locked says that no waiting helps in this browser: another factor, a
	// known browser or an administrator does.
	Locked bool
}

func (s *Slowed) Error() string {
	if s.Locked {
		return "too many attempts: locked for this browser"
	}
	return fmt.Sprintf("too many attempts: wait %s", s.RetryAfter)
}

// decide is the one rule for every factor and every way in. It returns nil
// where an attempt may be made now.
func decide(a store.Attempts, knownBrowser bool, now time.Time) *Slowed {
	if a.Failures >= lockAfter && !knownBrowser {
		return &Slowed{RetryAfter: longestDelay, Locked: true}
	}
	if a.Failures < freeFailures {
		return nil
	}
	if wait := a.Last.Add(delay(a.Failures)).Sub(now); wait > 0 {
		return &Slowed{RetryAfter: wait}
	}
	return nil
}

// delay is how long to wait after so many failures in a row.
func delay(failures int) time.Duration {
	d := firstDelay
	for i := freeFailures; i < failures && d < longestDelay; i++ {
		d *= 2
	}
	return min(d, longestDelay)
}

// decideAddress is the rule for one client address. A window that lies in the
// future is one from before the clock was set back, and over.
func decideAddress(a store.Attempts, now time.Time) *Slowed {
	if a.Failures < addressLimit || now.Before(a.First) || now.Sub(a.First) >= addressWindow {
		return nil
	}
	return &Slowed{RetryAfter: a.First.Add(addressWindow).Sub(now)}
}

// addressKey folds an address into what one customer of a provider holds: an
// IPv4 address or an IPv6 /64.
func addressKey(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return "unknown"
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	prefix, err := a.Prefix(64)
	if err != nil {
		return "unknown"
	}
	return prefix.String()
}

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

// reserve counts an attempt as failed before it is looked at, so that a
// thousand at once are no more than a thousand in a row, or returns *Slowed.
// It returns how many failures stand including this one.
func (e *Engine) reserve(ctx context.Context, a attempt) (int, error) {
	var (
		failures int
		slowed   *Slowed
	)
	err := e.Store.Atomically(ctx, func(tx store.Tx) error {
		now := e.Clock()
		slowed = nil
		if !a.known {
			address, err := tx.GetAttempts(ctx, ScopeAddress, addressKey(a.client.Address))
			if err != nil {
				return err
			}
			if slowed = decideAddress(address, now); slowed != nil {
				return nil
			}
		}
		count, err := tx.GetAttempts(ctx, a.scope, a.key)
		if err != nil {
			return err
		}
		count.Scope, count.Key = a.scope, a.key
		if count.Last.After(now) {
			count.Last = now // the clock was set back: wait from now at most
		}
		if slowed = decide(count, a.known, now); slowed == nil {
			if count.Failures++; count.First.IsZero() {
				count.First = now
			}
			count.Last = now
		}
		failures = count.Failures
		return tx.PutAttempts(ctx, count)
	})
	if err != nil {
		return 0, fmt.Errorf("counting an attempt: %w", err)
	}
	if slowed != nil {
		e.slowed(a, failures)
		return failures, slowed
	}
	return failures, nil
}

// refund takes back a reservation whose attempt could not be looked at.
func (e *Engine) refund(ctx context.Context, a attempt) error {
	return e.Store.Atomically(context.WithoutCancel(ctx), func(tx store.Tx) error {
		count, err := tx.GetAttempts(ctx, a.scope, a.key)
		if err != nil || count.Failures == 0 {
			return err
		}
		count.Scope, count.Key = a.scope, a.key
		count.Failures--
		return tx.PutAttempts(ctx, count)
	})
}

// countAddress counts a failure for the client's address. Known browsers are
// exempt: two hundred people share one address behind a translator.
func (e *Engine) countAddress(ctx context.Context, a attempt) error {
	if a.known {
		return nil
	}
	return e.Store.Atomically(ctx, func(tx store.Tx) error {
		now := e.Clock()
		count, err := tx.GetAttempts(ctx, ScopeAddress, addressKey(a.client.Address))
		if err != nil {
			return err
		}
		if now.Sub(count.First) >= addressWindow || now.Before(count.First) {
			count = store.Attempts{First: now}
		}
		count.Scope, count.Key = ScopeAddress, addressKey(a.client.Address)
		count.Failures++
		count.Last = now
		return tx.PutAttempts(ctx, count)
	})
}

// recording is how long a wrong answer may take to be written down.
const recording = 10 * time.Second

// failed records a wrong answer and returns the refusal. The answer is counted
// already; what can't be recorded besides doesn't turn it into a right one. Who
// hangs up before they hear of it is written down all the same.
func (e *Engine) failed(ctx context.Context, a attempt, failures int, refusal *Refused) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recording)
	defer cancel()
	if err := e.countAddress(ctx, a); err != nil {
		return fmt.Errorf("counting a failure: %w", err)
	}
	fields := a.fields()
	fields[audit.Reason] = string(refusal.Reason)
	if a.user.ID == "" {
		e.Audit.Note(audit.SignInFailed, "", fields)
		return refusal
	}
	e.Audit.Record(ctx, audit.SignInFailed, a.user.ID, fields)
	if failures == lockAfter {
		e.Audit.Record(ctx, audit.FactorAlert, a.user.ID, audit.Fields{
			audit.User: a.user.Name, audit.Factor: string(a.factor), audit.Address: a.client.Address,
			audit.Failures: strconv.Itoa(failures),
		})
	}
	return refusal
}

// slowed notes an attempt that was not looked at.
func (e *Engine) slowed(a attempt, failures int) {
	fields := a.fields()
	fields[audit.Failures] = strconv.Itoa(failures)
	e.Audit.Note(audit.SignInSlowed, a.user.ID, fields)
}
