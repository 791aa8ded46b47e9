package portal

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/templates"
)

// showPassword shows the form for another password.
func (p *Portal) showPassword(w http.ResponseWriter, r *http.Request) {
	if v, ok := p.changer(w, r); ok {
		p.passwordForm(w, r, http.StatusOK, v, templates.Message{})
	}
}

func (p *Portal) passwordForm(w http.ResponseWriter, r *http.Request, status int, v visitor, message templates.Message) {
	p.page(w, r, status, "account_password", templates.ChangePasswordView{
		Frame: p.frame(r), Name: v.user.Name, MinLength: p.ShortestPassword, StrengthAt: strengthPath, Error: message,
	})
}

// changePassword takes the present password and a new one. All sign-ons end,
// and this browser goes on under a new one.
func (p *Portal) changePassword(w http.ResponseWriter, r *http.Request) {
	v, ok := p.member(w, r)
	if !ok {
		return
	}
	change := selfservice.PasswordChange{Current: r.PostFormValue("current"), New: r.PostFormValue("password")}
	granted, err := p.Accounts.ChangePassword(r.Context(), v.signOn, v.user, change, p.client(r))
	if err != nil {
		p.passwordRefused(w, r, v, err)
		return
	}
	if err := p.keep(w, r, granted, ""); err != nil {
		p.fault(w, r, "setting the portal's cookies", err)
		return
	}
	p.finished(w, "password", accountPath)
}

// passwordRefused shows the form again, with what is to be mended.
func (p *Portal) passwordRefused(w http.ResponseWriter, r *http.Request, v visitor, err error) {
	t, status, message := p.words(r), http.StatusUnprocessableEntity, templates.Message{}
	refused, slowed, invalid := new(factors.Refused), new(guess.Slowed), new(person.Invalid)
	switch {
	case errors.As(err, &invalid):
		message = templates.Message{Field: "password", Text: t.phrase(invalid.Fields["password"])}
	case errors.As(err, &refused):
		message = templates.Message{Field: "current", Text: t.say("portal.wrong.password_alone")}
	case errors.As(err, &slowed):
		status, message = http.StatusTooManyRequests, tooMany(t, slowed)
		w.Header().Set("Retry-After", seconds(slowed.RetryAfter))
	default:
		p.accountFailed(w, r, v, "changing a password", err)
		return
	}
	p.passwordForm(w, r, status, v, message)
}

// ownPasswordStrength judges a password while somebody who is signed in types
// it.
func (p *Portal) ownPasswordStrength(w http.ResponseWriter, r *http.Request) {
	if v, ok := p.member(w, r); ok {
		p.answerJudgement(w, r, p.Accounts.JudgePassword(v.user, r.PostFormValue("password")))
	}
}

// passwordStrength judges a password while it is typed. Only somebody with a
// flow under way can ask, so a stranger can't keep the server busy with it.
func (p *Portal) passwordStrength(w http.ResponseWriter, r *http.Request) {
	f, err := p.flowOf(r, r.PostFormValue("flow"))
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	judged, err := p.Flows.JudgePassword(r.Context(), f, choiceOf(r))
	if err != nil {
		p.flowFailed(w, r, f, err)
		return
	}
	p.answerJudgement(w, r, judged)
}

// answerJudgement tells the script beside the field what the form will say.
func (p *Portal) answerJudgement(w http.ResponseWriter, r *http.Request, judged person.Judgement) {
	t := p.words(r)
	answer := struct {
		Score  int    `json:"score"`
		Text   string `json:"text"`
		OK     bool   `json:"ok"`
		Reason string `json:"reason,omitempty"`
	}{Score: judged.Score, Text: strength(t, judged.Score), OK: judged.Refusal == nil}
	if judged.Refusal != nil {
		answer.Reason = t.phrase(judged.Refusal)
	}
	p.json(w, r, http.StatusOK, answer)
}

// json answers a script.
func (p *Portal) json(w http.ResponseWriter, r *http.Request, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		p.fault(w, r, "writing an answer", err)
		return
	}
	p.write(w, r, status, "application/json", body)
}
