package portal

import (
	"errors"
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

// visitor returns who is signed in, with two factors, or sends everybody else
// to sign in and returns false.
func (p *Portal) visitor(w http.ResponseWriter, r *http.Request) (session.SignOn, session.User, bool) {
	signOn, user, err := p.signedOn(r)
	if errors.Is(err, session.ErrEnded) || err == nil && assurance.Of(signOn.Proofs, p.Enabled) < assurance.Multi {
		p.redirect(w, "/sign-in")
		return signOn, user, false
	}
	if err != nil {
		p.fault(w, r, "looking up a sign-on", err)
		return signOn, user, false
	}
	return signOn, user, true
}

// home says who is signed in, which apps they can open, and which browsers
// skip the second step.
func (p *Portal) home(w http.ResponseWriter, r *http.Request) {
	signOn, user, ok := p.visitor(w, r)
	if !ok {
		return
	}
	browsers, err := p.browsersOf(r, user)
	if err != nil {
		p.fault(w, r, "listing browsers", err)
		return
	}
	view := templates.HomeView{
		Frame: p.frame(), Name: user.Name, DisplayName: user.DisplayName, Email: user.Email,
		Groups: user.Groups, Since: signOn.Started.In(time.Local), Until: signOn.Expires.In(time.Local),
		Apps: p.Apps(r, user), Browsers: browsers,
	}
	p.page(w, r, http.StatusOK, "home", view)
}

func (p *Portal) browsersOf(r *http.Request, user session.User) ([]templates.Browser, error) {
	remembered, err := p.Flows.Remembered(r.Context(), user.ID)
	if err != nil {
		return nil, err
	}
	here := token.Hash(p.client(r).Browser)
	var listed []templates.Browser
	for _, b := range remembered {
		listed = append(listed, templates.Browser{
			ID: b.ID, Name: browserName(b.UserAgent), Here: b.TokenHash == here, Until: b.Remembered.In(time.Local),
		})
	}
	return listed, nil
}

// forgetBrowser has one of a person's own browsers skip the second step no
// more.
func (p *Portal) forgetBrowser(w http.ResponseWriter, r *http.Request) {
	_, user, ok := p.visitor(w, r)
	if !ok {
		return
	}
	err := p.Flows.Forget(r.Context(), user, r.PostFormValue("id"), p.client(r))
	if errors.Is(err, authflow.ErrNoBrowser) {
		p.notFound(w, r)
		return
	}
	if err != nil {
		p.fault(w, r, "forgetting a browser", err)
		return
	}
	p.redirect(w, "/")
}
