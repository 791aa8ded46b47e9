package portal

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// destination is where somebody goes once they are signed in: the app whose
// gate sent them, or a page of the portal itself.
type destination struct {
	own     string // the page of the portal; empty: the first, or an app
	signed  string // the gate's request as it came; empty: the portal
	request ticket.Request
	fresh   bool
}

// ask is what has to be proven to get there.
func (d destination) ask() assurance.Requirement {
	if d.signed == "" {
		return assurance.Requirement{Level: assurance.Multi}
	}
	return d.request.Ask
}

func (d destination) host() string {
	if d.signed == "" {
		return ""
	}
	return d.request.Host()
}

// query names the destination in the address of a page on the way.
func (d destination) query() url.Values {
	query := make(url.Values)
	if d.signed != "" {
		query.Set("request", d.signed)
	}
	if d.own != "" {
		query.Set("to", d.own)
	}
	return query
}

// formOrigins are the origins to which the forms on the way may lead.
func (d destination) formOrigins() []string {
	if d.signed == "" {
		return nil
	}
	return []string{d.request.Origin}
}

// destinationOf reads a gate's request. The portal takes return addresses from
// nowhere else, and only for gates of the configuration in force.
func (p *Portal) destinationOf(signed string) (destination, error) {
	if signed == "" {
		return destination{}, nil
	}
	r, fresh, err := p.Requests.Read(signed)
	if err != nil {
		return destination{}, fmt.Errorf("%w: %w", errBadDestination, err)
	}
	if !p.Known(r.Origin) {
		return destination{}, errBadDestination
	}
	return destination{signed: signed, request: r, fresh: fresh}, nil
}

// errBadDestination says that somebody is on their way to an app that no gate of
// this configuration guards, or by something that no gate of ours signed.
var errBadDestination = errors.New("this leads nowhere")

// showSignIn shows the form, or goes on right away if nothing is missing.
func (p *Portal) showSignIn(w http.ResponseWriter, r *http.Request) error {
	to, err := p.destinationOf(r.URL.Query().Get("request"))
	if err != nil {
		return err
	}
	to.own = accountPage(r.URL.Query().Get("to"))
	signOn, user, err := p.signedOn(r)
	if errors.Is(err, session.ErrEnded) {
		return p.begin(w, r, to, err)
	}
	if err != nil {
		return err
	}
	if to.request.Switch || r.URL.Query().Has("switch") {
		return p.signInForm(w, r, http.StatusOK, to, templates.SignInView{Current: user.Name})
	}
	return p.proceed(w, r, visitor{signOn, user}, to)
}

// proceed leads somebody who is signed in to where they wanted to go, or to
// what they have to show for that first.
func (p *Portal) proceed(w http.ResponseWriter, r *http.Request, v visitor, to destination) error {
	if to.ask().Missing(v.signOn.Proofs, p.Clock(), p.weights) == assurance.Nothing {
		return p.leave(w, r, v.signOn, to)
	}
	if !isVisit(r) {
		return errForged
	}
	flow, err := p.Flows.BeginStepUp(r.Context(), authflow.Raise{
		SignOn: v.signOn, User: v.user, Ask: to.ask(), Request: to.signed, Return: to.own, Client: p.client(r),
	})
	if err != nil {
		return fmt.Errorf("beginning a step-up: %w", err)
	}
	return p.enter(w, r, flow)
}

// signInForm shows the form, unless nobody could pass it yet.
func (p *Portal) signInForm(w http.ResponseWriter, r *http.Request, status int, to destination, view templates.SignInView) error {
	needed, err := p.Flows.NeedsSetup(r.Context())
	if err != nil {
		return fmt.Errorf("finding out whether anybody has set up: %w", err)
	}
	if needed {
		return p.refuseEverybody(w, r)
	}
	view.Frame, view.Host, view.Request, view.To = p.frame(r), to.host(), to.signed, to.own
	view.Passkey, view.Help, view.Resets = p.Flows.OffersPasskeys(platformOf(r)), p.forgottenURL(), p.PasswordReset
	return p.page(w, r, status, "sign_in", view, to.formOrigins()...)
}

// refuseEverybody tells people that nobody can sign in, and administrators how to change
// that.
func (p *Portal) refuseEverybody(w http.ResponseWriter, r *http.Request) error {
	disabled, err := p.Flows.AllDisabled(r.Context())
	if err != nil {
		return fmt.Errorf("finding out whether all accounts are disabled: %w", err)
	}
	problem := "not_set_up"
	if disabled {
		problem = "all_disabled"
	}
	p.problem(w, r, p.words(r).problem(http.StatusServiceUnavailable, problem, "try_again", p.comeBack(r)))
	return nil
}

// signIn takes name and password.
func (p *Portal) signIn(w http.ResponseWriter, r *http.Request) error {
	to, err := p.destinationOf(r.PostFormValue("request"))
	if err != nil {
		return err
	}
	to.own = accountPage(r.PostFormValue("to"))
	name, shared := r.PostFormValue("name"), isTicked(r, "shared")
	flow, err := p.Flows.SignIn(r.Context(), authflow.Login{
		Name: name, Password: r.PostFormValue("password"), Client: p.client(r),
		Shared: shared, Ask: to.ask(), Request: to.signed, Return: to.own,
	})
	view := templates.SignInView{Name: name, Shared: shared}
	return p.begun(w, r, to, flow, view, form{field: "password", wrong: p.wrongPassword}, err)
}

// begun goes on with a flow that the form began, or shows the form once more
// with why it didn't.
func (p *Portal) begun(w http.ResponseWriter, r *http.Request, to destination, flow authflow.Flow, view templates.SignInView, typed form, err error) error {
	if refusal, ok := p.refusalOf(w, r, typed, err); ok {
		view.Error, view.Unknown = refusal.message, refusal.message.Unknown
		return p.signInForm(w, r, refusal.status, to, view)
	}
	if err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	return p.enter(w, r, flow)
}

// enter binds a new flow to the browser and goes to its first step.
func (p *Portal) enter(w http.ResponseWriter, r *http.Request, f authflow.Flow) error {
	if err := p.bindFlow(w, r, f); err != nil {
		return fmt.Errorf("binding a flow to a browser: %w", err)
	}
	p.redirect(w, flowURL(f.ID))
	return nil
}

func flowURL(id string) string { return addressed("/flow", "id", id) }

// leave goes to where the person wanted to go: to the app with a ticket, or to
// a page of the portal. A request over its age leads to the app without one, whose
// gate then asks anew. Where that gate keeps the return URL, only its callback
// finds it.
func (p *Portal) leave(w http.ResponseWriter, r *http.Request, signOn session.SignOn, to destination) error {
	if to.signed == "" {
		p.redirect(w, cmp.Or(to.own, "/"))
		return nil
	}
	callback, query := to.request.Origin+"/.mfa/callback?", url.Values{"request": {to.signed}}
	switch {
	case !to.fresh && to.request.Kept:
		p.redirect(w, callback+query.Encode())
		return nil
	case !to.fresh:
		p.redirect(w, to.request.Return)
		return nil
	}
	value, err := p.Tickets.Issue(r.Context(), signOn, to.request)
	if err != nil {
		return fmt.Errorf("issuing a ticket: %w", err)
	}
	query.Set("ticket", value)
	if chosen := chosenLanguage(r); chosen != "" && p.Pages.Match(chosen) == chosen {
		query.Set("language", chosen) // for the gate's own pages
	}
	p.redirect(w, callback+query.Encode())
	return nil
}
