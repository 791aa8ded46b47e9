package authflow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// How often people are disturbed at another device: whoever knows the password could
// ask again and again, until the owner allows it to have peace. Known browsers and
// unknown ones are counted apart, so that such a person doesn't keep the owner from
// signing in.
const (
	// mostDisturbing is how many questions without an approval are put in
	// disturbingFor, before none is put for restAfter.
	mostDisturbing = 3
	disturbingFor  = 10 * time.Minute
	restAfter      = 15 * time.Minute

	disturbances = "disturbance" // the scope of their counters
)

func disturbanceKey(userID string, kind assurance.Factor, known bool) string {
	return fmt.Sprintf("%s/%s/%t", userID, kind, known)
}

// disturb counts a question that a person is put at another device, or returns
// *factors.Refused. One is open at a time: a known browser's takes the place of
// another one. It reports whether the question is the last one that may be put for now.
func (e *Engine) disturb(ctx context.Context, tx store.Tx, fresh ceremony.Question) (isLast bool, err error) {
	open, err := e.book().OpenOf(ctx, tx, fresh.Owner, fresh.Purpose, fresh.Kind)
	if err != nil {
		return false, err
	}
	for _, q := range open {
		if q.Settled {
			continue
		}
		_, err := tx.GetRecord(ctx, person.Flows, q.Flow, e.Clock())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, fmt.Errorf("reading the flow of a question: %w", err)
		}
		if err == nil && !fresh.Scene.Known {
			return false, &factors.Refused{Reason: factors.TooSoon, RetryAfter: q.Until.Sub(e.Clock())}
		}
		if _, err := e.book().Close(ctx, tx, q.Ref); err != nil {
			return false, err
		}
	}
	key, now := disturbanceKey(fresh.Owner, fresh.Kind, fresh.Scene.Known), e.Clock()
	count, err := tx.GetAttempts(ctx, disturbances, key)
	if err != nil {
		return false, fmt.Errorf("reading how often somebody was disturbed: %w", err)
	}
	if count.Failures >= mostDisturbing {
		if rest := count.Last.Add(restAfter).Sub(now); rest > 0 && rest <= restAfter {
			return false, &factors.Refused{Reason: factors.TooOften, RetryAfter: rest}
		}
		count = store.Attempts{First: now}
	}
	count = count.Within(disturbingFor, now)
	count.Scope, count.Key, count.Last = disturbances, key, now
	count.Failures++
	return count.Failures == mostDisturbing, tx.PutAttempts(ctx, count)
}

// undisturbed forgets how often somebody was disturbed, since they approved.
func (e *Engine) undisturbed(ctx context.Context, tx store.Tx, userID string, kind assurance.Factor, known bool) error {
	return tx.DeleteAttempts(ctx, disturbances, disturbanceKey(userID, kind, known))
}
