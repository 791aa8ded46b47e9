package gate

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/earlydata"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
	"github.com/portcullis-mfa/portcullis/token"
	"github.com/portcullis-mfa/portcullis/upload"
)

const (
	// StateCookie begins the names of the cookies that hold a nonce while the
	// browser is at the portal: one for each attempt.
	StateCookie = "__Host-mfa-state-"
	// maxStates is how many attempts a browser may have under way at one host.
	maxStates = 8
)

// serveOwn serves the gate's own few routes, none of which reads a body.
func (g *Gate) serveOwn(w http.ResponseWriter, r *request) {
	upload.Ignore(w, r.Request)
	route := strings.TrimPrefix(r.URL.Path, Prefix)
	asset, isAsset := strings.CutPrefix(route, g.Pages.AssetPath()+"/")
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case isAsset && read:
		g.Pages.ServeAsset(w, r.Request, asset)
	case route == "whoami" && read:
		g.whoami(w, r)
	case g.SessionNotice && route == noticeScript && read:
		g.serveNotice(w, r)
	case g.SessionNotice && route == noticeState && read:
		g.tellNotice(w, r)
	case earlydata.Carried(r.Request):
		// The rest begins and ends sessions, by GET too.
		g.problem(w, r, http.StatusTooEarly, "gate.too_early.")
	case route == "callback" && read:
		g.callback(w, r)
	case route == "sign-in" && read:
		g.goSignIn(w, r)
	case route == "signed-in" && read:
		g.signedIn(w, r)
	case route == "switch" && read:
		g.switchUser(w, r)
	case route == "sign-out" && read:
		g.askSignOut(w, r)
	case route == "sign-out" && r.Method == http.MethodPost:
		g.signOut(w, r)
	default:
		g.problem(w, r, http.StatusNotFound, "gate.nothing_here.")
	}
}

// state is what a state cookie holds: the nonce of an attempt that is under
// way, or for a moment after it that it landed here.
type state struct {
	Nonce  string    `json:"n,omitempty"`
	Until  time.Time `json:"u,omitzero"`
	Landed bool      `json:"l,omitempty"`
}

func stateCookieName(nonceHash string) string { return StateCookie + nonceHash[:8] }

// setState leaves a nonce at the app's host, and clears the oldest of the
// attempts under way where there would be more than a browser needs.
func (g *Gate) setState(w http.ResponseWriter, r *request, nonce string, ask ticket.Request) error {
	sealed, err := g.sealState(state{Nonce: nonce, Until: ask.Expires})
	if err != nil {
		return err
	}
	for _, name := range g.surplusStates(r) {
		http.SetCookie(w, cookie(name, "", -1))
	}
	http.SetCookie(w, cookie(stateCookieName(ask.NonceHash), sealed, int(ticket.RequestLifetime/time.Second)))
	return nil
}

// markLanding puts a mark in the place of an attempt's nonce, until the browser
// must have shown that it keeps the session too (lostSession). How long that
// is the browser measures, so clocks don't matter.
func (g *Gate) markLanding(w http.ResponseWriter, asked ticket.Request) error {
	sealed, err := g.sealState(state{Landed: true})
	if err != nil {
		return err
	}
	http.SetCookie(w, cookie(stateCookieName(asked.NonceHash), sealed, int(settling/time.Second)))
	return nil
}

func (g *Gate) sealState(s state) (string, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	return g.States.Encode(raw)
}

// surplusStates returns the names of state cookies that have to go for one
// more to come: those that say nothing, and the oldest.
func (g *Gate) surplusStates(r *request) []string {
	type attempt struct {
		name  string
		until time.Time
	}
	var surplus []string
	var kept []attempt
	for name, value := range r.cookies.States {
		s, ok := g.readState(value)
		if !ok {
			surplus = append(surplus, name)
			continue
		}
		kept = append(kept, attempt{name, s.Until})
	}
	slices.SortFunc(kept, func(a, b attempt) int {
		return cmp.Or(a.until.Compare(b.until), cmp.Compare(a.name, b.name))
	})
	for len(kept) >= maxStates {
		surplus = append(surplus, kept[0].name)
		kept = kept[1:]
	}
	return surplus
}

