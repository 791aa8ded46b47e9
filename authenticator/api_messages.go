package authenticator

import (
	"context"
	"errors"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/factors/push/message"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// pair has a phone take the code of a pairing.
func (a *API) pair(ctx context.Context, c call) (any, error) {
	var claims message.PairClaims
	if c.signed.Read(&claims) != nil {
		return nil, failed(push.FailedMalformed)
	}
	if !c.signed.IsBy(c.signed.Key) {
		return nil, failed(push.FailedSignature)
	}
	if claims.Code == "" {
		return a.claim(ctx, push.TokenHandle(claims.Token), c)
	}
	code, ok := token.ReadCode(claims.Code, push.CodeLength)
	if !ok {
		return nil, failed(push.FailedUnknown)
	}
	if err := a.reserveGuess(ctx, c.address); err != nil {
		return nil, err
	}
	reply, err := a.claim(ctx, push.CodeHandle(code), c)
	if p := new(problem); errors.As(err, &p) && p.reply.Failure == push.FailedUnknown {
		return nil, err
	}
	return reply, errors.Join(err, a.refundGuess(ctx, c.address))
}

func (a *API) claim(ctx context.Context, handle string, c call) (any, error) {
	ref, err := a.Companions.Referred(ctx, a.Kind, handle)
	if errors.Is(err, ceremony.ErrNone) {
		return nil, failed(push.FailedUnknown)
	}
	if err != nil {
		return nil, err
	}
	return a.resolve(ctx, ref, c)
}

// pairing takes the further messages of a pairing.
func (a *API) pairing(ctx context.Context, c call) (any, error) {
	ref, err := a.Companions.Referred(ctx, a.Kind, push.PhoneHandle(c.signed.Thumbprint))
	if err == nil {
		var reply any
		reply, err = a.resolve(ctx, ref, c)
		if p := new(problem); !errors.As(err, &p) || p.reply.Failure != push.FailedUnknown {
			return reply, err
		}
	} else if !errors.Is(err, ceremony.ErrNone) {
		return nil, err
	}
	// It has come to an end: well, if there is a credential.
	if _, _, err := a.phone(ctx, c); err != nil {
		return nil, err
	}
	return push.Reply{State: "active"}, nil
}

// list returns what a phone displays.
func (a *API) list(ctx context.Context, c call) (any, error) {
	companion, phone, err := a.phone(ctx, c)
	if err != nil {
		return nil, err
	}
	var claims message.ListClaims
	if c.signed.Read(&claims) != nil {
		return nil, failed(push.FailedMalformed)
	}
	open, err := a.Companions.Waiting(ctx, companion)
	if err != nil {
		return nil, err
	}
	reply := struct {
		Account   string       `json:"account"`
		Requests  []push.Shown `json:"requests"`
		Subscribe bool         `json:"subscribe"`
	}{companion.Who.Name, []push.Shown{}, a.Key != "" && (phone.Subscription == nil || phone.Endpoint() != claims.Subscription)}
	for _, q := range open {
		shown, isOpen, err := push.Show(q.Ref, q.State, companion.Credential.ID)
		if err != nil {
			return nil, err
		}
		if isOpen {
			reply.Requests = append(reply.Requests, shown)
		}
	}
	if heard, worthNoting := phone.HeardAt(a.Clock()); worthNoting {
		if err := a.keep(ctx, companion, heard); err != nil && !isChanged(err) {
			return nil, err
		}
	}
	return reply, nil
}

// keep writes down what changed of a phone.
func (a *API) keep(ctx context.Context, companion authflow.Companion, phone push.Phone) error {
	secret, err := phone.Secret()
	if err != nil {
		return err
	}
	return a.Companions.UpdateCompanion(ctx, companion, secret)
}

// isChanged reports whether a phone was changed or removed at the same time.
func isChanged(err error) bool {
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound)
}

// subscribeTries is how often a subscription is written that something else got in
// ahead of.
const subscribeTries = 5

// subscribe takes where a phone can be sent notifications.
func (a *API) subscribe(ctx context.Context, c call) (any, error) {
	for tries := 1; ; tries++ {
		companion, phone, err := a.phone(ctx, c)
		if err != nil {
			return nil, err
		}
		var claims message.SubscribeClaims
		if c.signed.Read(&claims) != nil {
			return nil, failed(push.FailedMalformed)
		}
		reply := push.Reply{State: "unsubscribed"}
		if claims.Subscription != nil {
			if !a.Phones.Accepts(*claims.Subscription) {
				return nil, failed(failedService)
			}
			reply.State = "subscribed"
		}
		phone.Subscription, phone.Heard = claims.Subscription, a.Clock()
		if err := a.keep(ctx, companion, phone); !isChanged(err) || tries == subscribeTries {
			return reply, err
		}
	}
}

// answer takes a decision on a request.
func (a *API) answer(ctx context.Context, c call) (any, error) {
	if _, _, err := a.phone(ctx, c); err != nil {
		return nil, err
	}
	var claims message.AnswerClaims
	if c.signed.Read(&claims) != nil {
		return nil, failed(push.FailedMalformed)
	}
	return a.resolve(ctx, claims.Request, c)
}

// leave has a phone prove nothing any more.
func (a *API) leave(ctx context.Context, c call) (any, error) {
	companion, _, err := a.phone(ctx, c)
	if err != nil {
		return nil, err
	}
	if c.signed.Read(new(message.PlainClaims)) != nil {
		return nil, failed(push.FailedMalformed)
	}
	err = a.Companions.LeaveCompanion(ctx, companion, person.Client{Address: c.address})
	if err != nil && !errors.Is(err, credentials.ErrUnknown) {
		return nil, err
	}
	return push.Reply{State: "removed"}, nil
}
