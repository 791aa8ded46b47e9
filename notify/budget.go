package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/netblock"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// counted is the scope of the counters of messages.
const counted = "messages"

// Limits bound the messages about questions of one kind.
type Limits struct {
	// InAll is how many may be sent in an hour. Some of them are reserved for known
	// browsers, so that a stranger who asks for codes in many names can't shut out people
	// who have signed in before.
	InAll int
	// Unknown and Known are for each person: for their unknown browsers, and for those that
	// they signed in with before. They are separate, so that somebody who knows the
	// password can't use up the owner's.
	Unknown, Known Rate
}

// Rate is how many messages may be sent in an hour and in a day.
type Rate struct{ Hour, Day int }

// fromUnknowns is the share of InAll for unknown browsers.
func (l Limits) fromUnknowns() int { return l.InAll * 7 / 10 }

// Limits of each kind that operators have no say in.
var (
	// perRecipient is for each address or number, whoever it belongs to.
	perRecipient = Rate{10, 30}
	// newRecipients is how many addresses or numbers a person may name in a day.
	newRecipients = 3
)

// budget is how many messages may leave in a while that begins with the first.
type budget struct {
	key  string
	most int
	per  time.Duration
}

// budgets are those of a rate.
func (r Rate) budgets(key string) []budget {
	return []budget{{key + "/hour", r.Hour, time.Hour}, {key + "/day", r.Day, 24 * time.Hour}}
}

// inAll is the key of the budget of all messages of a kind.
func inAll(kind assurance.Factor) string { return string(kind) + "/all" }

// budgetsOf are those that a message about a question counts against.
func (l Limits) budgetsOf(q ceremony.Question) []budget {
	kind := string(q.Kind)
	budgets := []budget{{inAll(q.Kind), l.InAll, time.Hour}}
	from, rate := "known", l.Known
	if !q.Scene.Known {
		from, rate = "unknown", l.Unknown
		budgets = append(budgets,
			budget{kind + "/unknown", l.fromUnknowns(), time.Hour},
			budget{kind + "/network/" + netblock.Network(q.Scene.Address), l.fromUnknowns() / 2, time.Hour})
	}
	if q.Recipient != "" {
		// Addresses belong to no counter.
		budgets = append(budgets, perRecipient.budgets(kind+"/to/"+token.Hash(q.Recipient))...)
	}
	if q.Owner == "" { // whoever sets up by a link, which they got once
		return budgets
	}
	if q.NewRecipient {
		budgets = append(budgets, budget{q.Owner + "/" + kind + "/new", newRecipients, 24 * time.Hour})
	}
	return append(budgets, rate.budgets(q.Owner+"/"+kind+"/"+from)...)
}

// charge counts a message against budgets, or returns *factors.Refused where one is
// used up. It writes nothing then, since its transaction fails. It returns how many
// messages have left by each budget's key.
func charge(ctx context.Context, tx store.AttemptCounts, budgets []budget, at time.Time) (map[string]int, error) {
	left := make(map[string]int, len(budgets))
	for _, b := range budgets {
		count, err := tx.GetAttempts(ctx, counted, b.key)
		if err != nil {
			return nil, fmt.Errorf("reading how many messages left: %w", err)
		}
		count = count.Within(b.per, at)
		if count.Failures >= b.most {
			return nil, &factors.Refused{Reason: factors.TooOften, RetryAfter: count.First.Add(b.per).Sub(at)}
		}
		count.Scope, count.Key, count.Last = counted, b.key, at
		count.Failures++
		if err := tx.PutAttempts(ctx, count); err != nil {
			return nil, fmt.Errorf("counting a message: %w", err)
		}
		left[b.key] = count.Failures
	}
	return left, nil
}
