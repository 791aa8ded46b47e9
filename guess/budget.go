package guess

import (
	"context"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

// Anyone who guesses at a second factor knows the password already. The waits of
// limit.go alone don't stop them for good, since each sign-in of the owner's
// makes them shorter. So there is a budget too: a number of wrong answers that
// unknown browsers get in a period. The 13 periods of a year come to 325 guesses.
// At any time, three of the million codes of an authenticator app are right, so the
// chance is 1 in 1,000.
//
// The budget is one for all factors of an account: with one for each, every
// further factor would give a thief more guesses. Neither a right answer nor a
// sign-in of the owner's gives any of it back. The owner still gets in by
// whatever can't be guessed, and in known browsers. Forget opens a new period.
const (
	budget       = 25
	budgetPeriod = 30 * 24 * time.Hour
)

// spent is what an account's budget has come to.
type spent struct {
	failures store.Attempts // in the present period
	underWay int            // answers that are being looked at
}

// isBudgeted reports whether attempts at a factor in unknown browsers count
// against the budget. Passwords don't: a stranger could use up the budget of
// anybody whose name they know.
func (l *Limiter) isBudgeted(kind assurance.Factor) bool {
	return kind != assurance.Password && l.isGuessable(kind)
}

// spent reads what a user's budget has come to.
func (l *Limiter) spent(ctx context.Context, r reader, user store.User) (*spent, error) {
	failures, err := r.GetAttempts(ctx, ScopeBudget, budgetKey(user.ID))
	if err != nil {
		return nil, err
	}
	s := &spent{failures: failures.Within(budgetPeriod, l.Clock())}
	s.failures.Scope, s.failures.Key = ScopeBudget, budgetKey(user.ID)
	for _, kind := range l.Guessable {
		if !l.isBudgeted(kind) {
			continue
		}
		underWay, err := l.underWay(ctx, r, Attempt{User: user, Factor: kind})
		if err != nil {
			return nil, err
		}
		s.underWay += underWay.Failures
	}
	return s, nil
}

// budgetKey ends in a slash, so that no user's is the prefix of another's.
func budgetKey(userID string) string { return userID + "/" }

// decideBudget is the rule for an account of whose budget so much is spent; nil:
// the attempt doesn't count against it.
func decideBudget(s *spent, now time.Time) *Slowed {
	switch {
	case s == nil:
		return nil
	case s.failures.Failures >= budget:
		return &Slowed{RetryAfter: s.failures.First.Add(budgetPeriod).Sub(now), Paused: true}
	case s.failures.Failures+s.underWay >= budget:
		return &Slowed{RetryAfter: answering}
	}
	return nil
}

// PausedUntil returns until when unknown browsers accept no guessable answers from a
// user, because too many were wrong; zero: they accept them.
func PausedUntil(ctx context.Context, r reader, userID string, now time.Time) (time.Time, error) {
	failures, err := r.GetAttempts(ctx, ScopeBudget, budgetKey(userID))
	if err != nil || failures.Within(budgetPeriod, now).Failures < budget {
		return time.Time{}, err
	}
	return failures.First.Add(budgetPeriod), nil
}
