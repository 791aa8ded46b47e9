package portal

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
)

// How a flow's pages come about: a handler finds the flow and calls show, which
// calls the page of the step that the flow is at. A page that can't be shown
// returns why, as all handlers do, and what answers that shows no step of a flow.
// Nothing that show calls calls show again, so no failure can lead back to what
// failed.

// flowOf returns the flow that a request is about, if this browser began it. A
// flow of somebody who is signed in needs the sign-on that it began under.
func (p *Portal) flowOf(r *http.Request, id string) (authflow.Flow, error) {
	if id == "" || !slices.Contains(p.underWay(r).Flows, id) {
		return authflow.Flow{}, authflow.ErrFlowGone
	}
	f, err := p.Flows.Load(r.Context(), id)
	if err != nil || f.SignOn == "" {
		return f, err
	}
	signOn, _, err := p.signedOn(r)
	if errors.Is(err, session.ErrEnded) || err == nil && signOn.ID != f.SignOn {
		return authflow.Flow{}, authflow.ErrFlowGone
	}
	return f, err
}

// dispatch is the one place that decides which page comes next.
func (p *Portal) dispatch(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	f, err := p.flowOf(r, query.Get("id"))
	if err != nil {
		return err
	}
	return p.show(w, r, f, http.StatusOK, assurance.Factor(query.Get("use")), templates.Message{})
}

// show renders the step that a flow is at, or finishes the flow.
func (p *Portal) show(w http.ResponseWriter, r *http.Request, f authflow.Flow, status int, prefer assurance.Factor, message templates.Message) error {
	at, err := p.stageOf(r, f, prefer)
	if err != nil {
		return err
	}
	at.status, at.message = status, message
	if at.step.Kind == authflow.StepPassword || at.step.Kind == authflow.StepChallenge {
		if signOn, overtaken, err := p.overtaken(r, at); err != nil {
			return err
		} else if overtaken {
			return p.leave(w, r, signOn, at.to)
		}
	}
	switch at.step.Kind {
	case authflow.StepGrant:
		return p.grant(w, r, at)
	case authflow.StepAccount:
		return p.accountPage(w, r, at, authflow.Choice{}, nil)
	case authflow.StepChallenge:
		return p.challengePage(w, r, at)
	case authflow.StepEnrol:
		return p.enrolPage(w, r, at)
	case authflow.StepDone:
		return p.complete(w, r, at)
	case authflow.StepPassword:
		return p.passwordPage(w, r, at)
	case authflow.StepAccessCode:
		return p.accessCodePage(w, r, at)
	case authflow.StepNewPassword:
		return p.newPasswordPage(w, r, at)
	}
	return p.noFactor(w, r, at)
}

// stageOf returns where a flow is.
func (p *Portal) stageOf(r *http.Request, f authflow.Flow, prefer assurance.Factor) (stage, error) {
	step, err := p.Flows.Step(r.Context(), f, prefer)
	if err != nil {
		return stage{}, fmt.Errorf("deciding on the next step: %w", err)
	}
	to, err := p.destinationOf(f.Request)
	if err != nil {
		return stage{}, err
	}
	to.own = returnPage(f.Return)
	return stage{flow: f, step: step, to: to, status: http.StatusOK}, nil
}

// overtaken reports whether another tab has signed the same person in meanwhile,
// and returns the sign-on. Somebody who says that the computer is shared gets a
// sign-on that knows it.
func (p *Portal) overtaken(r *http.Request, at stage) (session.SignOn, bool, error) {
	// Anybody who replaces what they lost goes on with that, signed in or not.
	if at.flow.Kind != authflow.SignIn || len(at.flow.Lost) > 0 {
		return session.SignOn{}, false, nil
	}
	signOn, user, err := p.signedOn(r)
	if errors.Is(err, session.ErrEnded) {
		return session.SignOn{}, false, nil
	}
	if err != nil {
		return session.SignOn{}, false, err
	}
	suffices := at.to.ask().Missing(signOn.Proofs, p.Clock(), p.weights) == assurance.Nothing
	return signOn, suffices && user.ID == at.flow.UserID && (signOn.Shared || !at.flow.Shared), nil
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
	query := to.query()
	query.Set("switch", "")
	return "/sign-in?" + query.Encode()
}

