package gate

import (
	"errors"
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
)

const (
	// settling is how soon after minting a session can't be refused without
	// something being wrong that another redirect wouldn't mend.
	settling = 10 * time.Second
	// clocksApart is how far the clocks of two nodes may be apart.
	clocksApart = 5 * time.Minute
)

// sessionReader reads the session cookies of a host.
type sessionReader struct{ *Gate }

// take implements reader: no app sees any cookie of ours.
func (sessionReader) take(r *request) error {
	r.cookies.Take(r.Header)
	return nil
}

// read implements reader.
func (s sessionReader) read(r *request, rule *Rule) (claim, error) {
	c, err := s.bySession(r)
	c.proofs = rule.counted(c.proofs)
	return c, err
}

// bySession asks the session cookies who this is, whatever the rule. A refusal
// says that a session was refused right after it was made.
func (g *Gate) bySession(r *request) (claim, error) {
	if len(r.cookies.Sessions) == 0 {
		return claim{}, errAbsent
	}
	refused := errAbsent
	passive := g.ignores(r.Request)
	for _, value := range r.cookies.Sessions {
		s, err := g.Sessions.Read(value, r.host)
		if err != nil {
			continue // garbage, or another host's: as if it were not there
		}
		r.signOn, err = g.SignOns.LiveSignOn(r.Context(), session.SignOnLookup{
			Session: s, Passive: passive || r.past || r.unattended, MaxStaleness: g.MaxStaleness,
		})
		if err == nil {
			return claim{
				speaker: r.signOn.User, proofs: s.Proofs, sent: asCookie, expires: s.Expires,
				anchor: &r.signOn, passive: passive, session: s,
			}, nil
		}
		if !errors.Is(err, session.ErrEnded) {
			return claim{}, err
		}
		// Anybody whose sign-on was ended just has to sign in.
		if isNew(s, g.Clock()) && !errors.Is(err, session.ErrTerminated) {
			refused = refusedTooSoon{}
		}
	}
	return claim{}, refused
}

// counted returns, of what a session proves, what counts at the rule: no
// certificate by which the portal was entered, where the rule ignores them.
func (rule *Rule) counted(proofs []assurance.Proof) []assurance.Proof {
	if rule.Require.Certificate != assurance.CertificateIgnored {
		return proofs
	}
	for i, p := range proofs {
		if p.Factor == assurance.Certificate {
			kept := append([]assurance.Proof(nil), proofs[:i]...)
			return append(kept, proofs[i+1:]...)
		}
	}
	return proofs
}

// isNew reports whether a session was minted a moment ago. One that seems to come
// from the future is new too: the clock of the node that minted it may be ahead.
// One from farther away than that is from before this clock was set back.
func isNew(s *session.Session, now time.Time) bool {
	age := now.Sub(s.Minted)
	return age < settling && age > -clocksApart
}

// refusedTooSoon is the refusal of a session right after it was made. Another
// redirect would lead back here.
type refusedTooSoon struct{}

func (refusedTooSoon) Error() string { return "a new session was refused immediately" }

func (refusedTooSoon) answer(g *Gate, w http.ResponseWriter, r *request) {
	if kindOf(r.Request) == navigation {
		g.stuck(w, r)
		return
	}
	g.signIn(w, r, r.rule.Require)
}

// isSignedOut reports whether an error of bySession is a definite no.
func isSignedOut(err error) bool {
	return errors.Is(err, errAbsent) || errors.Is(err, refusedTooSoon{})
}

// ignores reports whether a request doesn't count as activity. One of which
// that can't be told doesn't either: nobody stays signed in by it.
func (g *Gate) ignores(r *http.Request) (ignored bool) {
	if g.Ignores == nil {
		return false
	}
	defer func() {
		if cause := recover(); cause != nil {
			ignored = true
		}
	}()
	if r.Method == http.MethodConnect {
		defer asUpgrade(r)()
	}
	ignored, err := g.Ignores(r)
	return ignored || err != nil
}

var _ reader = sessionReader{}
