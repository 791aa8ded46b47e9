package gate

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// signedInPath is where a sign-in ends that was begun beside a form.
const signedInPath = Prefix + "signed-in"

// signInPath is the path at which this gate sends a person to the portal for a
// requirement of one of its rules. to is where they come back to; empty: to the
// page that they come from.
//
// It holds nothing secret and nothing signed: whoever changes it changes no
// more than what the portal asks first. The rules decide at the page itself.
func signInPath(require assurance.Requirement, to string) string {
	query := queryOf(require)
	if to != "" {
		query.Set("to", to)
	}
	return Prefix + "sign-in?" + query.Encode()
}

// queryOf is a requirement as the gate's own routes are told of it.
func queryOf(require assurance.Requirement) url.Values {
	query := url.Values{"assurance": {require.Level.String()}}
	if age := maxAge(require); age > 0 {
		query.Set("max_age", strconv.FormatInt(age, 10))
	}
	if require.Certificate != assurance.CertificateIgnored {
		query.Set("certificate", require.Certificate.String())
	}
	return query
}

// goSignIn serves what signInPath leads to.
func (g *Gate) goSignIn(w http.ResponseWriter, r *request) {
	query := r.URL.Query()
	_, require := g.ruleIn(query)
	if kindOf(r.Request) != navigation {
		// A script that fetches this instead of going there is told again.
		g.demand(w, r, problem{Type: typeSignIn, Key: "gate.fetched.", Required: require})
		return
	}
	if g.lostSession(r) {
		g.stuck(w, r)
		return
	}
	to := query.Get("to")
	if to == "" {
		to = r.referrer()
	}
	g.toPortal(w, r, ticket.Request{Return: r.within(to), Ask: require})
}

// rest is the rule that holds for what no other is about.
func (g *Gate) rest() *Rule { return &g.Rules[len(g.Rules)-1] }

// ruleIn returns the first rule that has the requirement that a query names, beside
// a certificate or without, and that requirement; else the last rule.
func (g *Gate) ruleIn(query url.Values) (*Rule, assurance.Requirement) {
	age, _ := strconv.ParseInt(query.Get("max_age"), 10, 64) // none: any age
	certificate := cmp.Or(query.Get("certificate"), assurance.CertificateIgnored.String())
	for i := range g.Rules {
		rule := &g.Rules[i]
		for _, ask := range [...]assurance.Requirement{rule.ask(false), rule.ask(true)} {
			if !rule.Open && ask.Level.String() == query.Get("assurance") && maxAge(ask) == age && ask.Certificate.String() == certificate {
				return rule, ask
			}
		}
	}
	return g.rest(), g.rest().Require
}

// within returns the URL of this site to which a path from a link leads. What
// is no path, and what is one of the gate's own but for the page at which a
// sign-in ends, leads to the first page.
func (r *request) within(to string) string {
	to, _, _ = strings.Cut(to, "#")
	target, err := url.ParseRequestURI(to)
	if err != nil || target.Host != "" || target.Scheme != "" {
		return r.origin + "/"
	}
	path := "/" + strings.TrimLeft(target.Path, `/\`)
	if strings.HasPrefix(path, Prefix) && path != signedInPath {
		return r.origin + "/"
	}
	return r.origin + inASCII("/"+strings.TrimLeft(target.RequestURI(), `/\`))
}

// referrer returns path and query of the page that a request comes from, or
// nothing if it isn't known to be of this site.
func (r *request) referrer() string {
	path, ok := strings.CutPrefix(r.Referer(), r.origin)
	if !ok || !strings.HasPrefix(path, "/") {
		return ""
	}
	return path
}

// signedIn tells somebody who signed in beside a form or a page to go back to it.
func (g *Gate) signedIn(w http.ResponseWriter, r *request) {
	r.rule = g.rest()
	if _, err := g.bySession(r); err != nil {
		g.refuseUnidentified(w, r, err)
		return
	}
	g.page(w, r, http.StatusOK, "signed_in", templates.SignedInView{Frame: g.frame(r), Host: r.host, BesidePage: r.URL.RequestURI() == signedInAside})
}

// lostSession reports whether a browser that came from the portal a moment ago
// brings no session: it keeps some of our cookies and not others, or a clock
// is far off. Sent to the portal again, it would come back the same.
func (g *Gate) lostSession(r *request) bool {
	for _, value := range r.cookies.Sessions {
		if _, err := g.Sessions.Read(value, r.host); err == nil {
			return false
		}
	}
	for _, value := range r.cookies.States {
		if s, ok := g.openState(value); ok && s.Landed {
			return true
		}
	}
	return false
}

// switchUser sends somebody who may not pass to sign in as somebody else.
func (g *Gate) switchUser(w http.ResponseWriter, r *request) {
	query := r.URL.Query()
	_, ask := g.ruleIn(query)
	g.toPortal(w, r, ticket.Request{Return: r.within(query.Get("to")), Ask: ask, Switch: true})
}