func (p *Portal) passwordPage(w http.ResponseWriter, r *http.Request, at stage) error {
	return p.page(w, r, at.status, "password", templates.PasswordView{
		Frame: p.frame(r), Flow: at.flow.ID, MoreTime: p.moreTime(at.flow), Host: at.to.host(), Name: at.flow.Name,
		Error: at.message, StartOver: startOver(at.to),
	}, at.to.formOrigins()...)
}

func (p *Portal) challengePage(w http.ResponseWriter, r *http.Request, at stage) error {
	page, err := p.Flows.Challenge(r.Context(), at.flow, at.step.Factor, p.clientBoundFor(r, at.to))
	if err != nil {
		return err
	}
	t := p.words(r)
	view := templates.ChallengeView{
		Frame: p.frame(r), Flow: at.flow.ID, MoreTime: p.moreTime(at.flow), Host: at.to.host(), Name: at.flow.Name,
		Ceremony: page.Content, Asked: p.asked(r, at, page, false), Error: at.message,
		StepUp: at.flow.Kind == authflow.StepUp, Reset: isReset(at.flow),
		Others: p.choices(t, at.flow, at.step.Others, "use"), Lost: lostURL(at), StartOver: startOver(at.to),
		Help: p.helpURL(at.step.Factor),
	}
	view.Also, view.AlsoDigits = also(t, page.Beside)
	if isReset(at.flow) {
		view.Lost = "" // nothing can be reported lost by means of a mailbox
	}
	if at.step.Resistant {
		held, err := p.holdingsOf(r, at.flow.UserID)
		if err != nil {
			return err
		}
		if until := p.probationUntil(held); len(until) > 0 {
			view.Note = t.say("portal.needs_key.another", "Time", stampOf(until[len(until)-1]))
		}
	}
	if lifetime := p.Flows.RememberFor(at.flow, at.step.Factor); lifetime > 0 {
		view.Remember, view.Remembering = lasting(t, lifetime), isTicked(r, "remember")
	}
	return p.page(w, r, at.status, "challenge_"+string(at.step.Factor), view, at.to.formOrigins()...)
}

// also says which other codes can be typed into the field of a question, and how many
// digits the longest of those has; empty: there are none.
func also(t words, beside []authflow.Beside) (said string, digits int) {
	codes := ""
	for _, one := range beside {
		content, ok := one.Content.(templates.Code)
		if !ok {
			continue
		}
		digits = max(digits, content.Length())
		code := t.sayOr("portal.kind.unnamed.also", "portal.kind."+string(one.Kind)+".also", "Digits", content.Length())
		if codes != "" {
			code = t.say("portal.also.or", "Codes", codes, "Code", code)
		}
		codes = code
	}
	if codes == "" {
		return "", 0
	}
	return t.say("portal.also.said", "Codes", codes), digits
}

// noFactor answers somebody who has nothing that would do.
func (p *Portal) noFactor(w http.ResponseWriter, r *http.Request, at stage) error {
	if isReset(at.flow) {
		return p.noWayToReset(w, r)
	}
	if at.flow.Ask.Level == assurance.PhishingResistant {
		return p.needsKey(w, r, at)
	}
	t := p.words(r)
	p.problem(w, r, templates.ProblemView{
		Status: http.StatusForbidden, Title: t.say("portal.no_way.title"),
		Text:   t.say("portal.no_way.text", "Contact", p.contactOr(t.say("portal.no_way.contact"))),
		Action: t.say("portal.switch"), ActionURL: "/sign-in?switch",
	})
	return nil
}

// needsKey tells somebody who has no security key or passkey, or none that
// counts yet, that one is asked for, and leads to where it is set up.
func (p *Portal) needsKey(w http.ResponseWriter, r *http.Request, at stage) error {
	held, err := p.holdingsOf(r, at.flow.UserID)
	if err != nil {
		return err
	}
	t := p.words(r)
	view := templates.ProblemView{
		Status: http.StatusForbidden, Title: t.say("portal.needs_key.title"),
		Text: t.say("portal.needs_key.text"),
	}
	if kind := p.resistant(); kind != "" {
		view.Action, view.ActionURL = t.kind(kind, "add"), p.addURL(kind, at.to)
	}
	if until := p.probationUntil(held); len(until) > 0 {
		view.Text = t.say("portal.needs_key.held", "Time", stampOf(until[0]))
	}
	p.problem(w, r, view)
	return nil
}

