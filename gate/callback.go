package gate

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
	"github.com/portcullis-mfa/portcullis/token"
)

const (
	// StateCookie begins the names of the cookies that hold a nonce while the
	// browser is at the portal: one for each attempt.
	StateCookie = "__Host-mfa-state-"
	// maxStates is how many attempts a browser may have under way at one host.
	maxStates = 8
)

// serveOwn serves the gate's own few routes.
func (g *Gate) serveOwn(w http.ResponseWriter, r *request) {
	route := strings.TrimPrefix(r.URL.Path, Prefix)
	asset, isAsset := strings.CutPrefix(route, g.Pages.AssetPath()+"/")
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case isAsset && read:
		g.Pages.ServeAsset(w, r.Request, asset)
	case route == "callback" && read:
		g.callback(w, r)
	case route == "whoami" && read:
		g.whoami(w, r)
	case route == "switch" && read:
		g.switchUser(w, r)
	case route == "sign-out" && read:
		g.askSignOut(w, r)
	case route == "sign-out" && r.Method == http.MethodPost:
		g.signOut(w, r)
	default:
		g.problem(w, r, http.StatusNotFound, "There is nothing here", "Check the address, or go back.")
	}
}

// state is what a state cookie holds.
type state struct {
	Nonce string    `json:"n"`
	Until time.Time `json:"u"`
}

func stateCookieName(nonceHash string) string { return StateCookie + nonceHash[:8] }

