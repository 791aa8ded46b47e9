package gate

import (
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// verdict is what a rule says of whoever sent a request.
type verdict int

const (
	// forged: a page of another site may have sent it.
	forged verdict = iota
	// notAllowed: it is somebody who may not pass.
	notAllowed
	// lacking: they may, once they have proved more.
	lacking
	// passes: they may.
	passes
)

// judge decides whether a claim meets the rule of a request. at is the time by
// which proofs have to be fresh enough.
func (g *Gate) judge(r *request, c *claim, at time.Time) verdict {
	switch {
	case g.isForged(r, c.sent):
		return forged
	case !r.rule.admits(c.speaker.User, c.isPersonal()), c.scope != nil && !g.isWithin(r, c.scope):
		return notAllowed
	case c.scope == nil && r.rule.ask(c.device != nil).Missing(c.proofs, at, g.Weights) != assurance.Nothing:
		return lacking
	}
	return passes
}

// meets finds out who sent a request and whether they may pass by its rule;
// otherwise it answers.
func (g *Gate) meets(w http.ResponseWriter, r *request) (claim, bool) {
	c, err := g.identify(r, r.rule)
	if err != nil {
		g.refuseUnidentified(w, r, err)
		return claim{}, false
	}
	switch now := g.Clock(); g.judge(r, &c, now) {
	case passes:
		return c, true
	case forged:
		g.refuseForged(w, r)
	case lacking:
		g.askForMore(w, r, &c, now)
	default:
		g.refuse(w, r, &c)
	}
	return claim{}, false
}

// askForMore answers somebody who may pass once they have proved more.
func (g *Gate) askForMore(w http.ResponseWriter, r *request, c *claim, now time.Time) {
	ask := r.rule.ask(c.device != nil)
	switch {
	case c.sent == byHand:
		g.refuse(w, r, c)
	case c.sent == byConnection:
		g.signIn(w, r, ask)
	case c.session.Asked == ask && isNew(c.session, now):
		// A session that doesn't meet what it was just minted for never
		// will; one that meets another rule is a person clicking on.
		g.stuck(w, r)
	default:
		g.stepUp(w, r, ask)
	}
}
