package portal

import (
	"fmt"
	"net/http"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/templates"
)

// Resetting a forgotten password. Whoever asks is told the same, whomever they name.

const (
	// forgottenPath is where somebody who has forgotten the password says who they are.
	forgottenPath = "/forgotten"
	// resetPath is where the links lead.
	resetPath = "/reset"
)

// routeReset routes password resets.
func (p *Portal) routeReset(mux router) {
	mux.HandleFunc("GET "+forgottenPath, p.showForgotten)
	mux.HandleFunc("POST "+forgottenPath, p.requestReset)
	mux.HandleFunc("GET "+resetPath, p.openReset)
}

// showForgotten asks who has forgotten the password.
func (p *Portal) showForgotten(w http.ResponseWriter, r *http.Request) error {
	return p.forgottenPage(w, r, http.StatusOK, templates.ForgottenView{})
}

func (p *Portal) forgottenPage(w http.ResponseWriter, r *http.Request, status int, view templates.ForgottenView) error {
	view.Frame = p.frame(r)
	return p.page(w, r, status, "forgotten", view)
}

// requestReset has a link mailed to whoever is meant.
func (p *Portal) requestReset(w http.ResponseWriter, r *http.Request) error {
	name := r.PostFormValue("name")
	err := p.Flows.RequestReset(r.Context(), name, p.client(r))
	typed := form{wrong: func(t words, _ *factors.Refused) string { return t.say("portal.wrong.resets") }}
	if refusal, ok := p.refusalOf(w, r, typed, err); ok {
		return p.forgottenPage(w, r, refusal.status, templates.ForgottenView{Name: name, Error: refusal.message})
	}
	if err != nil {
		return fmt.Errorf("asking for a new password: %w", err)
	}
	return p.forgottenPage(w, r, http.StatusOK, templates.ForgottenView{Sent: true})
}

// openReset opens the link of a reset. Nothing is spent by that, and the address that
// comes next doesn't hold the token any more.
func (p *Portal) openReset(w http.ResponseWriter, r *http.Request) error {
	f, err := p.Flows.OpenReset(r.Context(), r.URL.Query().Get("token"), p.client(r))
	if err != nil {
		return fmt.Errorf("opening the link of a reset: %w", err)
	}
	return p.enter(w, r, f)
}

// noWayToReset answers somebody who has nothing but their mailbox to show who they are.
func (p *Portal) noWayToReset(w http.ResponseWriter, r *http.Request) error {
	t := p.words(r)
	view := t.problem(http.StatusForbidden, "no_reset", "sign_in", "/sign-in")
	view.Text = t.say("portal.no_reset.text", "Contact", p.contactOr(t.say("portal.no_way.contact")))
	p.problem(w, r, view)
	return nil
}

// isReset reports whether a flow resets a password, and has to show a second factor for
// that.
func isReset(f authflow.Flow) bool { return f.Kind == authflow.Reset }
