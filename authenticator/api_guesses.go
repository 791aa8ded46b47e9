package authenticator

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/netblock"
	"github.com/portcullis-mfa/portcullis/store"
)

// Typed codes of pairings are short, so guesses at them are limited.
const (
	guessed       = "pairing" // the scope of the counters
	guessedWithin = 10 * time.Minute
	mostOfOne     = 10
	mostOfAll     = 1000
)

func guessKeys(address string) []store.AttemptKey {
	return []store.AttemptKey{{Scope: guessed, Key: "all"}, {Scope: guessed, Key: "from/" + netblock.Holder(address)}}
}

// reserveGuess counts a guess before it is looked at.
func (a *API) reserveGuess(ctx context.Context, address string) error {
	var wait time.Duration
	keys, most := guessKeys(address), []int{mostOfAll, mostOfOne}
	err := a.Counters.CountAttempts(ctx, keys, func(counts store.AttemptCounts) error {
		wait = 0
		now := a.Clock()
		var raised []store.Attempts
		for i, key := range keys {
			count, err := counts.GetAttempts(ctx, key.Scope, key.Key)
			if err != nil {
				return err
			}
			count = count.Within(guessedWithin, now)
			if count.Failures >= most[i] {
				wait = max(wait, count.First.Add(guessedWithin).Sub(now))
			}
			count.Scope, count.Key, count.Last = key.Scope, key.Key, now
			count.Failures++
			raised = append(raised, count)
		}
		if wait > 0 {
			return nil
		}
		for _, count := range raised {
			if err := counts.PutAttempts(ctx, count); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("counting a guess at a code: %w", err)
	}
	if wait > 0 {
		return &problem{status: http.StatusTooManyRequests, reply: push.Reply{Failure: failedSlow}, retryAfter: wait}
	}
	return nil
}

// refundGuess takes back a guess that was right, or that nothing could be told of.
func (a *API) refundGuess(ctx context.Context, address string) error {
	keys := guessKeys(address)
	return a.Counters.CountAttempts(ctx, keys, func(counts store.AttemptCounts) error {
		for _, key := range keys {
			count, err := counts.GetAttempts(ctx, key.Scope, key.Key)
			if err != nil || count.Failures == 0 {
				return err
			}
			count.Failures--
			if err := counts.PutAttempts(ctx, count); err != nil {
				return err
			}
		}
		return nil
	})
}