// resistant is the kind of proof that resists phishing; empty: none is configured.
func (p *Portal) resistant() assurance.Factor {
	return p.Factors.First(func(t factors.Traits) bool { return t.Weight == assurance.Unphishable })
}

// probationUntil is until when those of somebody's credentials that resist phishing
// count for less that do, the earliest first.
func (p *Portal) probationUntil(held []credentials.Own) []time.Time {
	var until []time.Time
	for _, h := range working(held) {
		if p.weights[h.Kind] == assurance.Unphishable && !h.ProbationUntil.IsZero() {
			until = append(until, h.ProbationUntil)
		}
	}
	slices.SortFunc(until, time.Time.Compare)
	return until
}

func stampOf(at time.Time) string { return local(at).Format(time.DateTime + " MST") }

// answerPassword takes the password of somebody who is signed in.
func (p *Portal) answerPassword(w http.ResponseWriter, r *http.Request) error {
	return p.answer(w, r, attempt{form: form{field: "password", wrong: sayingEither("portal.wrong.password_missing", "portal.wrong.password_alone")}, take: func(f authflow.Flow) error {
		return p.Flows.AnswerPassword(r.Context(), f, r.PostFormValue("password"), p.client(r))
	}})
}

// answerChallenge takes the answer to a second factor's challenge.
func (p *Portal) answerChallenge(w http.ResponseWriter, r *http.Request) error {
	kind := assurance.Factor(r.PostFormValue("factor"))
	asked := form{field: "code", wrong: func(t words, refused *factors.Refused) string {
		read := cmp.Or(refused.Factor, kind)
		return wrongAnswer(t, read, refused, p.valuesOf(read))
	}}
	return p.answer(w, r, attempt{kind: kind, form: asked, take: func(f authflow.Flow) error {
		given := authflow.Response{Factor: kind, Answer: answerOf(r), Remember: isTicked(r, "remember"), CanPasskey: isTicked(r, "passkeys")}
		return p.Flows.Answer(r.Context(), f, given, p.client(r))
	}})
}

// answerEnrolment takes the answer that proves a new credential.
func (p *Portal) answerEnrolment(w http.ResponseWriter, r *http.Request) error {
	kind := assurance.Factor(r.PostFormValue("factor"))
	return p.answer(w, r, attempt{kind: kind, form: p.formOf(kind), take: func(f authflow.Flow) error {
		given := authflow.EnrolmentAnswer{Factor: kind, Answer: answerOf(r)}
		given.Name, given.Unnamed = p.namesOf(r, kind)
		return p.Flows.AnswerEnrolment(r.Context(), f, given, p.client(r))
	}})
}

// isTicked reports whether a checkbox of the posted form is ticked.
func isTicked(r *http.Request, name string) bool { return r.PostFormValue(name) == "yes" }

// answerOf hands the form to the factor, without what isn't the factor's; nil: it
// is to collect what another device has answered.
func answerOf(r *http.Request) factors.Answer {
	if r.PostForm.Has(collect) {
		return nil
	}
	answer := make(factors.Answer, len(r.PostForm))
	for field := range r.PostForm {
		switch field {
		case "flow", "factor", "remember", "passkeys", "name":
		default:
			answer[field] = r.PostForm.Get(field)
		}
	}
	return answer
}

// attempt is one answer to a step of a flow.
type attempt struct {
	form
	kind assurance.Factor // of the proof; empty: none of a factor's
	take func(authflow.Flow) error
	then string // what the same step says when all went well; empty: the flow goes on
}

// answer runs one answer of a flow and returns to the dispatcher, or shows the
// step once more, from the flow as it is now.
func (p *Portal) answer(w http.ResponseWriter, r *http.Request, a attempt) error {
	f, err := p.flowOf(r, r.PostFormValue("flow"))
	if err != nil {
		return err
	}
	err = a.take(f)
	switch {
	case errors.Is(err, authflow.ErrUnanswered) && r.PostForm.Has(collect):
		p.redirect(w, sayingURL(f, a.kind, saidUnanswered))
		return nil
	case errors.Is(err, authflow.ErrPending):
		p.redirect(w, useURL(f, a.kind))
		return nil
	case err == nil && a.then != "":
		p.redirect(w, sayingURL(f, a.kind, a.then))
		return nil
	}
	refusal, ok := p.refusalOf(w, r, a.form, err)
	if !ok {
		return p.answered(w, r, f, err)
	}
	current, err := p.Flows.Load(r.Context(), f.ID)
	if err != nil {
		return err
	}
	return p.show(w, r, current, refusal.status, a.kind, refusal.message)
}

