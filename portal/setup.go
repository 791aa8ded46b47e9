package portal

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/templates"
)

// openLink opens a setup link or an invitation: nothing is spent by looking,
// and the address that comes next doesn't hold the token any more.
func (p *Portal) openLink(w http.ResponseWriter, r *http.Request) {
	f, err := p.Flows.OpenLink(r.Context(), r.URL.Query().Get("token"))
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	p.enter(w, r, f)
}

func (p *Portal) linkGone(w http.ResponseWriter, r *http.Request) {
	p.problem(w, r, templates.ProblemView{
		Status: http.StatusGone, Title: "This link was used or has expired",
		Text:   "If you have set up already, sign in. Else ask " + p.contactOr("whoever sent it to you") + " for a new link.",
		Action: "Sign in", ActionURL: "/sign-in",
	})
}

// accountPage is the first step of a set-up: name and password.
func (p *Portal) accountPage(w http.ResponseWriter, r *http.Request, at stage, typed authflow.Choice, invalid map[string]error) {
	user, err := p.Flows.Invited(r.Context(), at.flow)
	if err != nil {
		p.fault(w, r, "reading an invited user", err)
		return
	}
	view := templates.AccountView{
		Frame: p.frame(), Flow: at.flow.ID, Step: templates.Step{Number: at.step.Number, Of: at.step.Of},
		Name: typed.Name, DisplayName: typed.DisplayName, MinLength: p.PasswordRules.Shortest(), First: user.ID == "",
	}
	if user.ID != "" {
		view.Name, view.NameFixed = user.Name, true
		if view.DisplayName == "" {
			view.DisplayName = user.DisplayName
		}
	}
	for _, field := range []string{"name", "display_name", "password"} {
		if err := invalid[field]; err != nil {
			view.Errors = append(view.Errors, templates.Message{Field: field, Text: textOf(err)})
		}
	}
	p.page(w, r, at.status, "account", view)
}

// chooseAccount takes name and password of a set-up.
func (p *Portal) chooseAccount(w http.ResponseWriter, r *http.Request) {
	f, err := p.flowOf(r, r.PostFormValue("flow"))
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	choice := authflow.Choice{
		Name: r.PostFormValue("name"), DisplayName: r.PostFormValue("display_name"),
		Password: r.PostFormValue("password"),
	}
	err = p.Flows.ChooseAccount(r.Context(), f, choice)
	if invalid := new(authflow.Invalid); errors.As(err, &invalid) {
		step, err := p.Flows.Step(r.Context(), f, "")
		if err != nil {
			p.fault(w, r, "deciding on the next step", err)
			return
		}
		at := stage{flow: f, step: step, status: http.StatusUnprocessableEntity}
		p.accountPage(w, r, at, choice, invalid.Fields)
		return
	}
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	p.redirect(w, flowURL(f.ID))
}

// passwordStrength judges a password while it is typed. Only somebody with a
// set-up under way can ask, so a stranger can't keep the server busy with it.
func (p *Portal) passwordStrength(w http.ResponseWriter, r *http.Request) {
	f, err := p.flowOf(r, r.PostFormValue("flow"))
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	password := r.PostFormValue("password")
	own := []string{f.Name, r.PostFormValue("name"), r.PostFormValue("display_name")}
	var answer struct {
		Score  int    `json:"score"`
		Text   string `json:"text"`
		OK     bool   `json:"ok"`
		Reason string `json:"reason,omitempty"`
	}
	answer.Score, answer.Text = p.PasswordRules.Strength(password, own...)
	err = p.PasswordRules.Check(password, own...)
	if answer.OK = err == nil; err != nil {
		answer.Reason = textOf(err)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		p.fault(w, r, "writing a password's strength", err)
		return
	}
	p.write(w, r, http.StatusOK, "application/json", body)
}

// enrolPage sets a factor up.
func (p *Portal) enrolPage(w http.ResponseWriter, r *http.Request, at stage) {
	ceremony, err := p.ceremony(r.Context(), at.flow, at.step.Factor, p.Flows.Enrolment)
	if err != nil {
		p.flowFailed(w, r, at.flow, err)
		return
	}
	view := templates.EnrolView{
		Frame: p.frame(), Flow: at.flow.ID, Step: templates.Step{Number: at.step.Number, Of: at.step.Of},
		Name: at.flow.Name, Ceremony: ceremony.Page, Error: at.message,
	}
	if ceremony.File != nil {
		view.Download = "/flow/file?" + url.Values{"id": {at.flow.ID}, "factor": {string(at.step.Factor)}}.Encode()
	}
	p.page(w, r, at.status, "enrol_"+string(at.step.Factor), view, at.to.formOrigins()...)
}

// download gives the file of the enrolment that the flow is at.
func (p *Portal) download(w http.ResponseWriter, r *http.Request) {
	f, err := p.flowOf(r, r.URL.Query().Get("id"))
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	ceremony, err := p.ceremony(r.Context(), f, assurance.Factor(r.URL.Query().Get("factor")), p.Flows.Enrolment)
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	if ceremony.File == nil {
		p.notFound(w, r)
		return
	}
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": ceremony.File.Name}))
	p.write(w, r, http.StatusOK, "text/plain; charset=utf-8", []byte(ceremony.File.Content))
}
