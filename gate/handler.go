package gate

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/earlydata"
	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/session"
)

const (
	// SessionCookie holds the session of one host.
	SessionCookie = "__Host-mfa"
	// Prefix is where the gate's own routes are, on every site.
	Prefix = "/.mfa/"
)

// errAmbiguous says that two ways of reading a URL would be decided by two
// rules.
var errAmbiguous = errors.New("the address can be read in two ways that are treated differently")

// request is one request on its way through the gate. What a request needs
// stands together, so that it is allocated once.
type request struct {
	*http.Request
	host     string   // canonical name
	origin   string   // of the site
	readings []string // of the path, other than the path itself
	cookies  Cookies
	gate     *Gate
	rule     *Rule
	also     []*Rule  // that second targets come under, too
	barred   []string // methods that a form must not name
	// past says that it was let in before, and is decided on once more.
	past bool
	// unattended says that nobody does anything, so it doesn't count as activity.
	unattended bool
	signOn     session.LiveSignOn // that lets it pass; zero: none does
	handed     string             // what Gate.handed took; empty: nothing
	connection session.Connection
	guard      responseGuard
	visitor    Visitor
	identity   identityValues
	arrival    arrival
}

// isSecure reports whether the browser sent a request over HTTPS, be it to a
// proxy in front.
func (r *request) isSecure() bool { return r.TLS != nil || strings.HasPrefix(r.origin, "https://") }

// ServeHTTP decides on a request and either answers it or passes it to next.
// Only errors of next are returned: what the gate refuses it answers itself,
// since an error route could forward it.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request, next Next) error {
	// Identity goes before anything is decided, on open paths too.
	g.Headers.Strip(r.Header)
	CleanConnection(r.Header)
	StripTrailers(r)
	req := &request{Request: r, gate: g}
	if err := g.takeCredentials(req); err != nil {
		if errors.Is(err, errTokenExposed) {
			g.noteExposedToken(req)
		}
		g.badRequest(w, req, err)
		return nil
	}

	if r.ProtoAtLeast(1, 0) && isReplayable(r) {
		g.problem(w, req, http.StatusTooEarly, "gate.too_early.")
		return nil
	}
	if err := g.place(req); err != nil {
		g.badRequest(w, req, err)
		return nil
	}
	if strings.HasPrefix(r.URL.Path, Prefix) {
		g.serveOwn(w, req)
		return nil
	}
	if g.Preflights && isPreflight(r) {
		asPreflight(r)
		return g.passAnybody(w, req, next)
	}
	if err := g.findRules(req); err != nil {
		g.undecided(w, req, err)
		return nil
	}
	if req.rule.Open {
		return g.passAnybody(w, req, next)
	}
	return g.decide(w, req, next)
}

// undecided answers where no rule could be chosen.
func (g *Gate) undecided(w http.ResponseWriter, r *request, err error) {
	if isBadRequest(err) {
		g.badRequest(w, r, err)
		return
	}
	g.unable(w, r, "matching the rules of a gate", err)
}

// isBadRequest reports whether an error says that a request can't be decided on
// as it is, whatever the rules.
func isBadRequest(err error) bool {
	malformed := canonical.TargetError("")
	return errors.Is(err, errAmbiguous) || errors.As(err, &malformed)
}

// passAnybody passes a request on without an identity, for as long as the rules
// let everybody in.
func (g *Gate) passAnybody(w http.ResponseWriter, r *request, next Next) error {
	r.arrival.note(r.Request, g.Clock())
	r.connection.Terms = session.Terms{MaxStaleness: g.MaxStaleness}
	if err := g.open(w, r); err != nil {
		g.unable(w, r, "passing what is open to everybody", err)
		return nil
	}
	defer g.SignOns.Close(&r.connection)
	return g.pass(w, r, next, nil)
}

// open has the request cut off from now on as soon as it may not go on.
func (g *Gate) open(w http.ResponseWriter, r *request) error {
	r.guard.ResponseWriter, r.guard.protocol = w, r.ProtoMajor
	return g.SignOns.Open(r.Context(), &r.connection, r)
}

// pass serves what lies behind the gate.
func (g *Gate) pass(w http.ResponseWriter, r *request, next Next, visitor *Visitor) error {
	if len(r.barred) > 0 {
		if err := screenForm(r.Request, r.barred); err != nil {
			g.badRequest(w, r, err)
			return nil
		}
	}
	r.guard.private = visitor != nil
	defer r.guard.finish()
	if r.ProtoMajor > 2 {
		// There the server doesn't cancel what has been interrupted.
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		r.guard.onCut(cancel)
		r.Request = r.WithContext(ctx)
	}
	err := next(&r.guard, r.Request, visitor)
	switch r.guard.fate() {
	case unbegun:
		r.guard.finish()
		g.answerCut(w, r)
		return nil
	case broken:
		// What is cut short must not look whole.
		panic(http.ErrAbortHandler)
	}
	return err
}