// answered goes on with a flow after an answer to it. What came for another step
// than the flow is at shows that step.
func (p *Portal) answered(w http.ResponseWriter, r *http.Request, f authflow.Flow, err error) error {
	if err == nil {
		p.redirect(w, flowURL(f.ID))
		return nil
	}
	if isOutOfStep(err) {
		return p.showCurrent(w, r, f)
	}
	return err
}

// showCurrent shows the step that a flow is at in place of the one that was
// answered. A second click on a button whose first click finished the flow just
// goes on.
func (p *Portal) showCurrent(w http.ResponseWriter, r *http.Request, f authflow.Flow) error {
	current, err := p.Flows.Load(r.Context(), f.ID)
	if err != nil {
		return err
	}
	step, err := p.Flows.Step(r.Context(), current, "")
	if err != nil {
		return fmt.Errorf("deciding on the next step: %w", err)
	}
	if step.Kind == authflow.StepGrant {
		p.redirect(w, flowURL(f.ID))
		return nil
	}
	return p.show(w, r, current, http.StatusConflict, "", templates.Message{Text: p.words(r).say("portal.wrong.step")})
}

// grant finishes a flow: the sign-on is made, the cookies are set, and the
// person goes to where they wanted to go.
func (p *Portal) grant(w http.ResponseWriter, r *http.Request, at stage) error {
	granted, err := p.Flows.Grant(r.Context(), at.flow, p.portalSession(r).SignOn, p.client(r))
	if err != nil {
		return err
	}
	if err = p.keep(w, r, granted.Granted, granted.Browser); err == nil {
		err = p.releaseFlow(w, r, at.flow.ID)
	}
	if err != nil {
		return err
	}
	if at.flow.Kind == authflow.SetUp {
		setCookie(w, doneCookie, setUpDone(at.flow), time.Minute)
	}
	switch {
	case granted.OfferPasskey:
		p.redirect(w, offerURL(at.to))
	case at.to.own != "":
		p.redirect(w, at.to.own)
	case at.to.ask().Missing(granted.SignOn.Proofs, p.Clock(), p.weights) == assurance.NeedResistant:
		return p.needsKey(w, r, at) // they are in, and can set one up
	default:
		return p.leave(w, r, granted.SignOn, at.to)
	}
	return nil
}

// setUpDone is what the first page says to somebody who has set up.
func setUpDone(f authflow.Flow) string {
	if f.First {
		return "first_set_up"
	}
	return "set_up"
}

// keep has the browser keep what was granted, and the token by which it is known
// from now on; empty: as before.
func (p *Portal) keep(w http.ResponseWriter, r *http.Request, granted person.Granted, browser string) error {
	value, err := p.PortalCookies.Mint(session.PortalSession{SignOn: granted.SignOn.ID, Secret: granted.PortalSecret})
	if err != nil {
		return fmt.Errorf("setting the portal's cookie: %w", err)
	}
	setCookie(w, portalCookie, value, kept(granted.SignOn.Expires.Sub(p.Clock()), granted.SignOn.Shared))
	if _, err := r.Cookie(signedOutCookie); err == nil {
		setCookie(w, signedOutCookie, "", -time.Second)
	}
	if browser != "" {
		setCookie(w, browserCookie, browser, browserLifetime)
	}
	return nil
}

// complete ends a flow that added something to the account of somebody who is
// signed in already.
func (p *Portal) complete(w http.ResponseWriter, r *http.Request, at stage) error {
	if err := p.releaseFlow(w, r, at.flow.ID); err != nil {
		return err
	}
	if at.to.own == "" { // they were on their way to an app
		v, err := p.present(r)
		if err != nil {
			return err
		}
		return p.proceed(w, r, v, at.to)
	}
	p.finished(w, addedPrefix+string(at.flow.Enrol), at.to.own)
	return nil
}