// setState leaves a nonce at the app's host, and clears the oldest of the
// attempts under way where there would be more than a browser needs.
func (g *Gate) setState(w http.ResponseWriter, r *request, nonce string, ask ticket.Request) error {
	raw, err := json.Marshal(state{Nonce: nonce, Until: ask.Expires})
	if err != nil {
		return err
	}
	sealed, err := g.States.Encode(raw)
	if err != nil {
		return err
	}
	for _, name := range g.surplusStates(r) {
		http.SetCookie(w, cookie(name, "", -1))
	}
	http.SetCookie(w, cookie(stateCookieName(ask.NonceHash), sealed, int(ticket.RequestLifetime/time.Second)))
	return nil
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

func (g *Gate) readState(value string) (state, bool) {
	var s state
	raw, err := g.States.Decode(value)
	if err != nil || json.Unmarshal(raw, &s) != nil || !g.Clock().Before(s.Until) {
		return state{}, false
	}
	return s, true
}

// cookie is the form of all our cookies at an app's host (RFC 6265bis §4.1.3.2
// for the prefix). maxAge is in seconds; negative: away with it; 0: until the
// browser closes.
func cookie(name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
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
	name := stateCookieName(asked.NonceHash)
	s, ok := g.readState(r.cookies.States[name])
	if !ok || !fresh || subtle.ConstantTimeCompare([]byte(token.Hash(s.Nonce)), []byte(asked.NonceHash)) != 1 {
		g.startOver(w, r, asked, "no_state")
		return
	}
	http.SetCookie(w, cookie(name, "", -1))
	signOn, _, err := g.Tickets.Redeem(r.Context(), query.Get("ticket"), asked)
	if errors.Is(err, ticket.ErrSpent) {
		g.startOver(w, r, asked, "spent")
		return
	}
	if err != nil {
		g.unable(w, r, "redeeming a ticket", err)
		return
	}
	g.admit(w, r, signOn, asked)
}

// admit sets the session cookie and leads on to where the person wanted to go.
func (g *Gate) admit(w http.ResponseWriter, r *request, signOn session.SignOn, asked ticket.Request) {
	value, err := g.Sessions.Mint(signOn, r.host, asked.Ask)
	if err != nil {
		g.unable(w, r, "minting a session", err)
		return
	}
	http.SetCookie(w, cookie(SessionCookie, value, int(signOn.Expires.Sub(g.Clock())/time.Second)))
	g.redirect(w, r, asked.Return)
}

func (g *Gate) redirect(w http.ResponseWriter, r *request, to string) {
	templates.Protect(w.Header(), r.TLS != nil)
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// startOver answers a callback that can't be finished. Who has a session all
// the same (back button, a second click) goes on; anybody else is sent around
// once more, and then told what is wrong.
func (g *Gate) startOver(w http.ResponseWriter, r *request, asked ticket.Request, reason string) {
	v, err := g.identify(r)
	if err == nil && asked.Ask.Missing(v.session.Proofs, g.Clock(), g.Enabled) == assurance.Nothing {
		g.redirect(w, r, asked.Return)
		return
	}
	if err != nil && !errors.Is(err, errNobody) && !errors.Is(err, errTooSoon) {
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

// switchUser sends somebody who may not pass to sign in as somebody else.
func (g *Gate) switchUser(w http.ResponseWriter, r *request) {
	to := "/"
	if target, err := url.ParseRequestURI(r.URL.Query().Get("to")); err == nil && target.Host == "" && target.Scheme == "" {
		to = inASCII("/" + strings.TrimLeft(target.RequestURI(), "/\\"))
	}
	whole := r.origin + to
	if len(whole) > ticket.MaxReturn {
		whole = r.origin + "/"
	}
	g.toPortal(w, r, ticket.Request{
		Return: whole, Ask: assurance.Requirement{Level: assurance.Multi}, Switch: true,
	})
}

// whoami tells scripts of the app, and people who debug, who is signed in.
func (g *Gate) whoami(w http.ResponseWriter, r *request) {
	v, err := g.identify(r)
	if errors.Is(err, errNobody) || errors.Is(err, errTooSoon) {
		g.problem(w, r, http.StatusUnauthorized, "Sign in first", "You are not signed in to "+r.host+".")
		return
	}
	if err != nil {
		g.unable(w, r, "looking up a sign-on", err)
		return
	}
	groups := v.user.Groups
	if groups == nil {
		groups = []string{}
	}
	body, err := json.Marshal(struct {
		User      string    `json:"user"`
		Name      string    `json:"name"`
		Email     string    `json:"email,omitempty"`
		Groups    []string  `json:"groups"`
		Assurance string    `json:"assurance"`
		Expires   time.Time `json:"expires"`
	}{
		v.user.Name, v.user.DisplayName, v.user.Email, groups,
		assurance.Of(v.session.Proofs, g.Enabled).String(), v.session.Expires.UTC(),
	})
	if err != nil {
		panic(err) // strings and times only
	}
	g.write(w, r, http.StatusOK, "application/json", body)
}

// askSignOut shows one button: a GET ends nothing.
func (g *Gate) askSignOut(w http.ResponseWriter, r *request) {
	v, err := g.identify(r)
	if errors.Is(err, errNobody) || errors.Is(err, errTooSoon) {
		g.signedOut(w, r)
		return
	}
	if err != nil {
		g.unable(w, r, "looking up a sign-on", err)
		return
	}
	g.page(w, r, http.StatusOK, "sign_out", templates.SignOutView{
		Frame: g.frame(), Name: v.user.Name, Action: Prefix + "sign-out",
	})
}

// crossOrigin refuses posts that another site's page sent (Fetch Metadata and
// Origin).
var crossOrigin = http.NewCrossOriginProtection()

// isForm reports whether a body is what our own forms send. A page of another
// site can have text/plain sent by browsers that don't tell where it is from.
func isForm(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/x-www-form-urlencoded"
}

// signOut ends the sign-on, and with it its sessions at all apps.
func (g *Gate) signOut(w http.ResponseWriter, r *request) {
	if crossOrigin.Check(r.Request) != nil || !isForm(r.Request) {
		g.Audit.Note(audit.CrossOrigin, "", audit.Fields{
			audit.App: r.origin, audit.Address: g.Address(r.Request),
		})
		g.problem(w, r, http.StatusForbidden, "This form came from another page", "Go back and try again.")
		return
	}
	v, err := g.identify(r)
	if err == nil {
		err = g.SignOns.End(r.Context(), v.signOn.ID, session.EndedSignOut)
	} else if errors.Is(err, errNobody) || errors.Is(err, errTooSoon) {
		g.signedOut(w, r)
		return
	}
	if err != nil {
		g.unable(w, r, "signing out", err)
		return
	}
	g.Audit.Record(r.Context(), audit.SignOnEnded, v.user.ID, audit.Fields{
		audit.User: v.user.Name, audit.SignOn: audit.ShortID(v.signOn.ID),
		audit.Reason: session.EndedSignOut, audit.Address: g.Address(r.Request),
	})
	g.signedOut(w, r)
}

func (g *Gate) signedOut(w http.ResponseWriter, r *request) {
	http.SetCookie(w, cookie(SessionCookie, "", -1))
	g.page(w, r, http.StatusOK, "signed_out", templates.SignedOutView{Frame: g.frame(), SignIn: "/"})
}
