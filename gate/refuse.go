package gate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/showable"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
	"github.com/portcullis-mfa/portcullis/token"
	"github.com/portcullis-mfa/portcullis/upload"
)

// problem is a refusal, as a page for people and as JSON (RFC 9457) for all
// other clients.
type problem struct {
	Type string // empty: about:blank
	// Key begins the keys of its texts: "title", "text", and with an ActionURL
	// "action".
	Key string
	// Text is the key of the text where Key doesn't lead to it.
	Text      string
	Values    map[string]any // of the text
	ActionURL string
	// Framed says that it names nobody and offers nothing that a click could be
	// stolen for: it is a page for people inside other pages, too.
	Framed bool
	// Plain says that a program reads the answer, whatever the request looks like:
	// it is never a page.
	Plain     bool
	Retry     time.Duration
	Reference string
	// Required is what a script's user has to prove, at SignIn.
	Required assurance.Requirement
	SignIn   string
}

// The types of problems that a script can do something about.
const (
	typeSignIn = problemTypes + "sign-in-required"
	typeStepUp = problemTypes + "fresh-check-required"

	problemTypes = "https://github.com/portcullis-mfa/portcullis/blob/main/docs/reference.md#"
)

func (g *Gate) reference() string { return token.Reference(g.Random) }

// signIn answers somebody who isn't signed in.
func (g *Gate) signIn(w http.ResponseWriter, r *request, ask assurance.Requirement) {
	if kindOf(r.Request) == navigation && g.lostSession(r) {
		g.stuck(w, r)
		return
	}
	g.demand(w, r, problem{
		Type: typeSignIn, Key: "gate.sign_in.", Values: map[string]any{"Host": r.host}, Required: ask,
	})
}

// stepUp answers somebody of whom a rule asks more than was shown.
func (g *Gate) stepUp(w http.ResponseWriter, r *request, ask assurance.Requirement) {
	g.demand(w, r, problem{
		Type: typeStepUp, Key: "gate.step_up.", Required: ask,
	})
}

// demand has somebody prove what a rule requires, in the way in which their
// browser can: only a person on the way to a page is sent to the portal. It
// sends no WWW-Authenticate, for which browsers would ask for a password of
// their own.
func (g *Gate) demand(w http.ResponseWriter, r *request, p problem) {
	switch kindOf(r.Request) {
	case navigation:
		g.toPortal(w, r, ticket.Request{Return: r.here(), Ask: p.Required})
	case formPost:
		g.keepForm(w, r, p)
	case framed:
		g.leaveFrame(w, r, p)
	default:
		// A script leads its window there, and that brings the window back to
		// its own page, never to what the script asked for.
		p.SignIn = r.origin + signInPath(p.Required, "")
		g.problemWith(w, r, http.StatusUnauthorized, p)
	}
}

// keepForm tells somebody whose form came too late how to send it all the same:
// sent on to the portal, they would lose what they typed. What a page of another
// origin sent is not sent again, since that would then be our own page's doing.
func (g *Gate) keepForm(w http.ResponseWriter, r *request, p problem) {
	if r.fromAnotherOrigin() {
		g.refuseForged(w, r)
		return
	}
	g.page(w, r, http.StatusUnauthorized, "send_again", templates.SendAgainView{
		Frame: g.frame(r), Host: r.host, StepUp: p.Type == typeStepUp,
		SignIn: signInPath(p.Required, signedInPath),
	})
}

// leaveFrame leads out of a frame, where the portal doesn't show itself.
func (g *Gate) leaveFrame(w http.ResponseWriter, r *request, p problem) {
	g.page(w, r, http.StatusUnauthorized, "leave_frame", templates.LeaveFrameView{
		Frame: g.frame(r), Host: r.host, StepUp: p.Type == typeStepUp,
		SignIn: signInPath(p.Required, r.around()),
	})
}

