package portal

import (
	"errors"
	"net/http"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

// askPasskey answers the sign-in form's script with a question for a passkey,
// and binds it to the browser. Nothing is kept of it here. A person comes here
// where a browser loads anew what was posted: they get the form.
func (p *Portal) askPasskey(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Sec-Fetch-Mode") == "navigate" {
		p.redirect(w, "/sign-in")
		return
	}
	browser, err := p.passkeyBrowser(w, r)
	if err != nil {
		p.fault(w, r, "binding a question to a browser", err)
		return
	}
	question, err := p.Flows.BeginDiscovery(r.Context(), browser)
	switch {
	case errors.Is(err, authflow.ErrNoPasskeys):
		p.notFound(w, r)
	case err != nil:
		p.fault(w, r, "asking for a passkey", err)
	default:
		p.json(w, r, http.StatusOK, struct {
			Ceremony any    `json:"ceremony"`
			State    string `json:"state"`
		}{question.Page, question.State})
	}
}

// passkeyBrowser returns the random value by which a cookie tells this browser
// from others, and has it kept for longer than a question waits. It is the same
// for all tabs, so that their questions don't disturb one another.
func (p *Portal) passkeyBrowser(w http.ResponseWriter, r *http.Request) (string, error) {
	browser := askedBrowser(r)
	if browser == "" {
		var err error
		if browser, err = token.New(p.Random); err != nil {
			return "", err
		}
	}
	setCookie(w, passkeyCookie, browser, authflow.FlowIdle)
	return browser, nil
}

// askedBrowser is what passkeyBrowser has had a browser keep; empty: nothing.
func askedBrowser(r *http.Request) string {
	cookie, err := r.Cookie(passkeyCookie)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// signInByPasskey takes what a passkey answers.
func (p *Portal) signInByPasskey(w http.ResponseWriter, r *http.Request) {
	to, err := p.destinationOf(r.PostFormValue("request"))
	if err != nil {
		p.badDestination(w, r)
		return
	}
	to.own = accountPage(r.PostFormValue("to"))
	shared := isTicked(r, "shared")
	flow, err := p.Flows.SignInByPasskey(r.Context(), authflow.Login{
		Client: p.client(r), Shared: shared, Ask: to.ask(), Request: to.signed, Return: to.own,
	}, authflow.Passkey{
		State: r.PostFormValue("state"), Browser: askedBrowser(r),
		Answer: factors.Answer{"credential": r.PostFormValue("credential")},
	})
	view := templates.SignInView{Shared: shared}
	switch refused := new(factors.Refused); {
	case errors.Is(err, authflow.ErrNoPasskeys):
		p.notFound(w, r)
	case errors.As(err, &refused):
		view.Unknown = refused.Credential
		view.Error.Text = p.words(r).say("portal.wrong.passkey")
		if refused.Reason == factors.Expired {
			view.Error.Text = p.words(r).say("portal.wrong.passkey_late")
		}
		p.signInForm(w, r, http.StatusUnprocessableEntity, to, view)
	case errors.Is(err, authflow.ErrFlowGone):
		p.answeredAgain(w, r, to, view)
	default:
		p.begun(w, r, to, flow, view, err)
	}
}

// answeredAgain answers somebody who posts once more the answer by which they
// signed in: they go to where it led them.
func (p *Portal) answeredAgain(w http.ResponseWriter, r *http.Request, to destination, view templates.SignInView) {
	signOn, user, err := p.signedOn(r)
	switch {
	case err == nil:
		p.proceed(w, r, visitor{signOn, user}, to)
	case errors.Is(err, session.ErrEnded):
		view.Error.Text = p.words(r).say("portal.wrong.passkey_late")
		p.signInForm(w, r, http.StatusUnprocessableEntity, to, view)
	default:
		p.fault(w, r, "looking up a sign-on", err)
	}
}
