package notify

import (
	"context"
	"errors"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/netblock"
	"github.com/portcullis-mfa/portcullis/quota"
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

// quotas are those of a rate.
func (r Rate) quotas(key string) []quota.Quota {
	return []quota.Quota{{Key: key + "/hour", Most: r.Hour, Per: time.Hour}, {Key: key + "/day", Most: r.Day, Per: 24 * time.Hour}}
}

// inAll is the key of the quota of all messages of a kind.
func inAll(kind assurance.Factor) string { return string(kind) + "/all" }

// quotasOf are those that a message about a question counts against.
func (l Limits) quotasOf(q ceremony.Question) []quota.Quota {
	kind := string(q.Kind)
	quotas := []quota.Quota{{Key: inAll(q.Kind), Most: l.InAll, Per: time.Hour}}
	from, rate := "known", l.Known
	if !q.Scene.Known {
		from, rate = "unknown", l.Unknown
		quotas = append(quotas,
			quota.Quota{Key: kind + "/unknown", Most: l.fromUnknowns(), Per: time.Hour},
			quota.Quota{Key: kind + "/network/" + netblock.Network(q.Scene.Address), Most: l.fromUnknowns() / 2, Per: time.Hour})
	}
	if q.Recipient != "" {
		// Addresses belong to no counter.
		quotas = append(quotas, perRecipient.quotas(kind+"/to/"+token.Hash(q.Recipient))...)
	}
	if q.Owner == "" { // whoever sets up by a link, which they got once
		return quotas
	}
	if q.NewRecipient {
		quotas = append(quotas, quota.Quota{Key: q.Owner + "/" + kind + "/new", Most: newRecipients, Per: 24 * time.Hour})
	}
	return append(quotas, rate.quotas(q.Owner+"/"+kind+"/"+from)...)
}

// charge counts a message against quotas, or returns *factors.Refused if one is used up.
// It returns by key how many messages have left.
func charge(ctx context.Context, tx store.AttemptCounts, quotas []quota.Quota, at time.Time) (map[string]int, error) {
	left, err := quota.Charge(ctx, tx, counted, quotas, at)
	if exceeded := new(quota.Exceeded); errors.As(err, &exceeded) {
		return nil, &factors.Refused{Reason: factors.TooOften, RetryAfter: exceeded.RetryAfter}
	}
	return left, err
}
