package authflow

import (
	"context"
	"errors"
	"slices"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/store"
)

// noteRefusal returns the refusal of an answer that nobody could have guessed
// right. It is counted and written down no more often than a guess would be, so
// that a flood of them fills no log, and slows nobody down. also, if not nil, is
// done where it is written down.
func (e *Engine) noteRefusal(ctx context.Context, a attempt, refusal *Refused, also func() error) error {
	if refusal.Reason == factors.Malformed || refusal.Reason == factors.Expired {
		return refusal // to no question that was asked
	}
	_, err := e.count(ctx, a)
	if slowed := new(Slowed); errors.As(err, &slowed) {
		return refusal
	}
	if err == nil && also != nil {
		if err = also(); err != nil {
			err = errors.Join(err, e.refund(ctx, a, err))
		}
	}
	if err != nil {
		return err
	}
	return e.failed(ctx, a, refusal)
}

// forgive takes the waits from a user who has shown two factors, in every
// browser. What is counted for unknown browsers is forgotten only as far as that
// lets them try once: else whoever guesses there would begin anew each time that
// the owner signs in. The count itself goes with a right answer there, or when
// nothing has come for a month.
func (e *Engine) forgive(ctx context.Context, tx store.Tx, user store.User) error {
	var kept []store.Attempts
	for _, kind := range e.guessable() {
		at := attemptOf(user, kind, "", Client{})
		count, err := tx.GetAttempts(ctx, at.scope, at.key)
		if err != nil {
			return err
		}
		if count.Failures == 0 {
			continue
		}
		count.Scope, count.Key = at.scope, at.key
		count.Failures = min(count.Failures, lockAfter-1)
		if ready := e.Clock().Add(-longestDelay); count.Last.After(ready) {
			count.Last = ready
		}
		kept = append(kept, count)
	}
	if err := tx.DeleteAttempts(ctx, ScopeUser, user.ID+"/"); err != nil {
		return err
	}
	for _, count := range kept {
		if err := tx.PutAttempts(ctx, count); err != nil {
			return err
		}
	}
	return nil
}

// cleared forgets the failures before a right answer to a second factor's
// challenge, in the transaction that takes it. One that can't be guessed was not
// counted for its address, so nothing is taken back there.
func (e *Engine) cleared(ctx context.Context, tx store.Tx, a attempt) error {
	if slices.Contains(e.guessable(), a.factor) {
		return e.succeeded(ctx, tx, a)
	}
	return tx.DeleteAttempts(ctx, a.scope, a.key)
}

// guessable lists the kinds of proof whose failures slow down what comes after
// them.
func (e *Engine) guessable() []assurance.Factor {
	kinds := []assurance.Factor{assurance.Password}
	for _, factor := range e.Factors {
		if factor.Guessable() {
			kinds = append(kinds, factor.Kind())
		}
	}
	return kinds
}
