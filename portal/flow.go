package portal

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

// flowOf returns the flow that a request is about, if this browser began it.
func (p *Portal) flowOf(r *http.Request, id string) (authflow.Flow, error) {
	if id == "" || !slices.Contains(p.underWay(r).Flows, id) {
		return authflow.Flow{}, authflow.ErrFlowGone
	}
	return p.Flows.Load(r.Context(), id)
}

// dispatch is the one place that decides which page comes next.
func (p *Portal) dispatch(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	f, err := p.flowOf(r, query.Get("id"))
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	p.show(w, r, f, http.StatusOK, assurance.Factor(query.Get("use")), templates.Message{})
}

// show renders the step that a flow is at, or finishes the flow.
func (p *Portal) show(w http.ResponseWriter, r *http.Request, f authflow.Flow, status int, prefer assurance.Factor, message templates.Message) {
	step, err := p.Flows.Step(r.Context(), f, prefer)
	if err != nil {
		p.fault(w, r, "deciding on the next step", err)
		return
	}
	to, err := p.destinationOf(f.Request)
	if err != nil {
		p.badDestination(w, r)
		return
	}
	at := stage{flow: f, step: step, to: to, status: status, message: message}
	asks := step.Kind == authflow.StepPassword || step.Kind == authflow.StepChallenge
	if asks && p.overtaken(w, r, at) {
		return
	}
	switch step.Kind {
	case authflow.StepGrant:
		p.grant(w, r, at)
	case authflow.StepAccount:
		p.accountPage(w, r, at, authflow.Choice{}, nil)
	case authflow.StepPassword:
		p.page(w, r, status, "password", templates.PasswordView{
			Frame: p.frame(), Flow: f.ID, Host: to.host(), Name: f.Name, Error: message, StartOver: startOver(to),
		}, to.formOrigins()...)
	case authflow.StepChallenge:
		p.challengePage(w, r, at)
	case authflow.StepEnrol:
		p.enrolPage(w, r, at)
	default:
		p.noFactor(w, r)
	}
}

// overtaken goes on where another tab has signed the same person in meanwhile,
// and reports whether it answered.
func (p *Portal) overtaken(w http.ResponseWriter, r *http.Request, at stage) bool {
	if at.flow.Kind != authflow.SignIn {
		return false
	}
	signOn, user, err := p.signedOn(r)
	if errors.Is(err, session.ErrEnded) {
		return false
	}
	if err != nil {
		p.fault(w, r, "looking up a sign-on", err)
		return true
	}
	if user.ID != at.flow.UserID || at.to.ask().Missing(signOn.Proofs, p.Clock(), p.Enabled) != assurance.Nothing {
		return false
	}
	p.leave(w, r, signOn, at.to)
	return true
}

// stage is a flow on its way to a page.
type stage struct {
	flow    authflow.Flow
	step    authflow.Step
	to      destination
	status  int
	message templates.Message
}

// startOver leads to the sign-in form for somebody else.
func startOver(to destination) string {
	query := url.Values{"switch": {""}}
	if to.signed != "" {
		query.Set("request", to.signed)
	}
	return "/sign-in?" + query.Encode()
}

// ceremony runs begin, and once more on the flow as it is then if another tab
// changed it meanwhile.
func (p *Portal) ceremony(ctx context.Context, f authflow.Flow, kind assurance.Factor,
	begin func(context.Context, authflow.Flow, assurance.Factor) (factors.Ceremony, error),
) (factors.Ceremony, error) {
	made, err := begin(ctx, f, kind)
	if !errors.Is(err, store.ErrConflict) {
		return made, err
	}
	if f, err = p.Flows.Load(ctx, f.ID); err != nil {
		return factors.Ceremony{}, err
	}
	return begin(ctx, f, kind)
}