// readState returns what a state cookie says of an attempt that is under way.
func (g *Gate) readState(value string) (state, bool) {
	s, ok := g.openState(value)
	return s, ok && g.Clock().Before(s.Until)
}

func (g *Gate) openState(value string) (state, bool) {
	var s state
	raw, err := g.States.Decode(value)
	return s, err == nil && json.Unmarshal(raw, &s) == nil
}

// cookie is the form of our cookies at an app's host (RFC 6265bis §4.1.3.2 for
// the prefix). maxAge is in seconds; negative: away with it; 0: until the
// browser closes.
func cookie(name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

func (g *Gate) sessionCookie(value string, maxAge int) *http.Cookie {
	return g.embeddable(cookie(SessionCookie, value, maxAge))
}

// embeddable is for cookies that can be wanted inside the pages of other sites.
// Those of a sign-in aren't, which goes through the whole window.
func (g *Gate) embeddable(c *http.Cookie) *http.Cookie {
	if g.SameSite == http.SameSiteNoneMode {
		c.SameSite = http.SameSiteNoneMode
	}
	return c
}

// callback takes the ticket that the portal gave and makes a session of it.
func (g *Gate) callback(w http.ResponseWriter, r *request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		g.badRequest(w, r, err)
		return
	}
	asked, fresh, err := g.Requests.Read(query.Get("request"))
	if err != nil {
		g.badRequest(w, r, err)
		return
	}
	if asked.Origin != r.origin {
		g.badRequest(w, r, errors.New("the sign-in request belongs to another site"))
		return
	}
	if asked.Return, err = g.Returns.Find(r.Context(), asked); err != nil {
		g.unable(w, r, "finding a return URL", err)
		return
	}
	name := stateCookieName(asked.NonceHash)
	s, ok := g.readState(r.cookies.States[name])
	if !ok || !fresh || subtle.ConstantTimeCompare([]byte(token.Hash(s.Nonce)), []byte(asked.NonceHash)) != 1 {
		g.startOver(w, r, asked, "no_state")
		return
	}
	signOn, user, err := g.Tickets.Redeem(r.Context(), query.Get("ticket"), asked)
	if errors.Is(err, ticket.ErrSpent) {
		http.SetCookie(w, cookie(name, "", -1))
		g.startOver(w, r, asked, "spent")
		return
	}
	if err != nil {
		g.unable(w, r, "redeeming a ticket", err)
		return
	}
	g.Audit.Record(r.Context(), audit.AppOpened, user.ID, audit.Fields{
		audit.User: user.Name, audit.App: r.origin, audit.SignOn: audit.ShortID(signOn.ID), audit.Address: g.Address(r.Request),
	})
	g.keepLanguage(w, r, query.Get("language"))
	g.beginSession(w, r, signOn, asked)
}

// beginSession sets the session cookie and leads on to where the person wanted to go.
func (g *Gate) beginSession(w http.ResponseWriter, r *request, signOn session.SignOn, asked ticket.Request) {
	value, err := g.Sessions.Mint(signOn, r.host, asked.Ask)
	if err == nil {
		err = g.markLanding(w, asked)
	}
	if err != nil {
		g.unable(w, r, "minting a session", err)
		return
	}
	maxAge := int(signOn.Expires.Sub(g.Clock()) / time.Second)
	if signOn.Shared {
		maxAge = 0
	}
	http.SetCookie(w, g.sessionCookie(value, maxAge))
	g.arrive(w, r, signOn)
	g.redirect(w, r, asked.Return)
}

