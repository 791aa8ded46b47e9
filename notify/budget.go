package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/store"
)

// counted is the scope of the counters of messages.
const counted = "messages"

// budget is how many messages may leave in a while that begins with the first.
type budget struct {
	key  string
	most int
	per  time.Duration
}

// Messages about questions that may leave in all, every hour. A part is kept for
// known browsers, so that a stranger who asks for codes in many names shuts nobody
// out who signed in before.
const (
	mostInAll        = 2000
	mostFromUnknowns = mostInAll * 7 / 10
)

// budgetsOf are those that a message about a question counts against. Known and
// unknown browsers of a person have budgets apart: whoever knows the password
// can't use up the owner's.
func budgetsOf(q ceremony.Question) []budget {
	from, hourly, daily := "unknown", 5, 15
	budgets := []budget{{"all", mostInAll, time.Hour}}
	if q.Scene.Known {
		from, hourly, daily = "known", 10, 30
	} else {
		budgets = append(budgets, budget{"unknown", mostFromUnknowns, time.Hour})
	}
	if q.Owner == "" { // whoever sets up by a link, which they got once
		return budgets
	}
	of := fmt.Sprintf("%s/%s/%s/", q.Owner, q.Kind, from)
	return append(budgets, budget{of + "hour", hourly, time.Hour}, budget{of + "day", daily, 24 * time.Hour})
}

// charge counts a message against budgets, or returns *factors.Refused where one is
// used up. It writes nothing then, since its transaction fails.
func charge(ctx context.Context, tx store.AttemptCounts, budgets []budget, at time.Time) error {
	for _, b := range budgets {
		count, err := tx.GetAttempts(ctx, counted, b.key)
		if err != nil {
			return fmt.Errorf("reading how many messages left: %w", err)
		}
		count = count.Within(b.per, at)
		if count.Failures >= b.most {
			return &factors.Refused{Reason: factors.TooOften, RetryAfter: count.First.Add(b.per).Sub(at)}
		}
		count.Scope, count.Key, count.Last = counted, b.key, at
		count.Failures++
		if err := tx.PutAttempts(ctx, count); err != nil {
			return fmt.Errorf("counting a message: %w", err)
		}
	}
	return nil
}