// around is the page that holds the frame if that is of this site, or else what
// the frame shows.
func (r *request) around() string {
	if to := r.referrer(); to != "" {
		return to
	}
	return r.URL.RequestURI()
}

// here is the URL that the browser asked for.
func (r *request) here() string { return r.origin + inASCII(r.URL.RequestURI()) }

// shorten returns a URL of this site without its query, or else that of the first
// page, so that it fits into a request to the portal.
func (r *request) shorten(whole string) string {
	if path, _, _ := strings.Cut(whole, "?"); len(path) <= ticket.MaxReturn {
		return path
	}
	return r.origin + "/"
}

// inASCII percent-encodes the bytes of a query that no URL may hold (RFC 3986
// §2). They are forwarded as they came, but can't be in a request to the portal
// nor in a Location.
func inASCII(uri string) string {
	if !strings.ContainsFunc(uri, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return uri
	}
	var encoded strings.Builder
	for i := range len(uri) {
		if uri[i] < utf8.RuneSelf {
			encoded.WriteByte(uri[i])
		} else {
			fmt.Fprintf(&encoded, "%%%02X", uri[i])
		}
	}
	return encoded.String()
}

// toPortal sends the browser to the portal with a signed request, and leaves
// the nonce that proves where it came from in a cookie at the app's host. A
// return URL that doesn't fit into the request is kept meanwhile.
func (g *Gate) toPortal(w http.ResponseWriter, r *request, ask ticket.Request) {
	if len(ask.Return) > ticket.MaxKeptReturn {
		g.tooLong(w, r, ask.Ask)
		return
	}
	nonce, err := token.New(g.Random)
	if err != nil {
		g.unable(w, r, "making a nonce", err)
		return
	}
	ask.Origin, ask.NonceHash, ask.Expires = r.origin, token.Hash(nonce), g.Clock().Add(ticket.RequestLifetime)
	if whole := ask.Return; len(whole) > ticket.MaxReturn {
		if err := g.Returns.Keep(r.Context(), ask, whole, g.Address(r.Request)); errors.Is(err, ticket.ErrTooManyReturns) {
			g.tooLong(w, r, ask.Ask)
			return
		} else if err != nil {
			g.unable(w, r, "keeping a return URL", err)
			return
		}
		ask.Return, ask.Kept = r.shorten(whole), true
	}
	signed, err := g.Requests.Sign(ask)
	if err != nil {
		g.unable(w, r, "signing a request to the portal", err)
		return
	}
	if err := g.setState(w, r, nonce, ask); err != nil {
		g.unable(w, r, "sealing a nonce", err)
		return
	}
	upload.Ignore(w, r.Request)
	templates.Protect(w.Header(), r.isSecure())
	w.Header().Set("Location", g.signInURL(signed))
	w.WriteHeader(http.StatusFound)
}

// tooLong answers where a return URL can't be kept: signed in first, a person
// can open it again.
func (g *Gate) tooLong(w http.ResponseWriter, r *request, ask assurance.Requirement) {
	g.problemWith(w, r, http.StatusRequestURITooLong, problem{Key: "gate.too_long.", ActionURL: signInPath(ask, "/")})
}

func (g *Gate) signInURL(signed string) string {
	return g.Portal.String() + "/sign-in?request=" + url.QueryEscape(signed)
}

// refuse answers somebody who is signed in and may not pass. In a frame the page
// offers nothing to click, so that pages of any site may show it inside them.
func (g *Gate) refuse(w http.ResponseWriter, r *request, c *claim) {
	what := r.host + showable.Text(r.URL.Path)
	if c.program != nil {
		g.noteRefusedToken(r, nameOf(c.program), tokenForbidden)
	}
	switch {
	case c.sent == byHand || kindOf(r.Request) == background:
		g.problemWith(w, r, http.StatusForbidden, problem{
			Key: "gate.not_for_you.", Values: map[string]any{"Name": c.speaker.Name, "What": what}, Plain: c.sent == byHand,
		})
	case isFrame(r.Header):
		g.page(w, r, http.StatusForbidden, "refused", templates.RefusedView{Frame: g.frame(r), What: what})
	default:
		g.page(w, r, http.StatusForbidden, "refused", templates.RefusedView{
			Frame: g.frame(r), Name: c.speaker.Name, What: what,
			Switch: Prefix + "switch?" + url.Values{"to": {r.again()}}.Encode(),
			Home:   g.Portal.String() + "/",
		})
	}
}

