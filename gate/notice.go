package gate

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/gate/pagetag"
)

// The session notice is for a page that is still open when its session has ended:
// a script of ours asks now and then whether it has, and says so. It loads from
// noticeScript and asks noticeState. What it gets to know, the page's own scripts
// can ask, too.
const (
	noticeScript = "session-notice.js"
	noticeState  = "session-notice"
)

// signedInAside is where a sign-in ends that was begun beside a page: it closes
// its tab.
const signedInAside = signedInPath + "?close"

// notice is the tag of the script, as it is offered to the answer to one request.
type notice struct {
	origin string
	tag    string        // empty: a script asked, or the browser didn't say
	page   *pagetag.Page // into which the tag goes; nil: there is none
}

// offerNotice has the script put into what answers a request, if that is a page
// that fills a window. The app is asked for the whole of it, uncompressed.
func (g *Gate) offerNotice(r *request) {
	r.guard.notice = &notice{origin: r.origin}
	if !asksForPage(r.Request) {
		return
	}
	for _, name := range []string{"Accept-Encoding", "Range", "If-Range"} {
		delete(r.Header, name)
	}
	r.guard.notice.tag = fmt.Sprintf(`<script async src="%s" data-ask="%s"></script>`,
		Prefix+noticeScript, html.EscapeString(queryOf(r.rule.Require).Encode()))
}

// asksForPage reports whether a browser says that it asks for a page that fills a
// window, be it ahead.
func asksForPage(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodPost) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && isDocument(r.Header.Get("Sec-Fetch-Dest"))
}

// begin is told of the headers of the final response, which are about to leave.
func (n *notice) begin(h http.Header, status int) {
	if n == nil {
		return
	}
	if pagetag.IsHTML(h) {
		// A script that fetches a page is not to be given the one with the tag.
		h["Vary"] = append(h["Vary"][:len(h["Vary"]):len(h["Vary"])], "Sec-Fetch-Dest, Sec-Fetch-Mode")
	}
	switch {
	case n.tag == "":
	case status == http.StatusNotModified:
		pagetag.Weaken(h)
	default:
		n.page = pagetag.Prepare(h, status, n.tag, n.origin)
	}
}

// isPending reports whether the tag may still go into what follows.
func (n *notice) isPending() bool { return n != nil && n.page != nil && !n.page.IsDone() }

// write writes what the app writes, or as much of it as may leave now.
func (n *notice) write(w http.ResponseWriter, p []byte) (int, error) {
	if err := writeAll(w, n.page.Take(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes as much of what is held back as a browser can use.
func (n *notice) flush(w http.ResponseWriter) error {
	if !n.isPending() {
		return nil
	}
	return writeAll(w, n.page.Flush())
}

// finish writes what is held back once the app is done.
func (n *notice) finish(w http.ResponseWriter) {
	_ = writeAll(w, n.page.Rest()) // the client went away; there is nobody to tell
}

func writeAll(w http.ResponseWriter, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := w.Write(p)
	return err
}

// serveNotice serves the script. Its address stays the same, since browsers keep
// the pages that name it.
func (g *Gate) serveNotice(w http.ResponseWriter, r *request) {
	w.Header().Set("Cache-Control", "private, max-age=3600")
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	g.Pages.ServeAsset(w, r.Request, noticeScript)
}

// The states of the session of a page.
const (
	pageSignedIn     = "signed_in"
	pageSignedOut    = "signed_out"
	pageStepUp       = "step_up"
	pageSomebodyElse = "somebody_else"
)

// pageState is what the script is told: how things are, and if it is to say
// something, what.
type pageState struct {
	State string `json:"state"`
	// Person stands for who is signed in: a page that was loaded for one isn't for
	// another.
	Person   string `json:"person,omitempty"`
	Language string `json:"language,omitempty"`
	Title    string `json:"title,omitempty"`
	Text     string `json:"text,omitempty"`
	Action   string `json:"action,omitempty"`
	Reload   string `json:"reload,omitempty"`
	Dismiss  string `json:"dismiss,omitempty"`
	SignIn   string `json:"sign_in_url,omitempty"` // where Action leads
}

// tellNotice tells the script how the session of its page is, which has nobody do
// anything, so it doesn't count as activity. The query names what the page's rule requires and
// for whom the page was loaded; whoever changes it is told of another page.
func (g *Gate) tellNotice(w http.ResponseWriter, r *request) {
	query := r.URL.Query()
	rule, ask := g.ruleIn(query)
	r.rule, r.unattended = rule, true
	c, err := g.identifyPerson(r, rule)
	if err != nil && !isSignedOut(err) {
		g.refuseUnidentified(w, r, err)
		return
	}
	var state pageState
	switch {
	case err != nil:
		state = g.say(r, pageSignedOut, nil).leadingTo(g, ask)
	case query.Get("person") != "" && query.Get("person") != pageMark(&c, r.host):
		state = g.say(r, pageSomebodyElse, map[string]any{"Name": c.speaker.Name})
	case rule.ask(c.device != nil).Missing(c.proofs, g.Clock(), g.Weights) != assurance.Nothing:
		state = g.say(r, pageStepUp, nil).leadingTo(g, rule.ask(c.device != nil))
	default:
		state = pageState{State: pageSignedIn, Person: pageMark(&c, r.host)}
	}
	body, err := json.Marshal(state)
	if err != nil {
		panic(err) // strings only
	}
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	g.write(w, r, http.StatusOK, "application/json", body)
}

// pageMark stands for whom a claim is of, at one host.
func pageMark(c *claim, host string) string { return markOf("page "+c.speaker.ID, host) }

// say is what the notice says of a state.
func (g *Gate) say(r *request, state string, values map[string]any) pageState {
	language := g.frame(r).Language
	text := func(key string) string { return g.Pages.Text(language, "notice."+key, values) }
	return pageState{
		State: state, Language: language, Title: text(state + "_title"), Text: text(state + "_text"),
		Reload: text("reload"), Dismiss: text("dismiss"),
	}
}

// leadingTo adds the link that mends the state, in a tab of its own.
func (s pageState) leadingTo(g *Gate, ask assurance.Requirement) pageState {
	s.Action = g.Pages.Text(s.Language, "notice."+s.State+"_action", nil)
	s.SignIn = signInPath(ask, signedInAside)
	return s
}
