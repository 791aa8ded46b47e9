package guess

import (
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// The limits on guessing (NIST SP 800-63B-4 §3.2.2, and ours where that is
// silent): the first failures are free, then each costs twice the wait of the
// one before; after a hundred unknown browsers get one try a day. Nobody is
// locked out for good.
const (
	freeFailures  = 5
	firstDelay    = 30 * time.Second
	longestDelay  = time.Hour
	lockAfter     = 100
	lockedDelay   = 24 * time.Hour
	addressWindow = 10 * time.Minute
	addressLimit  = 100
	// networkLimit is of the wider network that an address belongs to, whose
	// other addresses may be other people's.
	networkLimit = 10 * addressLimit
	// networkWeight is how many failures of a network weigh as much as one of an
	// address, where it is about whose turn is next.
	networkWeight = 8
	// answering is how long an attempt may be looked at. One that takes longer
	// was cut short, by the end of the server say, and isn't a wrong answer.
	answering = time.Minute
)

// The scopes of counters in the store.
const (
	// ScopeUser counts per user, factor and browser.
	ScopeUser = "user"
	// ScopeName counts for names that nobody has.
	ScopeName = "name"
	// ScopeAddress counts per client address, and per wider network.
	ScopeAddress = "address"
	// ScopeBudget counts per user, over everything that can be guessed besides the
	// password, in unknown browsers.
	ScopeBudget = "budget"

	// underWay ends the keys of counters of attempts that are being looked at.
	// They begin with the keys of those of failures, and are deleted with them.
	underWay = "/under-way"
)

// Kept is how many counters of each scope a sweep leaves: a stranger can make
// counters grow for names and addresses.
func Kept() map[string]int { return map[string]int{ScopeName: 10_000, ScopeAddress: 100_000} }

// KeptFor is how long a counter matters after its last failure.
const KeptFor = budgetPeriod

// Slowed says that an attempt was not even looked at.
type Slowed struct {
	// RetryAfter is how long to wait.
	RetryAfter time.Duration
	// Locked says that unknown browsers get one try a day: another factor, a
	// known browser or an administrator helps sooner.
	Locked bool
	// Paused says that so many answers were wrong that unknown browsers take none
	// that can be guessed: another factor, a known browser, a new password or an
	// administrator helps sooner.
	Paused bool
}

func (s *Slowed) Error() string {
	if s.Locked || s.Paused {
		return fmt.Sprintf("too many attempts in unknown browsers: wait %s", s.RetryAfter)
	}
	return fmt.Sprintf("too many attempts: wait %s", s.RetryAfter)
}

// decide is the one rule for every factor and every way in. It returns nil
// where an attempt may be made now.
func decide(a store.Attempts, knownBrowser bool, now time.Time) *Slowed {
	if a.Failures < freeFailures {
		return nil
	}
	locked, pause := a.Failures >= lockAfter && !knownBrowser, delay(a.Failures)
	if locked {
		pause = lockedDelay
	}
	if wait := a.Last.Add(pause).Sub(now); wait > 0 {
		return &Slowed{RetryAfter: wait, Locked: locked}
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

// decideAddress is the rule for one client address or network that failed so
// often in its present window.
func decideAddress(a store.Attempts, limit int, now time.Time) *Slowed {
	if a.Failures < limit {
		return nil
	}
	return &Slowed{RetryAfter: a.First.Add(addressWindow).Sub(now)}
}