// refusedCredential is the refusal of what was handed over: never a page, since a
// program reads it, and never a redirect, for it would follow that.
type refusedCredential struct{ error }

func (refusedCredential) answer(g *Gate, w http.ResponseWriter, r *request) {
	g.problemWith(w, r, http.StatusUnauthorized, problem{
		Key: "gate.credential.", Values: map[string]any{"Host": r.host}, Plain: true,
	})
}

// refusedFor is the error for which a reader refuses what has ended since it made
// a claim of it.
func (c *claim) refusedFor(err error) error {
	if c.sent == byHand && errors.Is(err, session.ErrEnded) {
		return refusedCredential{err}
	}
	return err
}

// stuck answers where another redirect would only lead back here.
func (g *Gate) stuck(w http.ResponseWriter, r *request) {
	g.problemWith(w, r, http.StatusForbidden, problem{
		Key: "gate.stuck.", Values: map[string]any{"Host": r.host}, ActionURL: r.againLink(), Reference: g.reference(),
	})
}

// again is where a second try leads: what the browser asked for, within this
// site. A form can't be sent by a link.
func (r *request) again() string {
	if strings.HasPrefix(r.URL.Path, Prefix) || kindOf(r.Request) == formPost {
		return "/"
	}
	return r.URL.RequestURI()
}

// againLink is again for a link: a browser takes a path with two slashes in
// front for another site (RFC 3986 §4.2).
func (r *request) againLink() string {
	if path := r.again(); !strings.HasPrefix(path, "//") {
		return path
	}
	return r.origin + r.again()
}

func (g *Gate) badRequest(w http.ResponseWriter, r *request, err error) {
	if check := g.Logger.Check(zap.DebugLevel, "refusing a malformed request"); check != nil {
		check.Write(zap.Error(err))
	}
	g.problemWith(w, r, http.StatusBadRequest, problem{Key: "gate.bad_address.", ActionURL: "/"})
}

// problem answers with a plain refusal.
func (g *Gate) problem(w http.ResponseWriter, r *request, status int, key string) {
	g.problemWith(w, r, status, problem{Key: key})
}

func (g *Gate) problemWith(w http.ResponseWriter, r *request, status int, p problem) {
	if kind := kindOf(r.Request); !p.Plain && (kind.seen() || p.Framed && kind == framed) {
		g.problemPage(w, r, status, p)
		return
	}
	if status == http.StatusUnauthorized && g.challenges(r) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Basic realm=%q, charset="UTF-8"`, r.host))
	}
	body, err := json.Marshal(problemDetails{
		Type: cmp.Or(p.Type, "about:blank"), Title: g.Pages.Text(templates.English, p.Key+"title", nil),
		Status: status, Detail: g.Pages.Text(templates.English, cmp.Or(p.Text, p.Key+"text"), p.Values),
		Required: required(p.Required), SignIn: p.SignIn, Reference: p.Reference,
	})
	if err != nil {
		panic(err) // strings and numbers only
	}
	g.write(w, r, status, "application/problem+json", body)
}

func (g *Gate) problemPage(w http.ResponseWriter, r *request, status int, p problem) {
	frame := g.frame(r)
	inFrame := p.Framed && isFrame(r.Header)
	view := templates.ProblemView{
		Frame: frame, WholeWindow: inFrame, Status: status, RetryAfter: p.Retry, Reference: p.Reference, ActionURL: p.ActionURL,
		Title: g.Pages.Text(frame.Language, p.Key+"title", nil),
		Text:  g.Pages.Text(frame.Language, cmp.Or(p.Text, p.Key+"text"), p.Values),
	}
	if p.ActionURL != "" {
		view.Action = g.Pages.Text(frame.Language, p.Key+"action", nil)
	}
	g.show(w, r, status, "problem", view, inFrame)
}

// problemDetails is a problem as RFC 9457 §3 has it, with what scripts need to
// have it solved.
type problemDetails struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail,omitempty"`
	Required  *requirement `json:"required,omitempty"`
	SignIn    string       `json:"sign_in_url,omitempty"`
	Reference string       `json:"reference,omitempty"`
}

