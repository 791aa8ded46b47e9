package authflow_test

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// TestX05ClockSetForwardAndBack has the clock go wrong and right again, with
// what is cleared away each minute cleared away meanwhile: what was over by the
// wrong time stays over, and nobody is kept out, at the wrong time or after it.
func TestX05ClockSetForwardAndBack(t *testing.T) {
	for _, wrong := range []struct {
		name     string
		by       time.Duration
		ended    bool // sign-ons, whose limits are 12 h and 1 h
		finished bool // flows, links of 15 minutes and tickets
	}{
		{"forward by a day", 24 * time.Hour, true, true},
		{"forward by an hour", time.Hour, false, true},
		{"back by an hour", -time.Hour, false, false},
		{"back by a day", -24 * time.Hour, false, false},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			h := newHouse(t)
			ada, bob := h.person("ada"), h.person("bob")
			signOn, err := h.Grant(h.ctx, ada.complete(), "", person.Client{})
			h.must(err)
			unseen, err := h.Grant(h.ctx, bob.complete(), "", person.Client{})
			h.must(err)
			flow := bob.shown(person.Client{})
			tickets := ticket.NewTickets(h.store, h.clock, rand.Reader)
			request := ticket.Request{Origin: "https://wiki.example.com", NonceHash: "nonce"}
			early, err := tickets.Issue(h.ctx, signOn.SignOn, request)
			h.must(err)
			late, err := tickets.Issue(h.ctx, signOn.SignOn, request)
			h.must(err)
			keeper := h.keeper(t)

			h.pass(wrong.by)
			h.expectEnded(t, keeper, signOn.SignOn.ID, wrong.ended)
			h.expectRedeemed(t, tickets, early, request, !wrong.finished)
			h.expectGone(t, flow, wrong.finished)
			h.signsIn(t, ada)
			_, err = h.store.EndExpiredSignOns(h.ctx, h.clock(), session.EndedExpired, 100)
			h.must(err)
			_, err = h.store.EndExpiredSignOns(h.ctx, h.clock(), session.EndedExpired, 1000)
			h.must(err)
			h.must(h.store.Sweep(h.ctx, h.clock(), store.SweepLimits{
				KeepAttempts: guess.Kept(), AttemptsBefore: h.clock().AddDate(0, -1, 0), SignOnsBefore: h.clock().AddDate(0, 0, -7),
			}))

			h.pass(-wrong.by)
			for _, k := range []*session.Keeper{keeper, h.keeper(t)} {
				h.expectEnded(t, k, signOn.SignOn.ID, wrong.ended)
				// Nobody asked about this one at the wrong time.
				h.expectEnded(t, k, unseen.SignOn.ID, wrong.ended)
			}
			h.expectRedeemed(t, tickets, late, request, !wrong.finished)
			h.expectGone(t, flow, wrong.finished)
			h.signsIn(t, bob)
		})
	}
}

// TestX05SignOnsOfAClockThatWasAhead: whoever signed in meanwhile stays signed in
// for no longer than others do, at work and away from it.
func TestX05SignOnsOfAClockThatWasAhead(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, 24 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			h := newHouse(t)
			ada, bob := h.person("ada"), h.person("bob")
			keeper := h.keeper(t)
			h.pass(ahead)
			working, err := h.Grant(h.ctx, ada.complete(), "", person.Client{})
			h.must(err)
			away, err := h.Grant(h.ctx, bob.complete(), "", person.Client{})
			h.must(err)
			h.expectEnded(t, keeper, working.SignOn.ID, false)
			h.expectEnded(t, keeper, away.SignOn.ID, false)
			keeper.Flush(h.ctx)

			h.pass(-ahead)
			upkeep := func() {
				keeper.Flush(h.ctx)
				_, err = h.store.PullBackSignOns(h.ctx, h.clock(), h.clock().Add(session.DefaultLifetime))
				h.must(err)
			}
			upkeep()
			h.expectEnded(t, keeper, working.SignOn.ID, false)
			work := 30 * time.Minute
			for worked := work; worked < session.DefaultLifetime; worked += work {
				h.pass(work)
				h.expectEnded(t, keeper, working.SignOn.ID, false)
				upkeep()
				if worked == 3*work {
					for _, k := range []*session.Keeper{keeper, h.keeper(t)} {
						h.expectEnded(t, k, away.SignOn.ID, true)
					}
				}
			}
			h.pass(work)
			for _, k := range []*session.Keeper{keeper, h.keeper(t)} {
				h.expectEnded(t, k, working.SignOn.ID, true)
			}
		})
	}
}

// keeper is one that has kept nothing in memory yet.
func (h *house) keeper(t *testing.T) *session.Keeper {
	t.Helper()
	k := session.NewKeeper(h.store, h.clock, func(message string, _ ...zap.Field) { t.Error(message) })
	t.Cleanup(h.store.Follow(k))
	return k
}

func (h *house) expectEnded(t *testing.T, k *session.Keeper, id string, ended bool) {
	t.Helper()
	_, err := k.LiveSignOn(h.ctx, session.SignOnLookup{SignOn: id, MaxStaleness: time.Minute})
	if errors.Is(err, session.ErrEnded) != ended || !ended && err != nil {
		t.Errorf("the sign-on: %v, to have ended: %t", err, ended)
	}
}

func (h *house) expectRedeemed(t *testing.T, tickets *ticket.Tickets, value string, r ticket.Request, good bool) {
	t.Helper()
	if _, _, err := tickets.Redeem(h.ctx, value, r); errors.Is(err, ticket.ErrSpent) == good || good && err != nil {
		t.Errorf("the ticket: %v, to be good: %t", err, good)
	}
}

func (h *house) expectGone(t *testing.T, f authflow.Flow, gone bool) {
	t.Helper()
	if _, err := h.Load(h.ctx, f.ID); errors.Is(err, authflow.ErrFlowGone) != gone || !gone && err != nil {
		t.Errorf("the flow: %v, to be gone: %t", err, gone)
	}
}

// signsIn has somebody sign in by a backup code: what an authenticator shows
// goes by the right time.
func (h *house) signsIn(t *testing.T, p *member) {
	t.Helper()
	f, err := h.signIn(p.name, p.password, from("192.0.2.7"))
	h.must(err)
	h.must(h.Answer(h.ctx, h.load(f), authflow.Response{
		Factor: "backup_code", Answer: factors.Answer{"code": p.codes[0]},
	}, person.Client{}))
	p.codes = p.codes[1:]
	if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); err != nil {
		t.Errorf("signing in: %v", err)
	}
}