// decide is the way of a request that is not open. Whoever sent it must meet
// the rules of its second targets first, then its own.
func (g *Gate) decide(w http.ResponseWriter, r *request, next Next) error {
	own := r.rule
	for _, rule := range r.also {
		r.rule = rule
		if _, ok := g.meets(w, r); !ok {
			return nil
		}
	}
	r.rule = own
	c, ok := g.meets(w, r)
	if !ok {
		return nil
	}
	return g.passAs(w, r, next, &c)
}

// refuseUnidentified answers a request whose sender could not be identified.
func (g *Gate) refuseUnidentified(w http.ResponseWriter, r *request, err error) {
	var no refusal
	switch {
	case errors.As(asRefusal(err), &no):
		no.answer(g, w, r)
	case errors.Is(err, errAbsent), errors.Is(err, session.ErrEnded):
		g.signIn(w, r, r.rule.Require)
	default:
		g.unable(w, r, "looking up a sign-on", err)
	}
}

// passAs passes a request on with the identity of its sender, for as long as
// what the claim rests on lives and the rule allows the user.
func (g *Gate) passAs(w http.ResponseWriter, r *request, next Next, c *claim) error {
	r.arrival.note(r.Request, g.Clock())
	g.Headers.Set(r.Header, c.speaker, c.programName(), &r.identity)
	assertion, err := g.assert(r, c)
	if err != nil {
		g.unable(w, r, "signing an assertion", err)
		return nil
	}
	g.warnOfLength(r, c.speaker.Name, len(assertion))
	r.connection.Terms = g.terms(r, c)
	if err := g.open(w, r); err != nil {
		g.refuseUnidentified(w, r, c.refusedFor(err))
		return nil
	}
	defer g.SignOns.Close(&r.connection)
	if device := g.needed(r, c); device != nil {
		g.noteAdmission(r, c, device)
	}
	if c.program != nil {
		g.noteUse(r, c.program)
	}
	r.visitor = Visitor{User: c.speaker, Device: c.deviceName(), Program: c.programName(), proofs: c.proofs, weights: g.Weights}
	if g.StandIn != "" {
		r.visitor.Assertion = assertion
	}
	if g.SessionNotice && c.sent != byHand {
		g.offerNotice(r)
	}
	err = g.pass(w, r, next, &r.visitor)
	if c.program != nil && r.guard.unauthorized {
		g.noteAppRefusal(r, c.program)
	}
	return err
}

// assert sets AssertionHeader and returns the assertion.
func (g *Gate) assert(r *request, c *claim) (string, error) {
	if g.Assertions == nil {
		return "", nil
	}
	statement := Statement{SignOn: c.signOn(), User: c.speaker, Proofs: c.proofs, Expires: c.expires}
	if c.program != nil {
		statement.Program = c.program.ID
	}
	assertion, err := g.Assertions.Token(statement, r.origin)
	if err != nil {
		return "", err
	}
	r.identity.assertion[0] = assertion
	if g.StandIn != "" {
		r.identity.assertion[0] = g.StandIn
	}
	r.Header[AssertionHeader] = r.identity.assertion[:]
	return assertion, nil
}

// terms are on what a request goes on that passes by a claim.
func (g *Gate) terms(r *request, c *claim) session.Terms {
	return session.Terms{
		Anchor: c.anchor, Beside: c.beside, Admits: r.allows(c), Passive: c.passive, MaxStaleness: g.MaxStaleness,
	}
}

// unable answers where it could not be told who this is: never through.
func (g *Gate) unable(w http.ResponseWriter, r *request, doing string, err error) {
	reference := g.reference()
	g.Logger.Error(doing, zap.Error(err), zap.String("reference", reference), zap.String("host", r.host))
	w.Header().Set("Retry-After", "5")
	g.problemWith(w, r, http.StatusServiceUnavailable, problem{
		Key: "gate.unable.", Retry: 5 * time.Second, Reference: reference,
	})
}

// isReplayable reports whether a request that changes something came in TLS early
// data (RFC 8470 §3). One that names another method changes something too, if
// the app listens to that.
func isReplayable(r *http.Request) bool {
	if !earlydata.Carried(r) {
		return false
	}
	others, err := overrides(r)
	return r.Method != http.MethodGet && r.Method != http.MethodHead || len(others) > 0 || err != nil
}
