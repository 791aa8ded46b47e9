package portal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/templates"
)

// showPassword shows the form for another password.
func (p *Portal) showPassword(w http.ResponseWriter, r *http.Request) error {
	v, err := p.changer(r)
	if err != nil {
		return err
	}
	return p.passwordForm(w, r, http.StatusOK, v, templates.Message{})
}

func (p *Portal) passwordForm(w http.ResponseWriter, r *http.Request, status int, v visitor, message templates.Message) error {
	programs, err := p.appPasswordsOf(r, v)
	if err != nil {
		return err
	}
	for i := range programs {
		programs[i].Ticked = r.Method != http.MethodPost || slices.Contains(r.PostForm["revoke"], programs[i].ID)
	}
	return p.page(w, r, status, "account_password", templates.ChangePasswordView{
		Frame: p.frame(r), Name: v.user.Name, MinLength: p.ShortestPassword, StrengthAt: strengthPath, AppPasswords: programs, Error: message,
	})
}

// changePassword takes the present password and a new one. All sign-ons end,
// and this browser goes on under a new one.
func (p *Portal) changePassword(w http.ResponseWriter, r *http.Request) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	change := selfservice.PasswordChange{Current: r.PostFormValue("current"), New: r.PostFormValue("password"), Revoke: r.PostForm["revoke"]}
	granted, err := p.Accounts.ChangePassword(r.Context(), v.signOn, v.user, change, p.client(r))
	if refusal, ok := p.refusalOf(w, r, form{field: "current", wrong: sayingEither("portal.wrong.password_missing", "portal.wrong.password_alone")}, err); ok {
		return p.passwordForm(w, r, refusal.status, v, refusal.message)
	}
	if err != nil {
		return fmt.Errorf("changing a password: %w", err)
	}
	if err := p.keep(w, r, granted, ""); err != nil {
		return err
	}
	p.finished(w, "password", accountPath)
	return nil
}

// ownPasswordStrength judges a password while somebody who is signed in types
// it.
func (p *Portal) ownPasswordStrength(w http.ResponseWriter, r *http.Request) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	return p.answerJudgement(w, r, p.Accounts.JudgePassword(v.user, r.PostFormValue("password")))
}

// passwordStrength judges a password while it is typed. Only somebody with a
// flow under way can ask, so a stranger can't keep the server busy with it.
func (p *Portal) passwordStrength(w http.ResponseWriter, r *http.Request) error {
	f, err := p.flowOf(r, r.PostFormValue("flow"))
	if err != nil {
		return err
	}
	judged, err := p.Flows.JudgePassword(r.Context(), f, choiceOf(r))
	if err != nil {
		return err
	}
	return p.answerJudgement(w, r, judged)
}

// answerJudgement tells the script beside the field what the form will say.
func (p *Portal) answerJudgement(w http.ResponseWriter, r *http.Request, judged person.Judgement) error {
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
	return p.json(w, r, http.StatusOK, answer)
}

// json answers a script.
func (p *Portal) json(w http.ResponseWriter, r *http.Request, status int, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("writing an answer: %w", err)
	}
	p.write(w, r, status, "application/json", body)
	return nil
}
