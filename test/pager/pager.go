// Package pager is a factor that only tests know, and uses all that the contract
// of factors offers: a code is sent to a pager, where the owner may also say yes or
// no; and a pager is enrolled in two steps, by its number and by a code. It must
// not know how it is shown, stored or delivered to.
package pager

import (
	"context"
	"encoding/json"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/token"
)

// Kind is the factor's name.
const Kind assurance.Factor = "pager"

const (
	// Patience is how long a question waits for its answer.
	Patience = 2 * time.Minute
	// MostSent is how many messages leave for a question.
	MostSent = 3

	mostWrong = 3
)

// Factor makes pagers a factor.
type Factor struct {
	Clock func() time.Time
	// OnDemand is as in factors.Traits.
	OnDemand bool
	// Weak says that pagers vouch for the loss of nothing.
	Weak bool
	// Rest is how long it takes until a message can be sent again.
	Rest time.Duration
}

// Page is what the factor's pages show.
type Page struct {
	Pager  string // its name
	Number string // what was typed in the first step of an enrolment
}

// question is what a pager keeps of a question.
type question struct {
	Number string    `json:"number,omitempty"` // of an enrolment
	Wrong  int       `json:"wrong,omitempty"`
	Said   string    `json:"said,omitempty"` // at the pager
	Sent   int       `json:"sent,omitempty"`
	At     time.Time `json:"at,omitzero"` // when it was sent last
	Until  time.Time `json:"until,omitzero"`
}

func (q question) turn() *factors.Turn {
	state, err := json.Marshal(q)
	if err != nil {
		panic(err) // there is nothing in it that can't be written
	}
	return &factors.Turn{State: state, Until: q.Until, Settled: q.Said != ""}
}

func (q question) sending(at time.Time) *factors.Turn {
	q.Sent++
	q.At, q.Until = at, at.Add(Patience)
	turn := q.turn()
	turn.Send = true
	return turn
}

func read(state []byte) (q question, err error) { return q, json.Unmarshal(state, &q) }

// Code is the code that leaves for a question.
func Code(ref string) string { return token.Hash("pager\x00" + ref)[:8] }

// Kind implements factors.Factor.
func (Factor) Kind() assurance.Factor { return Kind }

// Most implements factors.Factor.
func (Factor) Most() int { return 2 }

// Traits implements factors.Factor.
func (f Factor) Traits() factors.Traits {
	vouches := 1
	if f.Weak {
		vouches = 0
	}
	return factors.Traits{
		Rank: 1, Vouches: vouches,
		Weight: assurance.Second, Daily: true, Recalls: true, Guessable: true, Delivers: true, OnDemand: f.OnDemand,
		AMR: []string{"otp"},
	}
}

// Reads implements factors.Factor.
func (Factor) Reads(_ []factors.Credential, answer factors.Answer) (bool, error) {
	return answer["code"] != "", nil
}

// Proving implements factors.Factor.
func (f Factor) Proving() factors.Ceremony { return proving{f} }

// Enrolling implements factors.Factor.
func (f Factor) Enrolling() factors.Ceremony { return enrolling{f} }

type proving struct{ Factor }

func (p proving) Begin(context.Context, factors.Asking) (factors.Turn, error) {
	return *question{}.sending(p.Clock()), nil
}

func (p proving) Resume(_ context.Context, a factors.Asking, state []byte) (factors.Page, error) {
	page := factors.Page{Content: Page{Pager: a.Credentials[0].Name}, Waits: true}
	if state == nil {
		return page, nil
	}
	q, err := read(state)
	if q.Sent < MostSent {
		page.Again = &factors.Again{At: q.At.Add(p.Rest), Left: MostSent - q.Sent}
	}
	return page, err
}

func (p proving) Check(_ context.Context, a factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	q, err := read(state)
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case answer == nil && q.Said == "yes", answer != nil && answer["code"] == Code(a.Ref):
		return factors.Verdict{Outcome: factors.OutcomeAccepted, CredentialID: a.Credentials[0].ID}, nil
	case answer == nil:
		return factors.Verdict{Reason: factors.Wrong, Closes: true}, nil
	}
	q.Wrong++
	return factors.Verdict{Reason: factors.Wrong, Next: q.turn(), Closes: q.Wrong == mostWrong}, nil
}

func (p proving) Again(_ context.Context, _ factors.Asking, state []byte) (factors.Verdict, error) {
	q, err := read(state)
	rest := q.At.Add(p.Rest).Sub(p.Clock())
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case q.Sent >= MostSent:
		return factors.Verdict{Reason: factors.TooOften}, nil
	case rest > 0:
		return factors.Verdict{Reason: factors.TooSoon, RetryAfter: rest}, nil
	}
	return factors.Verdict{Outcome: factors.OutcomePending, Next: q.sending(p.Clock())}, nil
}

func (proving) Compose(_ context.Context, a factors.Asking, state []byte) (any, bool, error) {
	q, err := read(state)
	return Code(a.Ref) + " for " + a.Scene.Address, q.Said == "", err
}

func (proving) Resolve(_ context.Context, _ factors.Asking, state, message []byte) (factors.Verdict, error) {
	q, err := read(state)
	if err != nil || q.Said != "" {
		return factors.Verdict{Reply: []byte("answered: " + q.Said)}, err
	}
	q.Said = string(message)
	return factors.Verdict{Next: q.turn(), Reply: []byte("thanks")}, nil
}

type enrolling struct{ Factor }

func (enrolling) Begin(context.Context, factors.Asking) (factors.Turn, error) {
	return *question{}.turn(), nil
}

func (enrolling) Resume(_ context.Context, _ factors.Asking, state []byte) (factors.Page, error) {
	q, err := read(state)
	return factors.Page{Content: Page{Number: q.Number}}, err
}

func (e enrolling) Check(_ context.Context, a factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	q, err := read(state)
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case q.Number == "" && answer["number"] == "":
		return factors.Verdict{Reason: factors.Malformed}, nil
	case q.Number == "":
		q.Number = answer["number"]
		next := q.turn()
		next.Send = true
		return factors.Verdict{Outcome: factors.OutcomePending, Next: next}, nil
	case answer["code"] != Code(a.Ref):
		return factors.Verdict{Reason: factors.Wrong}, nil
	}
	return factors.Verdict{
		Outcome: factors.OutcomeAccepted, Made: factors.Made{Secret: []byte(q.Number), Name: q.Number, Unique: q.Number},
	}, nil
}

func (enrolling) Compose(_ context.Context, a factors.Asking, _ []byte) (any, bool, error) {
	return Code(a.Ref) + " for " + a.Scene.Address, true, nil
}
