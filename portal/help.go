package portal

import (
	"net/http"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/templates"
)

// help explains a kind of proof, to whoever asks: somebody who needs help with
// signing in can't be asked to sign in first.
func (p *Portal) help(w http.ResponseWriter, r *http.Request) error {
	kind := assurance.Factor(r.PathValue("kind"))
	if p.helpURL(kind) == "" {
		return errNotFound
	}
	return p.page(w, r, http.StatusOK, "help_"+string(kind), templates.HelpView{
		Frame: p.frame(r), Values: p.valuesOf(kind), MinLength: p.ShortestPassword, Account: accountPath,
	})
}

// forgottenURL is where somebody gets another password in place of a forgotten one, or is
// told what to do; empty: nowhere.
func (p *Portal) forgottenURL() string {
	if p.PasswordReset {
		return forgottenPath
	}
	if help := p.helpURL(assurance.Password); help != "" {
		return help + "#forgotten"
	}
	return ""
}

// helpURL is where a kind of proof is explained; empty: nowhere.
func (p *Portal) helpURL(kind assurance.Factor) string {
	if p.weights[kind] == assurance.Weightless || !p.Pages.Has("help_"+string(kind)) {
		return ""
	}
	return "/help/" + string(kind)
}
