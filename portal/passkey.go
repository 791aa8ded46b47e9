package portal

import (
	"errors"
	"fmt"
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
func (p *Portal) askPasskey(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Sec-Fetch-Mode") == "navigate" {
		p.redirect(w, "/sign-in")
		return nil
	}
	browser, err := p.passkeyBrowser(w, r)
	if err != nil {
		return fmt.Errorf("binding a question to a browser: %w", err)
	}
	question, err := p.Flows.BeginDiscovery(r.Context(), browser)
	if err != nil {
		return fmt.Errorf("asking for a passkey: %w", err)
	}
	return p.json(w, r, http.StatusOK, struct {
		Ceremony any    `json:"ceremony"`
		State    string `json:"state"`
	}{question.Page, question.State})
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
func (p *Portal) signInByPasskey(w http.ResponseWriter, r *http.Request) error {
	to, err := p.destinationOf(r.PostFormValue("request"))
	if err != nil {
		return err
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
	if errors.Is(err, authflow.ErrFlowGone) {
		return p.answeredAgain(w, r, to, view)
	}
	return p.begun(w, r, to, flow, view, form{wrong: wrongPasskey}, err)
}

// wrongPasskey says why what a passkey answered was refused.
func wrongPasskey(t words, refused *factors.Refused) string {
	if refused.Reason == factors.Expired {
		return t.say("portal.wrong.passkey_late")
	}
	return t.say("portal.wrong.passkey")
}

// answeredAgain answers somebody who posts once more the answer by which they
// signed in: they go to where it led them.
func (p *Portal) answeredAgain(w http.ResponseWriter, r *http.Request, to destination, view templates.SignInView) error {
	signOn, user, err := p.signedOn(r)
	switch {
	case err == nil:
		return p.proceed(w, r, visitor{signOn, user}, to)
	case errors.Is(err, session.ErrEnded):
		view.Error.Text = p.words(r).say("portal.wrong.passkey_late")
		return p.signInForm(w, r, http.StatusUnprocessableEntity, to, view)
	}
	return err
}
