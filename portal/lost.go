package portal

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/templates"
)

// showLost tells somebody who can't show what is asked how they get in all the
// same: by another way, or by replacing what they lost.
func (p *Portal) showLost(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	f, err := p.flowOf(r, query.Get("id"))
	if err != nil {
		return err
	}
	return p.lostPage(w, r, f, assurance.Factor(query.Get("use")), http.StatusOK, templates.Message{})
}

// lostPage lists what somebody can say they lost.
func (p *Portal) lostPage(w http.ResponseWriter, r *http.Request, f authflow.Flow, prefer assurance.Factor, status int, message templates.Message) error {
	at, err := p.stageOf(r, f, prefer)
	if err != nil {
		return err
	}
	losable, err := p.Flows.Losable(r.Context(), f)
	if err != nil {
		return err
	}
	t, asked := p.words(r), at.step.Factor
	view := templates.LostView{
		Frame: p.frame(r), Flow: f.ID, MoreTime: p.moreTime(f), Host: at.to.host(), Name: f.Name,
		StartOver: startOver(at.to), Kind: string(asked), Title: t.kind(asked, "lost"), Error: message,
		Others: p.choices(t, f, at.step.Others, "use"), Back: useURL(f, asked),
	}
	only := len(ofKind(losable, asked)) == 1
	for _, h := range losable {
		// Which of several it is, only the person knows. Whoever ticked nothing
		// finds nothing ticked.
		ticked := message.Text == "" && (h.Kind == asked && only || slices.Contains(f.Lost, h.ID))
		name := h.Name
		if p.Factors.IsStandby(h.Kind) { // nobody gave them one
			name = t.kind(h.Kind, "name")
		}
		view.Items = append(view.Items, templates.Losable{ID: h.ID, Name: name, Added: local(h.Created), Ticked: ticked})
	}
	return p.page(w, r, status, "lost", view, at.to.formOrigins()...)
}

// lose notes what somebody can't use any more.
func (p *Portal) lose(w http.ResponseWriter, r *http.Request) error {
	ids := slices.Clone(r.PostForm["lose"])
	if len(ids) > 0 {
		return p.answer(w, r, attempt{take: func(f authflow.Flow) error {
			return p.Flows.Lose(r.Context(), f, ids)
		}})
	}
	f, err := p.flowOf(r, r.PostFormValue("flow"))
	if err != nil {
		return err
	}
	nothing := templates.Message{Field: "lose", Text: p.words(r).say("portal.wrong.nothing_lost")}
	return p.lostPage(w, r, f, assurance.Factor(r.PostFormValue("factor")), http.StatusUnprocessableEntity, nothing)
}

// lostURL leads to the ways that are left without what a flow asks for.
func lostURL(at stage) string {
	return "/flow/lost?" + url.Values{"id": {at.flow.ID}, "use": {string(at.step.Factor)}}.Encode()
}

// useURL leads to the step of a flow, with the proof that a person prefers.
func useURL(f authflow.Flow, kind assurance.Factor) string {
	return "/flow?" + url.Values{"id": {f.ID}, "use": {string(kind)}}.Encode()
}

// choices names other ways to go on, as links, by that text about each kind.
func (p *Portal) choices(t words, f authflow.Flow, kinds []assurance.Factor, text string) []templates.Choice {
	var named []templates.Choice
	for _, kind := range kinds {
		named = append(named, templates.Choice{Kind: string(kind), Text: t.kind(kind, text), URL: useURL(f, kind), Standby: p.Factors.IsStandby(kind)})
	}
	return named
}

func (p *Portal) accessCodePage(w http.ResponseWriter, r *http.Request, at stage) error {
	return p.page(w, r, at.status, "access_code", templates.AccessCodeView{
		Frame: p.frame(r), Flow: at.flow.ID, MoreTime: p.moreTime(at.flow), Host: at.to.host(), Name: at.flow.Name,
		StartOver: startOver(at.to), Error: at.message, Others: p.choices(p.words(r), at.flow, at.step.Others, "use"),
	}, at.to.formOrigins()...)
}

// answerAccessCode takes the code that an administrator gave.
func (p *Portal) answerAccessCode(w http.ResponseWriter, r *http.Request) error {
	return p.answer(w, r, attempt{
		kind: authflow.AccessCode, form: form{field: "code", wrong: sayingEither("portal.wrong.access_code_malformed", "portal.wrong.access_code")},
		take: func(f authflow.Flow) error {
			return p.Flows.AnswerAccessCode(r.Context(), f, r.PostFormValue("code"), p.client(r))
		},
	})
}

func (p *Portal) newPasswordPage(w http.ResponseWriter, r *http.Request, at stage) error {
	return p.page(w, r, at.status, "new_password", templates.NewPasswordView{
		Frame: p.frame(r), Flow: at.flow.ID, MoreTime: p.moreTime(at.flow), Name: at.flow.Name,
		StartOver: startOver(at.to), MinLength: p.ShortestPassword, StrengthAt: "/flow/password-strength", Reset: isReset(at.flow), Error: at.message,
	}, at.to.formOrigins()...)
}

// chooseNewPassword takes the password that a person chooses in place of one
// that isn't theirs alone any more.
func (p *Portal) chooseNewPassword(w http.ResponseWriter, r *http.Request) error {
	return p.answer(w, r, attempt{take: func(f authflow.Flow) error {
		return p.Flows.ChooseNewPassword(r.Context(), f, r.PostFormValue("password"), p.client(r))
	}})
}