// requirement is what has to be proven, as scripts are told.
type requirement struct {
	Assurance string `json:"assurance"`
	MaxAge    int64  `json:"max_age,omitempty"` // seconds
}

func required(r assurance.Requirement) *requirement {
	if r.Level == assurance.None {
		return nil
	}
	return &requirement{Assurance: r.Level.String(), MaxAge: maxAge(r)}
}

// maxAge is a requirement's maximum age in seconds, at least one; zero: any.
func maxAge(r assurance.Requirement) int64 {
	return int64((r.MaxAge + time.Second - 1) / time.Second)
}

// frame is what every page shows around its card.
func (g *Gate) frame(r *request) templates.Frame {
	return templates.Frame{
		Brand: g.Brand, Contact: g.Contact, Assets: Prefix + g.Pages.AssetPath(),
		Language: g.language(r),
	}
}

// framable are the pages that a frame of any site may show. What they say there
// names nobody, and they hold links to our own sign-in and a button that sends
// the person's own form again: nothing that a click could be stolen for.
var framable = map[string]bool{"send_again": true, "leave_frame": true, "refused": true}

func (g *Gate) page(w http.ResponseWriter, r *request, status int, name string, view any) {
	g.show(w, r, status, name, view, framable[name] && isFrame(r.Header))
}

func (g *Gate) show(w http.ResponseWriter, r *request, status int, name string, view any, inFrame bool) {
	var body bytes.Buffer
	if err := g.Pages.Render(&body, name, view); err != nil {
		g.Logger.Error("rendering a page", zap.String("page", name), zap.Error(err))
		http.Error(w, "Something went wrong on our side. Nothing was changed.", http.StatusInternalServerError)
		return
	}
	protect(w, r)
	if inFrame {
		templates.AllowFraming(w.Header())
	}
	send(w, r, status, "text/html; charset=utf-8", body.Bytes())
}

func (g *Gate) write(w http.ResponseWriter, r *request, status int, contentType string, body []byte) {
	protect(w, r)
	send(w, r, status, contentType, body)
}

// protect sets the headers that every answer of ours carries. They forbid to
// keep it, so no Vary has to tell on what it depends.
func protect(w http.ResponseWriter, r *request) {
	templates.Protect(w.Header(), r.isSecure())
	if r.URL.Path == Prefix+"callback" || TokenInAddress(r.Request) != "" {
		// The page's own address holds a ticket or a token, and both the app and
		// its access log get referrers.
		w.Header().Set("Referrer-Policy", "no-referrer")
	}
}

func send(w http.ResponseWriter, r *request, status int, contentType string, body []byte) {
	upload.Ignore(w, r.Request)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client went away; there is nobody to tell
	}
}

// ErrorPage answers a request that Caddy or a handler refused before the gate
// had passed it, in place of the operator's error route.
func (g *Gate) ErrorPage(w http.ResponseWriter, r *http.Request, status int) {
	g.problemWith(w, &request{Request: r}, status, problem{
		Key: "gate.unopened.", Values: map[string]any{"Status": http.StatusText(status)},
	})
}