func (p *Portal) challengePage(w http.ResponseWriter, r *http.Request, at stage) {
	ceremony, err := p.ceremony(r.Context(), at.flow, at.step.Factor, p.Flows.Challenge)
	if err != nil {
		p.flowFailed(w, r, at.flow, err)
		return
	}
	view := templates.ChallengeView{
		Frame: p.frame(), Flow: at.flow.ID, Host: at.to.host(), Name: at.flow.Name, Ceremony: ceremony.Page,
		Error: at.message, StepUp: at.flow.Kind == authflow.StepUp, StartOver: startOver(at.to),
	}
	if lifetime := p.Flows.RememberFor(at.flow); lifetime > 0 {
		view.Remember, view.Remembering = lasting(lifetime), isTicked(r, "remember")
	}
	for _, kind := range at.step.Others {
		view.Others = append(view.Others, templates.Choice{
			Kind: string(kind), Text: otherWay(kind),
			URL: "/flow?" + url.Values{"id": {at.flow.ID}, "use": {string(kind)}}.Encode(),
		})
	}
	p.page(w, r, at.status, "challenge_"+string(at.step.Factor), view, at.to.formOrigins()...)
}

func (p *Portal) noFactor(w http.ResponseWriter, r *http.Request) {
	p.problem(w, r, templates.ProblemView{
		Status: http.StatusForbidden, Title: "You have no way in that would do here",
		Text:   "This needs a second step that isn't set up for you. Ask " + p.contactOr("the people who run this site") + " for help.",
		Action: "Sign in as someone else", ActionURL: "/sign-in?switch",
	})
}

// answerPassword takes the password of somebody who is signed in.
func (p *Portal) answerPassword(w http.ResponseWriter, r *http.Request) {
	p.answer(w, r, "", "password", func(f authflow.Flow) error {
		return p.Flows.AnswerPassword(r.Context(), f, r.PostFormValue("password"), p.client(r))
	})
}

// answerChallenge takes the answer to a second factor's challenge.
func (p *Portal) answerChallenge(w http.ResponseWriter, r *http.Request) {
	kind := assurance.Factor(r.PostFormValue("factor"))
	p.answer(w, r, kind, "code", func(f authflow.Flow) error {
		given := authflow.Response{Factor: kind, Answer: answerOf(r), Remember: isTicked(r, "remember")}
		return p.Flows.Answer(r.Context(), f, given, p.client(r))
	})
}

// answerEnrolment takes the answer that proves a new credential.
func (p *Portal) answerEnrolment(w http.ResponseWriter, r *http.Request) {
	kind := assurance.Factor(r.PostFormValue("factor"))
	p.answer(w, r, kind, "code", func(f authflow.Flow) error {
		return p.Flows.AnswerEnrolment(r.Context(), f, kind, answerOf(r), p.client(r))
	})
}

// isTicked reports whether a checkbox of the posted form is ticked.
func isTicked(r *http.Request, name string) bool { return r.PostFormValue(name) == "yes" }

// answerOf hands the form to the factor, without what isn't the factor's.
func answerOf(r *http.Request) factors.Answer {
	answer := make(factors.Answer, len(r.PostForm))
	for field := range r.PostForm {
		switch field {
		case "flow", "factor", "remember":
		default:
			answer[field] = r.PostForm.Get(field)
		}
	}
	return answer
}

// answer runs one answer of a flow and returns to the dispatcher.
func (p *Portal) answer(w http.ResponseWriter, r *http.Request, kind assurance.Factor, field string, take func(authflow.Flow) error) {
	f, err := p.flowOf(r, r.PostFormValue("flow"))
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	err = take(f)
	switch refused, slowed := new(authflow.Refused), new(authflow.Slowed); {
	case err == nil:
		p.redirect(w, flowURL(f.ID))
	case errors.As(err, &refused):
		text := wrongAnswer(kind, refused, p.CodePeriod)
		switch {
		case kind == "":
			text = "That password doesn't match. Try again."
		case kind == assurance.BackupCode && r.URL.Path == "/flow/enrol":
			field, text = "saved", "Save the codes first, then tick the box."
		}
		p.showAgain(w, r, f, http.StatusUnprocessableEntity, kind, templates.Message{Field: field, Text: text})
	case errors.As(err, &slowed):
		w.Header().Set("Retry-After", seconds(slowed.RetryAfter))
		p.showAgain(w, r, f, http.StatusTooManyRequests, kind, tooMany(slowed))
	default:
		p.flowFailed(w, r, f, err)
	}
}

