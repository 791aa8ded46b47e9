package guess

import (
	"context"

	"github.com/portcullis-mfa/portcullis/store"
)

// Forget deletes what is counted for a user, in every browser, and what is spent
// of their budget.
func Forget(ctx context.Context, tx store.Tx, userID string) error {
	if err := tx.DeleteAttempts(ctx, ScopeBudget, budgetKey(userID)); err != nil {
		return err
	}
	return forgetWaits(ctx, tx, userID)
}

func forgetWaits(ctx context.Context, tx store.Tx, userID string) error {
	return tx.DeleteAttempts(ctx, ScopeUser, userID+"/")
}

// Forgive takes the waits from a user who has shown two factors, in every
// browser. What is counted for unknown browsers is forgotten only as far as that
// lets them try once: else whoever guesses there would begin anew each time that
// the owner signs in. The count itself goes with a right answer there, or when
// nothing has come for a month. What is spent of the budget stays spent.
func (l *Limiter) Forgive(ctx context.Context, tx store.Tx, user store.User) error {
	var kept []store.Attempts
	for _, kind := range l.Guessable {
		scope, key := Attempt{User: user, Factor: kind}.counter()
		count, err := tx.GetAttempts(ctx, scope, key)
		if err != nil {
			return err
		}
		if count.Failures == 0 {
			continue
		}
		count.Scope, count.Key = scope, key
		count.Failures = min(count.Failures, lockAfter-1)
		if ready := l.Clock().Add(-longestDelay); count.Last.After(ready) {
			count.Last = ready
		}
		kept = append(kept, count)
	}
	if err := forgetWaits(ctx, tx, user.ID); err != nil {
		return err
	}
	for _, count := range kept {
		if err := tx.PutAttempts(ctx, count); err != nil {
			return err
		}
	}
	return nil
}