func (g *Gate) redirect(w http.ResponseWriter, r *request, to string) {
	templates.Protect(w.Header(), r.isSecure())
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// startOver answers a callback that can't be finished. Who has a session all
// the same (back button, a second click) goes on; anybody else is sent around
// once more, and then told what is wrong.
func (g *Gate) startOver(w http.ResponseWriter, r *request, asked ticket.Request, reason string) {
	c, err := g.bySession(r)
	if err == nil && asked.Ask.Missing(c.proofs, g.Clock(), g.Weights) == assurance.Nothing {
		g.redirect(w, r, asked.Return)
		return
	}
	if err != nil && !isSignedOut(err) {
		g.unable(w, r, "looking up a sign-on", err)
		return
	}
	g.Audit.Note(audit.TicketRefused, "", audit.Fields{
		audit.App: r.origin, audit.Reason: reason, audit.Address: g.Address(r.Request),
	})
	if asked.Attempt > 0 {
		g.stuck(w, r)
		return
	}
	g.toPortal(w, r, ticket.Request{Return: asked.Return, Ask: asked.Ask, Attempt: asked.Attempt + 1})
}

// whoami tells scripts of the app, and people who debug, who is signed in. A page
// may ask again and again, so that doesn't count as activity.
func (g *Gate) whoami(w http.ResponseWriter, r *request) {
	r.rule, r.unattended = g.rest(), true
	c, err := g.identifyPerson(r, r.rule)
	if isSignedOut(err) {
		require := r.rule.Require
		path := signInPath(require, "")
		g.problemWith(w, r, http.StatusUnauthorized, problem{
			Type: typeSignIn, Key: "gate.sign_in.", Values: map[string]any{"Host": r.host},
			ActionURL: path, Required: require, SignIn: r.origin + path,
		})
		return
	}
	if err != nil {
		g.refuseUnidentified(w, r, err)
		return
	}
	groups := c.speaker.Groups
	if groups == nil {
		groups = []string{}
	}
	body, err := json.Marshal(struct {
		User      string    `json:"user"`
		Name      string    `json:"name"`
		Email     string    `json:"email,omitempty"`
		Groups    []string  `json:"groups"`
		Device    string    `json:"device,omitempty"`
		Assurance string    `json:"assurance"`
		Expires   time.Time `json:"expires"`
	}{
		c.speaker.Name, c.speaker.DisplayName, c.speaker.Email, groups, c.deviceName(),
		assurance.Of(c.proofs, g.Weights).String(), c.expires.UTC(),
	})
	if err != nil {
		panic(err) // strings and times only
	}
	g.write(w, r, http.StatusOK, "application/json", body)
}

// askSignOut shows one button: a GET ends nothing.
func (g *Gate) askSignOut(w http.ResponseWriter, r *request) {
	c, err := g.bySession(r)
	if isSignedOut(err) {
		g.signedOut(w, r)
		return
	}
	if err != nil {
		g.unable(w, r, "looking up a sign-on", err)
		return
	}
	g.page(w, r, http.StatusOK, "sign_out", templates.SignOutView{
		Frame: g.frame(r), Name: c.speaker.Name, Action: Prefix + "sign-out",
	})
}

// signOut ends the sign-on, and with it its sessions at all apps.
func (g *Gate) signOut(w http.ResponseWriter, r *request) {
	if crossOrigin.Check(r.Request) != nil || !isForm(r.Header) {
		g.Audit.Note(audit.CrossOrigin, "", audit.Fields{
			audit.App: r.origin, audit.Address: g.Address(r.Request),
		})
		g.problem(w, r, http.StatusForbidden, "gate.other_page.")
		return
	}
	c, err := g.bySession(r)
	var owner session.User
	if err == nil {
		owner, err = g.SignOns.End(r.Context(), c.signOn(), session.EndedSignOut)
	}
	if err != nil && !isSignedOut(err) {
		g.unable(w, r, "signing out", err)
		return
	}
	if owner.ID != "" {
		g.Audit.Record(r.Context(), audit.SignOnEnded, owner.ID, audit.Fields{
			audit.User: owner.Name, audit.SignOn: audit.ShortID(c.signOn()),
			audit.Reason: session.EndedSignOut, audit.Address: g.Address(r.Request),
		})
	}
	g.signedOut(w, r)
}

// signedOut says so. Only a post of our own page may clear what the app left:
// any other site can have this page fetched.
func (g *Gate) signedOut(w http.ResponseWriter, r *request) {
	if r.Method == http.MethodPost {
		g.leave(w, r)
	}
	http.SetCookie(w, g.sessionCookie("", -1))
	for name, value := range r.cookies.States {
		// Anyone who signs in again right away hasn't lost their session.
		if s, ok := g.openState(value); ok && s.Landed {
			http.SetCookie(w, cookie(name, "", -1))
		}
	}
	g.page(w, r, http.StatusOK, "signed_out", templates.SignedOutView{Frame: g.frame(r), SignIn: "/", ByDevice: g.opensByDevice(r)})
}