// showAgain renders the step once more, from the flow as it is now.
func (p *Portal) showAgain(w http.ResponseWriter, r *http.Request, f authflow.Flow, status int, prefer assurance.Factor, message templates.Message) {
	current, err := p.Flows.Load(r.Context(), f.ID)
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	p.show(w, r, current, status, prefer, message)
}

// flowFailed answers what ends or disturbs a flow.
func (p *Portal) flowFailed(w http.ResponseWriter, r *http.Request, f authflow.Flow, err error) {
	switch {
	case errors.Is(err, authflow.ErrLinkGone):
		p.linkGone(w, r)
	case errors.Is(err, authflow.ErrFlowGone):
		if _, _, err := p.signedOn(r); err == nil && r.Method == http.MethodGet {
			p.redirect(w, "/") // the back button, after all was done
			return
		}
		text := "Nothing is lost: open the app again, or sign in from here."
		if _, err := r.Cookie(flowCookie); err != nil {
			text += " If this comes right after your password, your browser isn't keeping our cookies: allow them for this site."
		}
		p.problem(w, r, templates.ProblemView{
			Status: http.StatusGone, Title: "That took too long, or is finished", Text: text,
			Action: "Sign in", ActionURL: "/sign-in",
		})
	case errors.Is(err, authflow.ErrWrongStep), errors.Is(err, store.ErrConflict):
		p.wrongStep(w, r, f)
	default:
		p.fault(w, r, "going on with a flow", err)
	}
}

// wrongStep answers what came for another step than the flow is at. A second
// click on a button whose first click finished the flow just goes on.
func (p *Portal) wrongStep(w http.ResponseWriter, r *http.Request, f authflow.Flow) {
	current, err := p.Flows.Load(r.Context(), f.ID)
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	step, err := p.Flows.Step(r.Context(), current, "")
	if err != nil {
		p.fault(w, r, "deciding on the next step", err)
		return
	}
	if step.Kind == authflow.StepGrant {
		p.redirect(w, flowURL(f.ID))
		return
	}
	p.show(w, r, current, http.StatusConflict, "", templates.Message{
		Text: "Something else comes first. Go on from here.",
	})
}

// grant finishes a flow: the sign-on is made, the cookies are set, and the
// person goes to where they wanted to go.
func (p *Portal) grant(w http.ResponseWriter, r *http.Request, at stage) {
	previous := ""
	if signOn, _, err := p.signedOn(r); err == nil {
		previous = signOn.ID
	} else if !errors.Is(err, session.ErrEnded) {
		p.fault(w, r, "looking up a sign-on", err)
		return
	}
	granted, err := p.Flows.Grant(r.Context(), at.flow, previous, p.client(r))
	if err != nil {
		p.flowFailed(w, r, at.flow, err)
		return
	}
	value, err := p.PortalCookies.Mint(session.PortalSession{SignOn: granted.SignOn.ID, Secret: granted.PortalSecret})
	if err == nil {
		err = p.releaseFlow(w, r, at.flow.ID)
	}
	if err != nil {
		p.fault(w, r, "setting the portal's cookies", err)
		return
	}
	setCookie(w, portalCookie, value, kept(granted.SignOn.Expires.Sub(p.Clock()), granted.SignOn.Shared))
	if granted.Browser != "" {
		setCookie(w, browserCookie, granted.Browser, browserLifetime)
	}
	p.leave(w, r, granted.SignOn, at.to)
}
