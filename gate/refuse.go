package gate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
	"github.com/portcullis-mfa/portcullis/token"
)

// problem is a refusal, as a page for people and as JSON (RFC 9457) for all
// other clients.
type problem struct {
	Title     string
	Text      string
	Action    string
	ActionURL string
	Retry     time.Duration
	Reference string
}

func (g *Gate) reference() string { return token.Reference(g.Random) }

// isNavigation reports whether a person looks at what this request brings:
// only they are sent elsewhere. Browsers say so (W3C Fetch Metadata); where
// they don't, somebody who accepts HTML is taken for one.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	h := r.Header
	if h.Get("Upgrade") != "" || strings.Contains(h.Get("Sec-Purpose"), "prefetch") {
		return false
	}
	if mode := h.Get("Sec-Fetch-Mode"); mode != "" {
		destination := h.Get("Sec-Fetch-Dest")
		return mode == "navigate" && (destination == "document" || destination == "")
	}
	return strings.Contains(strings.ToLower(h.Get("Accept")), "text/html")
}

// signIn answers somebody who isn't signed in.
func (g *Gate) signIn(w http.ResponseWriter, r *request) {
	if !isNavigation(r.Request) {
		g.problemWith(w, r, http.StatusUnauthorized, problem{
			Title: "Sign in first", Text: "You are not signed in to " + r.host + ".",
		})
		return
	}
	g.toPortal(w, r, ticket.Request{Return: r.here(), Ask: r.rule.Require})
}

// stepUp answers somebody of whom a rule asks more than was shown.
func (g *Gate) stepUp(w http.ResponseWriter, r *request) {
	if !isNavigation(r.Request) {
		g.problemWith(w, r, http.StatusUnauthorized, problem{
			Title: "A fresh check is needed", Text: "This part needs a fresh check that it's you.",
		})
		return
	}
	g.toPortal(w, r, ticket.Request{Return: r.here(), Ask: r.rule.Require})
}

// here is the URL that the browser asked for, or the nearest to it that fits
// into a request to the portal.
func (r *request) here() string {
	whole := r.origin + inASCII(r.URL.RequestURI())
	if len(whole) <= ticket.MaxReturn {
		return whole
	}
	if path := r.origin + r.URL.EscapedPath(); len(path) <= ticket.MaxReturn {
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
// the nonce that proves where it came from in a cookie at the app's host.
func (g *Gate) toPortal(w http.ResponseWriter, r *request, ask ticket.Request) {
	nonce, err := token.New(g.Random)
	if err != nil {
		g.unable(w, r, "making a nonce", err)
		return
	}
	ask.Origin, ask.NonceHash, ask.Expires = r.origin, token.Hash(nonce), g.Clock().Add(ticket.RequestLifetime)
	signed, err := g.Requests.Sign(ask)
	if err != nil {
		g.unable(w, r, "signing a request to the portal", err)
		return
	}
	if err := g.setState(w, r, nonce, ask); err != nil {
		g.unable(w, r, "sealing a nonce", err)
		return
	}
	templates.Protect(w.Header(), r.TLS != nil)
	w.Header().Set("Location", g.signInURL(signed))
	w.WriteHeader(http.StatusFound)
}

func (g *Gate) signInURL(signed string) string {
	return g.Portal.String() + "/sign-in?request=" + url.QueryEscape(signed)
}

// refuse answers somebody who is signed in and may not pass.
func (g *Gate) refuse(w http.ResponseWriter, r *request, v visit) {
	if !isNavigation(r.Request) {
		g.problemWith(w, r, http.StatusForbidden, problem{
			Title: "Not for you", Text: v.user.Name + " can't open " + r.host + r.URL.Path + ".",
		})
		return
	}
	g.page(w, r, http.StatusForbidden, "refused", templates.RefusedView{
		Frame: g.frame(), Name: v.user.Name, What: r.host + r.URL.Path,
		Switch: Prefix + "switch?" + url.Values{"to": {r.URL.RequestURI()}}.Encode(),
		Home:   g.Portal.String() + "/",
	})
}

// stuck answers where another redirect would only lead back here.
func (g *Gate) stuck(w http.ResponseWriter, r *request) {
	g.problemWith(w, r, http.StatusForbidden, problem{
		Title: "We can't keep you signed in here",
		Text: "You signed in, but " + r.host + " didn't take it. Most often the browser isn't keeping our cookies: " +
			"allow cookies for this site, then try again.",
		Action: "Try again", ActionURL: r.again(), Reference: g.reference(),
	})
}

// again is where a second try leads: what the browser asked for, within this
// site.
func (r *request) again() string {
	if strings.HasPrefix(r.URL.Path, Prefix) {
		return "/"
	}
	return r.URL.RequestURI()
}

func (g *Gate) badRequest(w http.ResponseWriter, r *request, err error) {
	if check := g.Logger.Check(zap.DebugLevel, "refusing a malformed request"); check != nil {
		check.Write(zap.Error(err))
	}
	g.problemWith(w, r, http.StatusBadRequest, problem{
		Title:  "This address can't be opened",
		Text:   "The link or address has a form that isn't allowed here. Check it, or start from the app's first page.",
		Action: "First page", ActionURL: "/",
	})
}

// problem answers with a plain refusal.
func (g *Gate) problem(w http.ResponseWriter, r *request, status int, title, text string) {
	g.problemWith(w, r, status, problem{Title: title, Text: text})
}

func (g *Gate) problemWith(w http.ResponseWriter, r *request, status int, p problem) {
	if isNavigation(r.Request) {
		g.page(w, r, status, "problem", templates.ProblemView{
			Frame: g.frame(), Status: status, Title: p.Title, Text: p.Text,
			Action: p.Action, ActionURL: p.ActionURL, RetryAfter: p.Retry, Reference: p.Reference,
		})
		return
	}
	body, err := json.Marshal(struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail,omitempty"`
		Reference string `json:"reference,omitempty"`
	}{"about:blank", p.Title, status, p.Text, p.Reference})
	if err != nil {
		panic(err) // strings and numbers only
	}
	g.write(w, r, status, "application/problem+json", body)
}

func (g *Gate) frame() templates.Frame {
	return templates.Frame{Brand: g.Brand, Contact: g.Contact, Assets: Prefix + g.Pages.AssetPath()}
}

func (g *Gate) page(w http.ResponseWriter, r *request, status int, name string, view any) {
	var body bytes.Buffer
	if err := g.Pages.Render(&body, name, view); err != nil {
		g.Logger.Error("rendering a page", zap.String("page", name), zap.Error(err))
		http.Error(w, "Something went wrong on our side. Nothing was changed.", http.StatusInternalServerError)
		return
	}
	g.write(w, r, status, "text/html; charset=utf-8", body.Bytes())
}

func (g *Gate) write(w http.ResponseWriter, r *request, status int, contentType string, body []byte) {
	templates.Protect(w.Header(), r.TLS != nil)
	if r.URL.Path == Prefix+"callback" {
		// The page's own address holds a ticket, and both the app and its access
		// log get referrers.
		w.Header().Set("Referrer-Policy", "no-referrer")
	}
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
	g.problem(w, &request{Request: r}, status, http.StatusText(status), "The server could not open this.")
}
