package portal

import (
	"cmp"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
)

// openLink opens a setup link or an invitation: nothing is spent by looking,
// and the address that comes next doesn't hold the token any more.
func (p *Portal) openLink(w http.ResponseWriter, r *http.Request) error {
	f, err := p.Flows.OpenLink(r.Context(), r.URL.Query().Get("token"))
	if err != nil {
		return fmt.Errorf("opening a link: %w", err)
	}
	_, user, err := p.signedOn(r)
	if errors.Is(err, session.ErrEnded) {
		return p.enter(w, r, f)
	}
	if err != nil {
		return err
	}
	p.foreignLink(w, r, user)
	return nil
}

// foreignLink answers somebody who is signed in and opens a link by which
// somebody else is to set up.
func (p *Portal) foreignLink(w http.ResponseWriter, r *http.Request, user session.User) {
	t := p.words(r)
	p.problem(w, r, templates.ProblemView{
		Status: http.StatusConflict, Title: t.say("portal.foreign_link.title", "Name", user.Name),
		Text: t.say("portal.foreign_link.text"), Action: t.say("portal.foreign_link.action"), ActionURL: "/sign-out",
	})
}

// accountPage is the first step of a set-up: name and password.
func (p *Portal) accountPage(w http.ResponseWriter, r *http.Request, at stage, typed authflow.Choice, invalid map[string]error) error {
	user, err := p.Flows.Invited(r.Context(), at.flow)
	if err != nil {
		return fmt.Errorf("reading an invited user: %w", err)
	}
	view := templates.AccountView{
		Frame: p.frame(r), Flow: at.flow.ID, MoreTime: p.moreTime(at.flow), Step: templates.Step{Number: at.step.Number, Of: at.step.Of},
		Name: typed.Name, DisplayName: typed.DisplayName, MinLength: p.ShortestPassword, First: user.ID == "",
	}
	if user.ID != "" {
		view.Name, view.NameFixed = user.Name, true
		if view.DisplayName == "" {
			view.DisplayName = user.DisplayName
		}
	}
	for _, field := range []string{"name", "display_name", "password"} {
		if err := invalid[field]; err != nil {
			view.Errors = append(view.Errors, templates.Message{Field: field, Text: p.words(r).phrase(err)})
		}
	}
	return p.page(w, r, at.status, "account", view)
}

// choiceOf reads what is chosen in a set-up, or of it while it is typed.
func choiceOf(r *http.Request) authflow.Choice {
	return authflow.Choice{
		Name: r.PostFormValue("name"), DisplayName: r.PostFormValue("display_name"),
		Password: r.PostFormValue("password"),
	}
}

// chooseAccount takes name and password of a set-up.
func (p *Portal) chooseAccount(w http.ResponseWriter, r *http.Request) error {
	f, err := p.flowOf(r, r.PostFormValue("flow"))
	if err != nil {
		return err
	}
	choice := choiceOf(r)
	err = p.Flows.ChooseAccount(r.Context(), f, choice)
	invalid := new(person.Invalid)
	if !errors.As(err, &invalid) {
		return p.answered(w, r, f, err)
	}
	at, err := p.stageOf(r, f, "")
	if err != nil {
		return err
	}
	at.status = http.StatusUnprocessableEntity
	return p.accountPage(w, r, at, choice, invalid.Fields)
}

// enrolPage sets a factor up.
func (p *Portal) enrolPage(w http.ResponseWriter, r *http.Request, at stage) error {
	page, err := p.Flows.Enrolment(r.Context(), at.flow, at.step.Factor, p.clientBoundFor(r, at.to))
	if err != nil {
		return err
	}
	t, kind := p.words(r), at.step.Factor
	view := templates.EnrolView{
		Frame: p.frame(r), Flow: at.flow.ID, MoreTime: p.moreTime(at.flow), Step: templates.Step{Number: at.step.Number, Of: at.step.Of},
		Name: at.flow.Name, Ceremony: page.Content, Asked: p.asked(r, at, page, true), Error: at.message, Others: p.choices(t, at.flow, at.step.Others, "set_up"), Help: p.helpURL(kind),
	}
	if at.flow.Kind == authflow.Enrol {
		back := p.addURL(kind, at.to)
		if at.flow.Offered {
			back = offerURL(at.to)
		}
		view.Cancel, view.AtOnce = cmp.Or(at.to.own, back), at.flow.Offered
		held, err := p.holdingsOf(r, at.flow.UserID)
		if err != nil {
			return err
		}
		view.Replaces = p.isReplaced(kind, held)
	}
	if at.flow.Kind != authflow.SetUp && p.isNamed(kind) {
		if view.Called, err = p.suggestedName(r, at); err != nil {
			return fmt.Errorf("suggesting a name: %w", err)
		}
	}
	if page.File != nil {
		view.Download = "/flow/file?" + url.Values{"id": {at.flow.ID}, "factor": {string(kind)}}.Encode()
	}
	return p.page(w, r, at.status, "enrol_"+string(kind), view, at.to.formOrigins()...)
}

// suggestedName is what a new one of a kind is called unless its owner changes
// that: what was typed before, or the kind's own name, counted where there are
// others.
func (p *Portal) suggestedName(r *http.Request, at stage) (string, error) {
	if typed := r.PostFormValue("name"); typed != "" {
		return typed, nil
	}
	held, err := p.Accounts.Holdings(r.Context(), at.flow.UserID)
	if err != nil {
		return "", err
	}
	return authflow.Numbered(p.words(r).kind(at.step.Factor, "name"), func(name string) bool {
		return slices.ContainsFunc(held, func(h credentials.Own) bool { return h.Name == name })
	}), nil
}

// numbered is what may stand behind the name of a kind in what was suggested.
var numbered = regexp.MustCompile(`^( [0-9]{1,2})?$`)

// namesOf returns what the person calls a new one of a kind, if they gave that
// a thought, and what it is called in their language else: as was suggested, or
// as the kind. What isn't named by people and is used day by day has a name of the
// factor's own, such as its address.
func (p *Portal) namesOf(r *http.Request, kind assurance.Factor) (chosen, unnamed string) {
	if !p.isNamed(kind) && !p.Factors.IsStandby(kind) {
		return "", ""
	}
	typed, name := strings.TrimSpace(r.PostFormValue("name")), p.words(r).kind(kind, "name")
	if number, same := strings.CutPrefix(typed, name); typed == "" || same && numbered.MatchString(number) {
		return "", cmp.Or(typed, name)
	}
	return typed, name
}

// download gives the file of the enrolment that the flow is at.
func (p *Portal) download(w http.ResponseWriter, r *http.Request) error {
	f, err := p.flowOf(r, r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	page, err := p.Flows.Enrolment(r.Context(), f, assurance.Factor(r.URL.Query().Get("factor")), p.client(r))
	if err != nil {
		return err
	}
	if page.File == nil {
		return errNotFound
	}
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": page.File.Name}))
	p.write(w, r, http.StatusOK, "text/plain; charset=utf-8", []byte(page.File.Content))
	return nil
}
