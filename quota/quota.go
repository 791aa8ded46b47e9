// Package quota bounds how often something may happen within a time, such as a message
// being sent.
//
// It must not know what is counted.
package quota

import (
	"context"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// Quota is how often something may happen in a period that begins with the first time.
type Quota struct {
	Key  string // of its counter
	Most int
	Per  time.Duration
}

// Exceeded says that a quota is used up.
type Exceeded struct {
	Key        string
	RetryAfter time.Duration
}

func (e *Exceeded) Error() string {
	return fmt.Sprintf("the quota %q is used up for %s", e.Key, e.RetryAfter)
}

// Charge counts something against quotas whose counters belong to a scope, and returns
// by key how often it has happened. If one is used up, it returns *Exceeded, upon which
// its transaction has to fail, since some quotas may have been charged.
func Charge(ctx context.Context, tx store.AttemptCounts, scope string, quotas []Quota, at time.Time) (map[string]int, error) {
	counts := make(map[string]int, len(quotas))
	for _, q := range quotas {
		count, err := tx.GetAttempts(ctx, scope, q.Key)
		if err != nil {
			return nil, fmt.Errorf("reading a quota: %w", err)
		}
		count = count.Within(q.Per, at)
		if count.Failures >= q.Most {
			return nil, &Exceeded{q.Key, count.First.Add(q.Per).Sub(at)}
		}
		count.Scope, count.Key, count.Last = scope, q.Key, at
		count.Failures++
		if err := tx.PutAttempts(ctx, count); err != nil {
			return nil, fmt.Errorf("counting against a quota: %w", err)
		}
		counts[q.Key] = count.Failures
	}
	return counts, nil
}
