package gate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/session"
)

// The reasons why a request that was let in would not be under the rules
// that are in force now.
var (
	errUnguarded  = fmt.Errorf("there is no gate any more: %w", session.ErrEnded)
	errNotAllowed = fmt.Errorf("the current rules don't let it in: %w", session.ErrEnded)
)

// Interrupt implements session.Exchange.
func (r *request) Interrupt() { r.guard.Interrupt() }

// Outdated implements session.Exchange.
func (r *request) Outdated() bool {
	return r.gate.Succession != nil && r.gate.Succession.Replaced()
}

// Decide implements session.Exchange: it has the gate that is in force decide on
// the request as it came.
//
// Whether proofs were fresh enough is a question of when it came: what goes on
// for long needn't be proved again for it. What came without an identity stays
// without one, so it goes on only where everybody is let in.
func (r *request) Decide(ctx context.Context) (session.Terms, error) {
	again := r.recall(ctx)
	g, prepared := r.gate, again.Request
	if g.Succession != nil {
		g, prepared = g.Succession.Successor(prepared, r.origin)
	}
	if g == nil {
		return session.Terms{}, errUnguarded
	}
	again.Request, again.gate = prepared, g
	if g.Preflights && isPreflight(prepared) {
		return r.termsForAnybody(g, false), nil
	}
	if err := g.findAgain(again); err != nil {
		return session.Terms{}, err
	}
	if again.rule.Open {
		return r.termsForAnybody(g, g.ignores(prepared)), nil
	}
	if r.rule == nil || r.rule.Open {
		return session.Terms{}, errNotAllowed
	}
	again.cookies = g.only(r.signOn.ID, again)
	c, err := g.meetsAgain(again, r.arrival.at)
	if err != nil {
		return session.Terms{}, err
	}
	if c.anchor == &again.signOn {
		signOn := again.signOn // without all the rest of the request
		c.anchor = &signOn
	}
	return g.terms(again, &c), nil
}

// termsForAnybody are the terms if a gate now lets everybody in. What a
// sign-on brought still ends with it.
func (r *request) termsForAnybody(g *Gate, passive bool) session.Terms {
	terms := session.Terms{Passive: passive, MaxStaleness: g.MaxStaleness}
	if r.signOn.ID != "" {
		terms.Anchor = &r.signOn
	}
	return terms
}

// findAgain finds the rules of a request that was let in before.
func (g *Gate) findAgain(r *request) (err error) {
	r.rule, r.also = nil, nil
	if r.readings, err = canonical.Readings(r.URL); err == nil {
		err = g.findRules(r)
	}
	if isBadRequest(err) {
		return fmt.Errorf("%w: %w", errNotAllowed, err)
	}
	return err
}

// only returns the session cookies of a request that are of one sign-on.
func (g *Gate) only(signOn string, r *request) Cookies {
	var own Cookies
	for _, value := range r.cookies.Sessions {
		if s, err := g.Sessions.Read(value, r.host); err == nil && s.SignOn == signOn {
			own.Sessions = append(own.Sessions, value)
		}
	}
	return own
}

// meetsAgain decides on a request that was let in at some time, by all its rules,
// and returns the claim by which its own lets it in.
func (g *Gate) meetsAgain(r *request, at time.Time) (c claim, err error) {
	own := r.rule
	for _, rule := range append(r.also[:len(r.also):len(r.also)], own) {
		r.rule = rule
		if c, err = g.identify(r, rule); err != nil {
			return claim{}, asEnd(err)
		}
		if g.judge(r, &c, at) != passes {
			return claim{}, errNotAllowed
		}
	}
	return c, nil
}

// asEnd makes the end of a connection of a reader's definite no.
func asEnd(err error) error {
	var no refusal
	if errors.As(asRefusal(err), &no) || errors.Is(err, errAbsent) {
		return fmt.Errorf("%w: %w", errNotAllowed, err)
	}
	return err
}
